"""Capture is killed at the very instants that matter: between the commit, the acknowledgement, and what follows.

Nothing in the program helps: a proxy keeps a message back, or a lock keeps a statement waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cdc.lsn import Lsn
from cdc.source.capture import Capture
from cdc.source.preflight import TransportName
from tests.support.capture import TRANSPORTS, Entry, Source
from tests.support.capture_process import command
from tests.support.pgmessages import confirmed
from tests.support.postgres import Database
from tests.support.proxy import Hold, Line, Proxy, proxy
from tests.support.waiting import until

pytestmark = pytest.mark.chaos
ROOT = Path(__file__).parents[2]
Process = asyncio.subprocess.Process


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


@asynccontextmanager
async def capturing(
    source: Source, folder: Path, transport: str, *, through: str | None = None, group_changes: int = 1000
) -> AsyncIterator[Process]:
    """Capture in a process of its own; killed at the end of the block if it still runs."""
    seen = Source(Database(source.name, through or source.database.dsn), source.profile, source.name)
    line = command(seen, folder / "shop", transport, group_changes)
    process = await asyncio.create_subprocess_exec(*line, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def acknowledges(beyond: Lsn) -> Hold:
    """Say whether a message tells the slot that more than this is durable."""

    def decide(line: Line, data: bytes) -> bool:
        by_sql = line.is_for("poll") and b"pg_replication_slot_advance" in data
        return by_sql or (line.is_replication and any(lsn > beyond for lsn in confirmed(data)))

    return decide


async def write_people(source: Source, *names: str) -> list[Entry]:
    """One transaction for each; what the journal must hold of them."""
    for name in names:
        source.database.execute("insert into people values (%s)", [name])
    return [("I", "people", (name,)) for name in names]


async def ready(source: Source, line: Proxy) -> Lsn:
    """Wait until the slot is read and followed; from then on nothing moves it but what is written."""
    await source.drained("marker 0")
    await until(lambda: source.confirmed() >= source.position(), 20, what="the slot to be acknowledged")
    return source.position()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_kill_between_the_commit_and_the_acknowledgement(
    source: Source, transport: TransportName, tmp_path: Path
) -> None:
    async with (
        proxy(source.database.dsn) as line,
        capturing(source, tmp_path, transport, through=line.dsn) as process,
    ):
        line.hold = acknowledges(await ready(source, line))
        written = await write_people(source, "ada", "grace")
        await asyncio.wait_for(line.held.wait(), 20)
        # A poll may have seen the first commit alone; it goes no further while its acknowledgement is kept back.
        await until(lambda: source.entries() in (written[:1], written), 20, what="the group to be durable")
        assert source.confirmed() < source.position(), "the acknowledgement got through"
        process.kill()
        await process.wait()
    async with source.capturing(transport):
        written += await write_people(source, "alan")
        await source.drained("marker 1")
        assert source.entries() == written
        await until(lambda: source.confirmed() >= source.position(), 20, what="the slot to follow")
    assert source.gaps() == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_kill_right_after_the_acknowledgement(source: Source, transport: TransportName, tmp_path: Path) -> None:
    seen: list[Lsn] = []

    def after(line: Line, data: bytes) -> bool:
        """Let the first acknowledgement through and keep back everything that follows it."""
        if seen:
            return line.is_replication or line.is_for("poll")
        if decide(line, data):
            seen.append(source.position())
        return False

    async with (
        proxy(source.database.dsn) as line,
        capturing(source, tmp_path, transport, through=line.dsn) as process,
    ):
        decide = acknowledges(await ready(source, line))
        line.hold = after
        written = await write_people(source, "ada")
        await until(lambda: seen and source.confirmed() >= seen[0], 20, what="the acknowledgement to arrive")
        process.kill()
        await process.wait()
    async with source.capturing(transport):
        written += await write_people(source, "alan")
        await source.drained("marker 1")
    assert source.entries() == written
    assert source.gaps() == []


@pytest.mark.parametrize("zombie", ["commits", "is ended"])
async def test_a_kill_while_the_group_is_being_written(source: Source, tmp_path: Path, zombie: str) -> None:
    """The dead process's statement goes on in the server. Until that has ended the successor must stand by."""
    async with capturing(source, tmp_path, "stream") as process:
        await source.drained("marker 0")
        with source.database.connect() as holder:
            holder.execute("begin; lock table cdc.outbox in exclusive mode")
            written = await write_people(source, "ada")
            waiting = (
                "select l.pid from pg_locks l join pg_stat_activity a using (pid)"
                " where l.relation = 'cdc.outbox'::regclass and not l.granted and application_name like 'cdc capture%'"
            )
            [(pid,)] = await until(lambda: source.database.execute(waiting), 20, what="the statement to wait")
            process.kill()
            await process.wait()
            async with asyncio.TaskGroup() as tasks:
                stop = asyncio.Event()
                successor = Capture(source.config("stream"))
                tasks.create_task(successor.run(stop))
                try:
                    await until(lambda: successor.stats.state == "standby", 20, what="the successor to stand by")
                    if zombie == "is ended":
                        source.database.execute("select pg_terminate_backend(%s)", [pid])
                    else:
                        holder.execute("commit")
                        await until(lambda: source.entries() == written, 20, what="the dead one's statement to commit")
                    holder.rollback()
                    await source.drained("marker 1")
                finally:
                    stop.set()
    assert source.entries() == written
    assert source.gaps() == []


@pytest.mark.parametrize("transport", ["stream", pytest.param("poll", marks=pytest.mark.long)])
async def test_rows_that_share_one_position_are_taken_once_each(
    source: Source, transport: TransportName, tmp_path: Path
) -> None:
    """COPY: all rows of a transaction have its commit's position, so that doesn't say how far one got."""
    rows = 30_000
    with source.database.connect() as app, app.cursor().copy("copy items (id, owner) from stdin") as copy:
        for number in range(rows):
            copy.write_row((number, "ada"))
    partly = "select open_changes from cdc.position where open_lsn is not null"
    reached: list[int] = [0]
    for _ in range(3):
        async with capturing(source, tmp_path, transport, group_changes=500) as process:
            newest = await until(
                lambda: [n for (n,) in source.database.execute(partly) if n > reached[-1]],
                30,
                what="some more of the transaction to be taken",
                interval=0.001,
            )
            process.kill()
            await process.wait()
        reached.append(newest[0])
    assert reached[-1] < rows
    async with source.capturing(transport):
        await source.drained("marker")
    assert source.entries() == [("I", "items", ("ada", str(n))) for n in range(rows)]


async def test_nothing_is_acknowledged_while_it_waits_to_be_written(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server offers newer and newer positions meanwhile, and asks for replies."""
    monkeypatch.setattr("cdc.source.stream.SENDER_TIMEOUT_SECONDS", 2)
    told: list[Lsn] = []

    def listen(line: Line, data: bytes) -> bool:
        if line.is_replication:
            told.extend(confirmed(data))
        return False

    async with proxy(source.database.dsn) as line, source.capturing("stream", source_dsn=line.dsn) as capture:
        await ready(source, line)
        line.hold = listen
        with source.database.connect() as holder, source.database.connect() as app:
            holder.execute("begin; lock table cdc.outbox in exclusive mode")
            durable = source.position()
            written = await write_people(source, "ada")

            def noise_was_answered() -> bool:
                app.execute("insert into noise (body) select repeat('x', 1000) from generate_series(1, 500)")
                return len(told) > 5

            await until(noise_was_answered, 30, what="several replies", interval=0.1)
            assert source.position() == durable
            assert max(told) <= durable
            assert source.confirmed() <= durable
            holder.execute("commit")
        await source.drained("marker 1")
        assert capture.stats.state == "capturing"
    assert source.entries() == written
