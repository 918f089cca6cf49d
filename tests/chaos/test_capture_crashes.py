"""Capture is torn down at random moments under writers; in the end each change is in the journal once, in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from cdc.source.capture import Capture
from cdc.source.preflight import TransportName
from tests.support.capture import TRANSPORTS, Source
from tests.support.capture_process import command
from tests.support.postgres import Database
from tests.support.waiting import until
from tests.support.writer import Writer, expected_outbox, of_writer

pytestmark = pytest.mark.chaos
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


@pytest.fixture
def random(seed: int) -> Random:
    return Random(seed)


@asynccontextmanager
async def writing(source: Source, random: Random, *, count: int = 2) -> AsyncIterator[list[Writer]]:
    """Let the application write for the length of the block."""
    writers = [Writer(source, str(n), Random(random.random())) for n in range(1, count + 1)]
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for writer in writers:
            tasks.create_task(writer.run(stop))
        try:
            yield writers
        finally:
            stop.set()


async def captures_something(source: Source) -> None:
    """Wait until a chunk of the journal is written."""
    newest = "select coalesce(max(id), 0) from cdc.journal"
    before = source.database.execute(newest)
    await until(lambda: source.database.execute(newest) != before, 30, what="something to be captured")


def check(source: Source, writers: list[Writer]) -> None:
    """The journal is the writers' own list; what it touched is dirty; nothing was called a gap."""
    entries = source.entries()
    for writer in writers:
        assert len(writer.entries) > 50, "too few writes to say anything"
        assert of_writer(entries, writer.name) == writer.entries
    assert sum(len(writer.entries) for writer in writers) == len(entries)
    assert set(source.outbox()) == expected_outbox(writers)
    lsns = [entry.commit_lsn for entry in source.journal()]
    assert lsns == sorted(lsns)
    assert source.gaps() == []
    assert source.confirmed() <= source.position()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_connections_that_are_cut_at_random_moments(
    source: Source, random: Random, transport: TransportName
) -> None:
    async with source.capturing(transport, group_changes=7):
        async with writing(source, random) as writers:
            for _ in range(40):
                await asyncio.sleep(random.random() * 0.08)
                source.end_backends(
                    *random.choice([["stream", "poll"], ["capture"], ["continuity"], ["stream", "capture"]])
                )
        await source.drained("marker", within=40)
    check(source, writers)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_task_that_is_cancelled_at_random_moments(
    source: Source, random: Random, transport: TransportName
) -> None:
    async with writing(source, random) as writers:
        for _ in range(25):
            task = asyncio.create_task(Capture(source.config(transport, group_changes=5)).run(asyncio.Event()))
            await asyncio.sleep(0.02 + random.random() * 0.12)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    async with source.capturing(transport, group_changes=5):
        await source.drained("marker")
    check(source, writers)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_process_that_is_killed_at_random_moments(
    source: Source, random: Random, transport: TransportName, tmp_path: Path
) -> None:
    line = command(source, tmp_path / "shop", transport, group_changes=11)
    async with writing(source, random) as writers:
        for _ in range(6):
            process = await asyncio.create_subprocess_exec(*line, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL)
            await captures_something(source)
            await asyncio.sleep(random.random() * 0.1)
            process.kill()
            await process.wait()
    process = await asyncio.create_subprocess_exec(*line, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL)
    await source.drained("marker")
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    check(source, writers)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_large_transaction_is_captured_once_although_its_capture_dies_in_the_middle(
    source: Source, transport: TransportName
) -> None:
    rows = 24_000
    source.database.execute(f"insert into items select n, 'ada', repeat('x', 100) from generate_series(1, {rows}) n")
    partly = "select open_changes from cdc.position where open_lsn is not null"
    deaths: list[int] = []
    for after in (1, 3, 2, 1):
        dying = asyncio.Event()

        def one_group_more(left: list[int], dying: asyncio.Event = dying) -> None:
            left[0] -= 1
            if left[0] == 0:
                dying.set()

        left = [after]
        capture = Capture(source.config(transport, group_changes=500), on_group=lambda: one_group_more(left))  # noqa: B023
        task = asyncio.create_task(capture.run(asyncio.Event()))
        await dying.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        deaths += [changes for (changes,) in source.database.execute(partly)]
    assert len(set(deaths)) == 4, "each death fell into the middle of the transaction, and each further in"
    async with source.capturing(transport):
        await source.drained("marker")
    assert source.entries() == [("I", "items", ("ada", str(n))) for n in range(1, rows + 1)]
    assert source.database.execute(partly) == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_of_two_captures_one_stands_by_and_takes_over(
    source: Source, random: Random, transport: TransportName, tmp_path: Path
) -> None:
    line = command(source, tmp_path / "shop", transport, group_changes=1000)
    first = await asyncio.create_subprocess_exec(*line, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL)
    await source.drained("marker 1")
    async with writing(source, random) as writers, asyncio.TaskGroup() as tasks:
        second, stop = Capture(source.config(transport)), asyncio.Event()
        tasks.create_task(second.run(stop))
        await until(lambda: second.stats.state == "standby", what="the second to stand by")
        await source.drained("marker 2")
        assert second.stats.groups == 0
        first.kill()
        await first.wait()
        await until(lambda: second.stats.state == "capturing", 5, what="the second to take over")
        await until(lambda: all(len(w.entries) > 60 for w in writers), what="some more writes")
        await source.drained("marker 3")
        stop.set()
    async with source.capturing(transport):
        await source.drained("marker 4")
    check(source, writers)
