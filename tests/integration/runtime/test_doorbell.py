"""The sweeps beside a doorbell: often enough, never too often, and without disturbing what waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cdc.routing.feeds import load_profile
from cdc.runtime.connections import Connections
from cdc.runtime.doorbell import SHARE, DoorbellSweeper
from cdc.source.realtime import Realtime
from cdc.source.realtime_key import RealtimeKey
from cdc.source.realtime_session import RealtimeConfig
from cdc.state.database import open_pool
from tests.support.postgres import Database
from tests.support.waiting import until


@asynccontextmanager
async def sweeping(database: Database, *, every_seconds: float) -> AsyncIterator[tuple[Realtime, DoorbellSweeper]]:
    """Run a sweeper beside a transport that does nothing but hold the lock."""
    nothing: dict[Any, Any] = {}
    realtime = Realtime(RealtimeConfig(database.dsn, database.dsn, "ours", "", RealtimeKey("k"), nothing, nothing))
    realtime._store, stop = cast(Any, object()), asyncio.Event()
    async with open_pool(database.dsn, purpose="test", size=4) as pool:
        connections = Connections(pool, pool, cast(Any, None), cast(Any, None), b"k" * 32)
        sweeper = DoorbellSweeper(connections, load_profile("core"), "ours", realtime, every_seconds=every_seconds)
        running = asyncio.create_task(sweeper.run(stop))
        try:
            yield realtime, sweeper
        finally:
            stop.set()
            await running


@pytest.fixture
def site(database: Database) -> Database:
    database.apply_profile("core", sample=True)
    database.apply_state()
    return database


def row(database: Database, key: str) -> tuple[Any, ...]:
    query = "select lane, due_at > now(), attempts, parked_at is not null, generation from cdc.outbox where key = %s"
    return database.execute(query, [key])[0]


async def test_everything_is_swept_at_the_start_and_on_the_timer(site: Database) -> None:
    async with sweeping(site, every_seconds=0.2) as (_, sweeper):
        await until(lambda: sweeper.sweeps >= 3, 30, what="three sweeps")
        [(keys,)] = site.execute("select count(*) from cdc.outbox")
        assert sweeper.swept == keys > 0


async def test_a_process_that_stands_by_leaves_it_to_the_other(site: Database) -> None:
    async with sweeping(site, every_seconds=0.05) as (realtime, sweeper):
        await until(lambda: sweeper.sweeps, 30, what="a sweep")
        realtime._store = None
        await until(lambda: not sweeper._is_sweeping, what="the last sweep to end")
        before = sweeper.sweeps
        realtime.sweep_due.set()
        await asyncio.sleep(0.2)  # nothing happens, which no event tells
        assert sweeper.sweeps == before
        assert sweeper.is_owed
        realtime._store = cast(Any, object())
        await until(lambda: sweeper.sweeps > before, 30, what="its turn")


async def test_what_waits_in_the_outbox_is_neither_hurried_nor_counted_anew(site: Database) -> None:
    keys = [key for (key,) in site.execute("select user_id::text from cdc.contacts order by 1 limit 4")]
    gathering, retrying, parked, claimed = keys
    site.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, attempts, reason, parked_at, claimed_until) values"
        " ('contacts', %s, 'rollup', now() + interval '1 hour', now(), 0, null, null, null),"
        " ('contacts', %s, 'live', now() + interval '1 hour', now(), 5, 'RECORD_LOCKED', null, null),"
        " ('contacts', %s, 'live', now(), now(), 3, 'WRONG_TYPE', now(), null),"
        " ('contacts', %s, 'live', now() + interval '1 hour', now(), 0, null, null, now() + interval '1 hour')",
        keys,
    )
    before = {key: row(site, key) for key in keys}
    async with sweeping(site, every_seconds=0.1) as (realtime, sweeper):
        realtime.sweep_due.clear()
        sweeper._owes_parked = False
        await until(lambda: sweeper.sweeps >= 2, 30, what="two sweeps")
        assert {key: row(site, key) for key in (gathering, retrying, parked)} == {
            key: before[key] for key in (gathering, retrying, parked)
        }
        assert row(site, claimed)[4] > before[claimed][4], "what is under way may have been read before the change"


async def test_after_a_doubt_what_is_parked_is_tried_again_but_not_each_time(site: Database) -> None:
    [(key,)] = site.execute("select user_id::text from cdc.contacts order by 1 limit 1")
    site.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, parked_at) values ('contacts', %s, 'live', now(),"
        " now(), now())",
        [key],
    )
    async with sweeping(site, every_seconds=3_600) as (realtime, sweeper):
        realtime.sweep_due.set()
        await until(lambda: not row(site, key)[3], 30, what="the parked key is tried again")
        site.execute("update cdc.outbox set parked_at = now() where key = %s", [key])
        await until(lambda: not sweeper.is_owed, 30, what="the sweep to end")
        sweeps = sweeper.sweeps
        realtime.sweep_due.set()
        await until(lambda: sweeper.sweeps > sweeps and not sweeper.is_owed, 30, what="another sweep")
        assert row(site, key)[3], "each try costs a credit"


async def test_however_slow_a_sweep_is_no_more_than_its_share_of_the_time_is_spent(
    site: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    async def take_long(sweeper: DoorbellSweeper) -> list[Any]:
        clock[0] += 4.0  # as 100,000 people take
        sweeper.sweeps += 1
        return []

    async def pass_time(event: asyncio.Event, seconds: float) -> None:
        clock[0] += seconds
        await asyncio.sleep(0)

    async def no_wait(*_: asyncio.Event, seconds: float | None = None) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(DoorbellSweeper, "_sweep_everything", take_long)
    monkeypatch.setattr("cdc.runtime.doorbell.time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr("cdc.runtime.doorbell.wait_at_most", pass_time)
    monkeypatch.setattr("cdc.runtime.doorbell.wait_for_any", no_wait)  # a bell that has doubts all the time
    async with sweeping(site, every_seconds=1) as (_, sweeper):
        await until(lambda: sweeper.sweeps >= 20, what="many sweeps")
        assert 4.0 * sweeper.sweeps / (clock[0] + 36.0) <= SHARE + 0.001
