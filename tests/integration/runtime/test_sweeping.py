"""When everything is compared: on capture's demand, and by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from cdc.routing.feeds import load_profile
from cdc.runtime.connections import Connections
from cdc.runtime.sweeping import Sweeper
from cdc.source.capture import Capture
from cdc.source.session import CaptureConfig
from cdc.state.database import open_pool
from tests.support.postgres import Database
from tests.support.waiting import until

SLOT = "ours"


@asynccontextmanager
async def sweeping(database: Database, *, window_seconds: float) -> AsyncIterator[tuple[Capture, Sweeper]]:
    """Run a sweeper beside a capture that does nothing."""
    nothing: dict[Any, Any] = {}
    config = CaptureConfig(database.dsn, database.dsn, SLOT, "p", "stream", nothing, nothing)
    capture, stop = Capture(config), asyncio.Event()
    async with open_pool(database.dsn, purpose="test", size=4) as pool:
        connections = Connections(pool, pool, cast(Any, None), cast(Any, None), b"k" * 32)
        sweeper = Sweeper(connections, load_profile("core"), SLOT, capture, window_seconds)
        running = asyncio.create_task(sweeper.run(stop))
        try:
            yield capture, sweeper
        finally:
            stop.set()
            await running


@pytest.fixture
def site(database: Database) -> Database:
    database.apply_profile("core", sample=True)
    database.apply_state()
    database.execute("insert into cdc.position (slot, system_id, timeline, lsn) values (%s, '1', 1, '0/1')", [SLOT])
    return database


def marked(database: Database) -> int:
    return int(database.execute("select count(*) from cdc.outbox")[0][0])


async def test_what_capture_asks_for_is_owed_until_it_is_done(site: Database) -> None:
    async with sweeping(site, window_seconds=0) as (capture, sweeper):
        capture.sweep_due.set()
        assert sweeper.is_owed
        await until(lambda: not sweeper.is_owed, what="the sweep")
        assert marked(site) == sweeper.swept > 0
        assert site.execute("select swept_at is not null from cdc.position")[0][0]


async def test_the_clock_asks_as_well(site: Database) -> None:
    async with sweeping(site, window_seconds=0.2) as (capture, sweeper):
        capture.stats.state = "capturing"
        await until(lambda: sweeper.swept > 0, what="the window to end")


async def test_a_sweep_that_fails_is_owed_again(site: Database) -> None:
    site.execute("alter view cdc.contacts rename to elsewhere")
    async with sweeping(site, window_seconds=0) as (capture, sweeper):
        capture.sweep_due.set()
        await until(lambda: sweeper._is_sweeping is False and capture.sweep_due.is_set(), what="the failure")
        assert sweeper.is_owed
        site.execute("alter view cdc.elsewhere rename to contacts")
        await until(lambda: not sweeper.is_owed, within=20, what="the sweep that follows")
