"""The server stops, crashes, hangs, and writes a lot that is none of our business."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.source.preflight import TransportName
from tests.support.capture import TRANSPORTS, Source
from tests.support.postgres import fresh_database
from tests.support.proxy import proxy
from tests.support.waiting import until
from tests.support.writer import Writer, expected_outbox, of_writer

pytestmark = pytest.mark.chaos


@asynccontextmanager
async def own_server(folder: Path) -> AsyncIterator[tuple[EmbeddedPostgres, Source]]:
    """A server that may be stopped."""
    with EmbeddedPostgres.start(settings={"autovacuum": "off"}) as server, fresh_database(server.dsn) as database:
        yield server, await Source.make(database, folder)


async def halt(server: EmbeddedPostgres, *, immediate: bool = False) -> float:
    """Stop the server; return how long that took."""
    begun = time.monotonic()
    await asyncio.to_thread(server.halt, immediate=immediate)
    return time.monotonic() - begun


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_restarts_under_a_writer_lose_nothing(tmp_path: Path, transport: TransportName, seed: int) -> None:
    async with own_server(tmp_path) as (server, source):
        writer, stop = Writer(source, "1", Random(seed)), asyncio.Event()
        async with source.capturing(transport, group_changes=20) as capture:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(writer.run(stop))
                for immediate in (False, True, False, True):
                    written, groups = len(writer.entries), capture.stats.groups
                    await until(lambda: len(writer.entries) > written + 40, 20, what="writes")  # noqa: B023
                    await until(lambda: capture.stats.groups > groups, 20, what="captured groups")  # noqa: B023
                    assert await halt(server, immediate=immediate) < 5
                    await asyncio.to_thread(server.resume)
                stop.set()
            await source.drained("marker", within=40)
        assert of_writer(source.entries(), "1") == writer.entries
        assert set(source.outbox()) == expected_outbox([writer])
        assert source.gaps() == []


async def test_a_fast_shutdown_is_not_held_up_by_an_idle_or_a_busy_stream(tmp_path: Path) -> None:
    """A client that repeats its last commit would hold it up for ever; the launcher gives up after ten seconds."""
    async with own_server(tmp_path) as (server, source), source.capturing("stream") as capture:
        await source.drained("marker 1")
        source.database.execute("insert into noise (body) values ('a little that is none of our business')")
        assert await halt(server) < 4
        server.resume()
        await until(lambda: capture.stats.state == "capturing", 20, what="the stream to be back")
        await source.drained("marker 2", within=40)

        # Work is outstanding when the server stops: the state is locked, so what was read isn't durable yet.
        holder = source.database.connect()
        holder.execute("begin; lock table cdc.outbox in exclusive mode")
        source.database.execute(
            "insert into people values ('held up'); insert into items select generate_series(1, 30000)"
        )
        waiting = "select 1 from pg_locks where relation = 'cdc.outbox'::regclass and not granted"
        await until(lambda: source.database.execute(waiting), what="capture to wait for the lock")
        assert await halt(server) < 4
        holder.close()
        server.resume()
        await source.drained("marker 3", within=40)
        assert len([e for e in source.entries() if e[1] == "items"]) == 30_000
        assert ("I", "people", ("held up",)) in source.entries()


async def test_the_slot_follows_while_only_other_tables_are_written(tmp_path: Path) -> None:
    async with own_server(tmp_path) as (_, source), source.capturing("stream"):
        await source.drained("marker 1")
        await follows(source)


async def test_the_slot_follows_other_tables_when_it_is_polled(tmp_path: Path) -> None:
    async with own_server(tmp_path) as (_, source), source.capturing("poll", poll_seconds=0.2):
        await source.drained("marker 1")
        await follows(source)


async def follows(source: Source) -> None:
    megabytes = 64
    behind = "select pg_current_wal_lsn() - confirmed_flush_lsn from pg_replication_slots where slot_name = %s"
    begun = source.confirmed()
    with source.database.connect(options="-c synchronous_commit=off") as writer:
        for _ in range(megabytes):
            writer.execute("insert into noise (body) select repeat('x', 1000) from generate_series(1, 1000)")
            await asyncio.sleep(0)
    await until(lambda: source.database.execute(behind, [source.name])[0][0] < 1_000_000, 15, what="the slot to follow")
    assert source.confirmed() - begun > megabytes * 1_000_000
    assert source.gaps() == []
    # Each step of the idle position is a write. It must not become a load of its own.
    assert source.entries() == []


async def test_a_line_that_is_cut_without_a_word_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc.source.stream._SILENCE_SECONDS", 1.5)
    monkeypatch.setattr("cdc.source.stream.STATUS_SECONDS", 0.5)
    monkeypatch.setattr("cdc.source.stream_session.STATUS_SECONDS", 0.5)
    with EmbeddedPostgres.start(listen_tcp=True) as server, fresh_database(server.dsn) as database:
        source = await Source.make(database, tmp_path)
        async with proxy(database.dsn) as line, source.capturing("stream", source_dsn=line.dsn) as capture:
            await source.drained("marker 1")
            line.flowing.clear()
            source.database.execute("insert into people values ('unheard')")
            await until(lambda: capture.stats.state == "reconnecting", 15, what="the silence to be noticed")
            source.end_backends("stream")  # as the server's own wal_sender_timeout does
            line.flowing.set()
            await source.drained("marker 2", within=40)
        assert source.entries() == [("I", "people", ("unheard",))]
        assert source.gaps() == []


async def test_a_server_that_stays_away_is_worth_another_try_until_a_stop(tmp_path: Path) -> None:
    async with own_server(tmp_path) as (server, source):
        async with source.capturing("stream") as capture:
            await source.drained("marker")
            await halt(server)
            await until(lambda: capture.stats.state == "reconnecting", what="capture to try again")
            begun = time.monotonic()
        assert time.monotonic() - begun < 3
        server.resume()
