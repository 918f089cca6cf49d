"""A window of a really captured journal: the keys that were touched in it, marked, each once, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection

from cdc.errors import ConfigError, StateError
from cdc.lsn import Lsn
from cdc.repair.bounds import Bounds
from cdc.repair.replay import Window, find_window, mark_keys, read_window
from cdc.routing.keys import Retracer, Unwatched
from cdc.routing.router import build_routes
from cdc.state.journal import trim
from tests.conftest import Connect
from tests.support.capture import FEEDS, VIEWS, Source, write_profile
from tests.support.postgres import Database


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


@pytest.fixture
async def state(source: Source, connect: Connect) -> AsyncConnection[Any]:
    return await connect()


async def captured(source: Source, *statements: str) -> list[Lsn]:
    """Run statements, each in a transaction of its own, and capture them; gives the server's LSN before each."""
    lsns = []
    async with source.capturing("stream"):
        for number, statement in enumerate(statements):
            lsns.append(now(source))
            source.database.execute(statement)
            await source.drained(f"marker {source.database.name} {number} {len(source.journal())}")
    return lsns


def now(source: Source) -> Lsn:
    return Lsn.parse(source.database.execute("select pg_current_wal_lsn()::text")[0][0])


def retracer(source: Source, *feeds: str, keys: set[str] | None = None) -> Retracer:
    return Retracer(
        build_routes(source.profile),
        frozenset(feeds or source.profile.feeds),
        None if keys is None else frozenset(keys),
    )


async def touched(state: AsyncConnection[Any], window: Window, found: Retracer) -> list[tuple[str, str]]:
    """All keys of a window, markers left out."""
    keys = [key async for batch in read_window(state, window, found) for key in batch.keys]
    assert len(set(keys)) == len(keys)
    return sorted((feed, key) for feed, key in keys if not key.startswith("marker"))


async def test_a_window_holds_what_was_committed_in_it(source: Source, state: AsyncConnection[Any]) -> None:
    before, then, after = await captured(
        source,
        "insert into people values ('ada', 'Ada'), ('bob', 'Bob')",
        "update people set name = 'x' where id = 'ada'; insert into items values (1, 'bob', '')",
        "delete from people where id = 'bob'; update items set owner = 'cy'",
    )

    async def keys(bounds: Bounds, **options: Any) -> list[tuple[str, str]]:
        return await touched(state, await find_window(state, source.name, bounds), retracer(source, **options))

    everything = [("items", "1"), ("people", "ada"), ("people", "bob"), ("people", "cy")]
    assert await keys(Bounds(before)) == everything
    assert await keys(Bounds(then)) == everything
    assert await keys(Bounds(then, after)) == [("items", "1"), ("people", "ada"), ("people", "bob")]
    assert await keys(Bounds(after)) == [("items", "1"), ("people", "bob"), ("people", "cy")]
    assert await keys(Bounds(now(source))) == []
    assert await keys(Bounds(before), keys={"ada", "1"}) == [("items", "1"), ("people", "ada")]
    window = await find_window(state, source.name, Bounds(before))
    assert await touched(state, window, retracer(source, "items")) == [("items", "1")]


async def test_times_are_turned_into_lsns_by_the_commits(source: Source, state: AsyncConnection[Any]) -> None:
    source.database.execute("create table public.times (n int, at timestamptz)")
    await captured(
        source,
        "insert into people values ('ada')",
        "insert into times values (1, clock_timestamp())",
        "insert into people values ('bob')",
        "insert into times values (2, clock_timestamp())",
        "insert into people values ('cy')",
    )
    one, two = (row[0] for row in source.database.execute("select at from times order by n"))

    async def keys(bounds: Bounds) -> list[str]:
        window = await find_window(state, source.name, bounds)
        return [key for _, key in await touched(state, window, retracer(source))]

    assert await keys(Bounds(one)) == ["bob", "cy"]
    assert await keys(Bounds(one, two)) == ["bob"]
    assert await keys(Bounds(two)) == ["cy"]
    [(later,)] = source.database.execute("select clock_timestamp()")
    assert await keys(Bounds(later)) == []


async def test_marks_are_of_the_lane_bulk_and_leave_the_more_urgent_ones(
    source: Source, state: AsyncConnection[Any]
) -> None:
    [before, *_] = await captured(source, "insert into people values ('ada'), ('bob'), ('cy')")
    source.database.execute("delete from cdc.outbox where key <> 'ada'")
    window = await find_window(state, source.name, Bounds(before))
    keys = await touched(state, window, retracer(source))

    done = await mark_keys(state, keys, forced=False)

    rows = source.database.execute(
        "select key, lane, forced, first_lsn is null from cdc.outbox where key not like 'marker%' order by key"
    )
    assert done.marked == 3
    assert rows == [("ada", "live", False, False), ("bob", "bulk", False, True), ("cy", "bulk", False, True)]


async def test_what_is_parked_stays_so_unless_it_is_forced(source: Source, state: AsyncConnection[Any]) -> None:
    await captured(source, "insert into people values ('ada'), ('bob')")
    source.database.execute("update cdc.outbox set parked_at = now(), reason = 'INVALID_VALUE' where key = 'ada'")
    keys = [("people", "ada"), ("people", "bob")]

    done = await mark_keys(state, keys, forced=False)
    assert (done.marked, done.parked) == (1, 1)
    assert source.database.execute("select key from cdc.outbox where parked_at is not null") == [("ada",)]

    done = await mark_keys(state, keys, forced=True)
    assert (done.marked, done.parked) == (2, 0)
    assert source.database.execute("select count(*) from cdc.outbox where forced and parked_at is null") == [(2,)]


async def test_a_truncation_marks_all_that_is_known(source: Source, state: AsyncConnection[Any]) -> None:
    before, emptied = await captured(source, "insert into items values (1, 'ada', '')", "truncate items")
    source.database.execute("delete from cdc.outbox")
    source.database.execute(
        "insert into cdc.ledger (feed, record_id, key, state) values"
        " ('items', '7', '7', 'sent'), ('items', '8', '8', 'withdrawn'), ('people', 'eve', 'eve', 'sending')"
    )
    source.database.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at) values ('items', '9', 'live', now(), now())"
    )
    window = await find_window(state, source.name, Bounds(emptied))

    assert await touched(state, window, retracer(source)) == [("items", "7"), ("items", "9"), ("people", "eve")]
    assert await touched(state, window, retracer(source, keys={"7"})) == [("items", "7")]
    window = await find_window(state, source.name, Bounds(before, emptied))
    assert await touched(state, window, retracer(source)) == [("items", "1"), ("people", "ada")]


async def test_older_than_the_journal_is_refused_and_the_bound_it_names_is_taken(
    source: Source, state: AsyncConnection[Any]
) -> None:
    before, then = await captured(source, "insert into people values ('ada')", "insert into people values ('bob')")
    source.database.execute(
        "update cdc.journal set last_time = now() - interval '9 days', first_time = now() - interval '9 days'"
        " where last_lsn < %s",
        [str(then)],
    )
    assert await trim(state, seconds=8 * 86_400, size=1 << 30) > 0

    with pytest.raises(ConfigError) as caught:
        await find_window(state, source.name, Bounds(before))

    assert f"{before} is older than the journal" in caught.value.message
    assert "cdc sweep" in str(caught.value.fix)
    [named] = [word for word in str(caught.value.fix).split() if "/" in word][:1]
    window = await find_window(state, source.name, Bounds(Lsn.parse(named)))
    assert await touched(state, window, retracer(source)) == [("people", "bob")]


async def test_a_gap_in_the_window_is_refused(source: Source, state: AsyncConnection[Any]) -> None:
    [before, *_] = await captured(source, "insert into people values ('ada')")
    source.database.execute("select pg_drop_replication_slot(%s)", [source.name])
    source.database.execute("insert into people values ('unheard')")
    [after, *_] = await captured(source, "insert into people values ('bob')")

    with pytest.raises(ConfigError, match="a gap lies in this window: the slot was dropped") as caught:
        await find_window(state, source.name, Bounds(before))

    assert "cdc sweep" in str(caught.value.fix)
    window = await find_window(state, source.name, Bounds(after))
    assert await touched(state, window, retracer(source)) == [("people", "bob")]


async def test_retention_that_comes_first_is_an_error_and_no_short_window(
    source: Source, state: AsyncConnection[Any]
) -> None:
    [before, *_] = await captured(source, "insert into people values ('ada')", "insert into people values ('bob')")
    window = await find_window(state, source.name, Bounds(before))
    assert await trim(state, seconds=0, size=1 << 30) > 0

    with pytest.raises(StateError, match="retention has removed"):
        await touched(state, window, retracer(source))


async def test_a_table_that_was_captured_before_a_feed_watched_it(
    source: Source, state: AsyncConnection[Any], tmp_path: Path
) -> None:
    [before, *_] = await captured(source, "insert into visits values (1, 'ada', 0)")
    more = FEEDS + '[visits]\nsink = "zoho.tasks"\nview = "cdc.items"\nkey = "item_id"\nwatch.visits = { key = "id" }\n'
    later = Source(source.database, write_profile(tmp_path / "later", more, VIEWS), source.name)
    window = await find_window(state, source.name, Bounds(before))
    found = retracer(later)

    assert await touched(state, window, found) == [("people", "ada")]
    assert found.unwatched == {Unwatched("visits", "public.visits", "id")}


async def test_a_big_window_is_read_in_batches_whose_cursor_goes_on_where_it_was(
    source: Source, state: AsyncConnection[Any]
) -> None:
    fill = "insert into people select 'p' || n from generate_series({}, {}) n"
    [before, *_] = await captured(source, *(fill.format(n, n + 29_999) for n in range(0, 120_000, 30_000)))
    window = await find_window(state, source.name, Bounds(before))
    batches = [batch async for batch in read_window(state, window, retracer(source))]

    assert len(batches) >= 2
    assert sum(batch.changes for batch in batches) == window.changes
    keys = {key for batch in batches for _, key in batch.keys if key.startswith("p")}
    assert len(keys) == 120_000
    rest = Window(
        slot=window.slot, span=window.span, from_lsn=window.from_lsn, to_lsn=window.to_lsn,
        after=batches[0].cursor, last=window.last,
    )  # fmt: skip
    again = [batch async for batch in read_window(state, rest, retracer(source))]
    assert [batch.keys for batch in again] == [batch.keys for batch in batches[1:]]
