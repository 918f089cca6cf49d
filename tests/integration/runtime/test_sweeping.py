"""When everything is compared: on capture's demand, and every night."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from cdc.errors import ProfileError, SourceUnavailable
from cdc.routing.feeds import load_profile
from cdc.runtime.connections import Connections
from cdc.runtime.sweeping import Sweeper, sweep_nightly
from cdc.source.capture import Capture
from cdc.source.session import CaptureConfig
from cdc.state.database import open_pool
from tests.support.postgres import Database
from tests.support.waiting import until

SLOT = "ours"


@asynccontextmanager
async def sweeping(database: Database) -> AsyncIterator[tuple[Capture, Sweeper]]:
    """Run a sweeper beside a capture that does nothing."""
    nothing: dict[Any, Any] = {}
    config = CaptureConfig(database.dsn, database.dsn, SLOT, "p", "stream", nothing, nothing)
    capture, stop = Capture(config), asyncio.Event()
    async with open_pool(database.dsn, purpose="test", size=4) as pool:
        connections = Connections(pool, pool, cast(Any, None), cast(Any, None), b"k" * 32)
        sweeper = Sweeper(connections, load_profile("core"), SLOT, capture)
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
    async with sweeping(site) as (capture, sweeper):
        capture.sweep_due.set()
        assert sweeper.is_owed
        await until(lambda: not sweeper.is_owed, what="the sweep")
        assert marked(site) == sweeper.swept > 0
        assert site.execute("select swept_at is not null from cdc.position")[0][0]


async def test_a_stop_does_not_wait_for_a_sweep_and_the_sweep_is_owed(site: Database) -> None:
    with site.connect() as other:  # holds the announcement that a sweep makes, so that ours comes to no end
        other.execute("select pg_advisory_lock(hashtextextended('cdc.marking contacts', 0))")
        async with sweeping(site) as (capture, sweeper):
            capture.sweep_due.set()
            await until(
                lambda: site.execute("select count(*) from pg_locks where locktype = 'advisory' and not granted")[0][0],
                what="the sweep",
            )
        assert sweeper.is_owed
    assert site.execute("select swept_at from cdc.position") == [(None,)]


async def test_the_nightly_sweep_marks_what_differs_and_names_what_it_cannot_read(site: Database) -> None:
    async with open_pool(site.dsn, purpose="test", size=4) as pool:
        connections = Connections(pool, pool, cast(Any, None), cast(Any, None), b"k" * 32)
        site.execute("delete from cdc.position")
        found = await sweep_nightly(connections, load_profile("core"))
        assert sum(found.values()) == marked(site) > 0
        site.execute("alter view cdc.contacts rename to elsewhere")
        with pytest.raises(ProfileError, match=r"cdc\.contacts"):
            await sweep_nightly(connections, load_profile("core"))


async def test_the_nightly_sweep_does_not_compare_a_database_that_capture_has_not_joined_up_with(
    site: Database,
) -> None:
    async with open_pool(site.dsn, purpose="test", size=4) as pool:
        connections = Connections(pool, pool, cast(Any, None), cast(Any, None), b"k" * 32)
        with pytest.raises(SourceUnavailable, match="another one"):
            await sweep_nightly(connections, load_profile("core"))
    assert marked(site) == 0


async def test_a_sweep_that_fails_is_owed_again(site: Database) -> None:
    site.execute("alter view cdc.contacts rename to elsewhere")
    async with sweeping(site) as (capture, sweeper):
        capture.sweep_due.set()
        await until(lambda: sweeper._is_sweeping is False and capture.sweep_due.is_set(), what="the failure")
        assert sweeper.is_owed
        site.execute("alter view cdc.elsewhere rename to contacts")
        await until(lambda: not sweeper.is_owed, within=20, what="the sweep that follows")
