"""`poll` through a real PgBouncer in session mode, as long as it lives and when it doesn't."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from tests.chaos.conftest import MakeSite
from tests.chaos.test_capture_instants import capturing
from tests.support.capture import Source
from tests.support.oracle import verify
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import Database
from tests.support.waiting import until
from tests.support.workload import Workload
from tests.support.writer import Writer, of_writer

pytestmark = pytest.mark.chaos


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


async def test_restarts_of_the_pooler_lose_nothing(source: Source, seed: int) -> None:
    writer, stop = Writer(source, "1", Random(seed)), asyncio.Event()
    with pgbouncer(source.database.dsn) as pooler:
        options = {"source_dsn": pooler.dsn, "state_dsn": pooler.dsn, "group_changes": 20}
        async with source.capturing("poll", **options) as capture:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(writer.run(stop))
                for _ in range(4):
                    written, groups = len(writer.entries), capture.stats.groups
                    await until(lambda: len(writer.entries) > written + 40, 20, what="writes")  # noqa: B023
                    await until(lambda: capture.stats.groups > groups, 20, what="captured groups")  # noqa: B023
                    await asyncio.to_thread(pooler.stop)
                    await until(lambda: capture.stats.state == "reconnecting", 20, what="capture to notice")
                    await asyncio.to_thread(pooler.start)
                stop.set()
            await source.drained("marker", within=60)
    assert of_writer(source.entries(), "1") == writer.entries
    assert source.gaps() == []


async def test_the_lock_of_a_process_that_was_killed_is_let_go(source: Source, tmp_path: Path) -> None:
    """The session lives on in the pool; resetting it is what lets the successor in."""
    with pgbouncer(source.database.dsn) as pooler:
        async with capturing(source, tmp_path, "poll", through=pooler.dsn) as process:
            await source.drained("marker 1")
            source.database.execute("insert into people values ('ada')")
            process.kill()
            await process.wait()
        async with source.capturing("poll", source_dsn=pooler.dsn, state_dsn=pooler.dsn):
            await source.drained("marker 2", within=30)
    assert source.entries() == [("I", "people", ("ada",))]


@pytest.mark.long
async def test_a_pool_that_is_too_small_is_waited_for(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc.connection.CONNECT_SECONDS", 1)
    with pgbouncer(source.database.dsn, default_pool_size=3) as pooler:
        others = [Database(source.name, pooler.dsn).connect() for _ in range(2)]
        for other in others:
            other.execute("select 1")
        async with source.capturing("poll", source_dsn=pooler.dsn, state_dsn=pooler.dsn) as capture:
            await until(lambda: capture.stats.state == "reconnecting", 20, what="capture to find no room")
            for other in others:
                other.close()
            await source.drained("marker", within=60)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_the_whole_pipeline_behind_a_pooler_that_is_restarted(make_site: MakeSite, seed: int) -> None:
    site = await make_site("auto")
    workload = Workload(site.database, seed)
    with pgbouncer(site.database.dsn, default_pool_size=30) as pooler:
        site.settings["DATABASE_URL"] = pooler.dsn
        running = await site.start("run")
        await running.until_said("delivery_started")
        if pooler.version < (1, 23):  # from then on it carries replication connections
            assert running.said("capture_started", transport="poll")
        async with workload.running(pause=0.03):
            for _ in range(3):
                captured = len([e for e in running.events() if e["event"] == "batch"])
                await until(
                    lambda: len([e for e in running.events() if e["event"] == "batch"]) > captured + 3,  # noqa: B023
                    40,
                    what="some batches",
                )
                await asyncio.to_thread(pooler.stop)
                await running.until_said("capture_interrupted")
                await asyncio.to_thread(pooler.start)
        await site.until_captured(within=60)
        await site.until_delivered(within=90)
        await running.stop()
        await site.settle()
    await verify(site, workload.chronicle)
