"""Slow, torn, silent and crowded lines, on both sides of the pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from cdc.source.preflight import TransportName
from tests.chaos.conftest import MakeSite
from tests.support.capture import TRANSPORTS, Source
from tests.support.oracle import verify
from tests.support.pipeline import Site
from tests.support.postgres import Database
from tests.support.proxy import Line, Proxy, address, proxy
from tests.support.waiting import until
from tests.support.workload import Workload
from tests.support.writer import Writer, expected_outbox, of_writer

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

Misdeed = Callable[[Proxy, Random], Awaitable[None]]


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


@asynccontextmanager
async def writing(source: Source, seed: int) -> AsyncIterator[Writer]:
    writer, stop = Writer(source, "1", Random(seed)), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run(stop))
        try:
            yield writer
        finally:
            stop.set()


def check(source: Source, writer: Writer) -> None:
    assert len(writer.entries) > 50, "too few writes to say anything"
    assert of_writer(source.entries(), writer.name) == writer.entries
    assert set(source.outbox()) == expected_outbox([writer])
    assert source.gaps() == []


async def _lag_is_small(source: Source) -> None:
    behind = "select pg_current_wal_lsn() - confirmed_flush_lsn from pg_replication_slots where slot_name = %s"
    await until(
        lambda: source.database.execute(behind, [source.name])[0][0] < 1_000_000, 40, what="the slot's lag to go down"
    )


async def _resets(line: Proxy, chance: Random) -> None:
    for _ in range(12):
        await asyncio.sleep(chance.random() * 0.15)
        line.cut(reset=chance.random() < 0.5)


async def _half_open(line: Proxy, chance: Random) -> None:
    """The server's side closes and the client isn't told; then even that connection is reset, as a balancer does."""
    for _ in range(3):
        await until(lambda: line.lines, 20, what="a connection")
        line.half_close(lambda _: chance.random() < 0.7)
        await asyncio.sleep(chance.random() * 0.2)
        line.cut(reset=True)


async def _pauses(line: Proxy, chance: Random) -> None:
    for _ in range(8):
        line.flowing.clear()
        await asyncio.sleep(chance.random() * 0.3)
        line.flowing.set()
        await asyncio.sleep(chance.random() * 0.1)


@pytest.mark.parametrize("misdeed", [_resets, _half_open, _pauses], ids=["resets", "half open", "pauses"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_bad_line_to_the_database(
    source: Source, transport: TransportName, misdeed: Misdeed, seed: int
) -> None:
    async with (
        proxy(source.database.dsn, seed=seed) as line,
        source.capturing(transport, source_dsn=line.dsn, state_dsn=line.dsn, group_changes=20),
    ):
        async with writing(source, seed) as writer:
            await misdeed(line, Random(seed))
            await until(lambda: len(writer.entries) > 60, 30, what="enough writes")
        await source.drained("marker", within=60)
        await _lag_is_small(source)
    check(source, writer)


@pytest.mark.long
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_slow_line_to_the_database(source: Source, transport: TransportName, seed: int) -> None:
    """300 ms each way and a megabit a second: the lag grows under a writer, and drains after it."""
    async with proxy(source.database.dsn, seed=seed) as line:
        line.delay, line.jitter, line.bytes_per_second = 0.3, 0.05, 125_000
        async with source.capturing(transport, source_dsn=line.dsn) as capture:
            async with writing(source, seed) as writer:
                await until(lambda: len(writer.entries) > 1500, 60, what="many writes")
            await source.drained("marker", within=120)
            assert line.served <= 4, "it connected again and again"
            assert capture.stats.state == "capturing"
            await _lag_is_small(source)
    check(source, writer)


async def test_a_server_with_room_for_too_few_connections(source: Source, seed: int) -> None:
    """One more than none: capture comes up once there is room."""
    async with proxy(source.database.dsn) as line:
        line.most = 1
        async with source.capturing("stream", source_dsn=line.dsn) as capture, writing(source, seed) as writer:
            await until(lambda: capture.stats.state == "reconnecting", 20, what="capture to be refused")
            line.most = None
            await until(lambda: len(writer.entries) > 60, 30, what="enough writes")
        async with source.capturing("stream"):
            await source.drained("marker", within=60)
    check(source, writer)


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_a_silent_line_is_noticed_within_a_minute(source: Source, seed: int) -> None:
    """With the times as they are shipped: nothing comes through and nothing is closed."""
    async with (
        proxy(source.database.dsn) as line,
        source.capturing("stream", source_dsn=line.dsn) as capture,
        writing(source, seed) as writer,
    ):
        await source.drained("marker 1")
        line.flowing.clear()
        await until(lambda: capture.stats.state == "reconnecting", 60, what="the silence to be noticed")
        source.end_backends("stream", "capture")
        line.flowing.set()
        await source.drained("marker 2", within=60)
        await _lag_is_small(source)
        await until(lambda: len(writer.entries) > 60, 30, what="enough writes")
    async with source.capturing("stream"):
        await source.drained("marker 3")
    check(source, writer)


async def _behind(site: Site, wire: Proxy) -> None:
    url = f"http://127.0.0.1:{wire.port}"
    site.settings |= {"ZOHO_ACCOUNTS_URL": url, "ZOHO_API_DOMAIN": url, "ZOHO_UPLOAD_URL": url}


@pytest.mark.long
async def test_a_bad_line_to_the_crm(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload, chance = Workload(site.database, seed), Random(seed)
    async with proxy(address(site.crm.access.url), raw=True, seed=seed) as wire:
        await _behind(site, wire)
        wire.delay, wire.jitter, wire.bytes_per_second = 0.02, 0.05, 500_000
        running = await site.start("run")
        await running.until_said("delivery_started")
        async with workload.running(pause=0.05):
            for _ in range(10):
                await _asked_again(site)
                await asyncio.sleep(chance.random() * 0.2)
                wire.cut(reset=chance.random() < 0.5)
                site.let_pauses_end()
        await site.until_captured()
        site.let_pauses_end()
        await site.until_delivered()
        await running.stop()

    await verify(site, workload.chronicle)


async def _asked_again(site: Site) -> None:
    before = await site.crm.last_call()

    async def more() -> bool:
        site.let_pauses_end()
        return await site.crm.last_call() > before

    await until(more, 40, what="another call", interval=0.1)


@pytest.mark.long
async def test_a_crm_that_swallows_everything_costs_the_slot_nothing(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    async with proxy(address(site.crm.access.url), raw=True) as wire:
        await _behind(site, wire)
        running = await site.start("run")
        await running.until_said("delivery_started")
        wire.flowing.clear()
        await workload.run(60)
        await running.until_said("paused")
        await site.until_captured()
        wire.cut(reset=True)
        wire.flowing.set()
        site.let_pauses_end()
        await site.until_delivered()
        await running.stop()

    await verify(site, workload.chronicle)


@pytest.mark.long
@pytest.mark.parametrize("transport", ["stream", "poll"])
async def test_everything_at_once_on_the_line_to_the_database(make_site: MakeSite, transport: str, seed: int) -> None:
    """Capture, views and state all go through it."""
    site = await make_site(transport)
    workload, chance = Workload(site.database, seed), Random(seed)
    async with proxy(site.database.dsn, seed=seed) as wire:
        wire.delay, wire.jitter = 0.001, 0.004
        site.settings["DATABASE_URL"] = wire.dsn
        running = await site.start("run")
        await running.until_said("delivery_started")
        async with workload.running(pause=0.05):
            for _ in range(12):
                await asyncio.sleep(chance.random() * 0.6)
                some = chance.choice((0.3, 0.7, 1.0))

                def strikes(_: Line, some: float = some) -> bool:
                    return chance.random() < some

                wire.cut(reset=chance.random() < 0.5, which=strikes)
        await site.until_captured(within=60)
        await site.until_delivered(within=90)
        await running.stop()
        del site.settings["DATABASE_URL"]

    await verify(site, workload.chronicle)
