"""The outbox: which keys may be out of date, who works on them, and until when.

Rows are always locked in the order (feed, key), both in the "C" collation, so that capture, workers and commands that
run side by side wait for each other and never deadlock. A transaction with several statements takes the feeds in
that order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection

from cdc.lsn import Lsn
from cdc.routing.feeds import Lane

CHANNEL: LiteralString = "cdc_outbox"
"""Workers LISTEN here. Whoever marks keys notifies it: capture with the name of each feed, the others with nothing."""

NOTIFY_SQL: LiteralString = f"select pg_notify('{CHANNEL}', '')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One key that may be out of date from now on.

    Attributes:
        due_in_seconds: how long it may gather further changes first; a later mark never postpones it.
        dirty_at: commit time of the oldest change behind this mark.
        first_lsn: commit LSN of the oldest change; None when a sweep, a replay or a person marks.
        last_lsn: commit LSN of the newest change.
        forced: send even what the ledger calls equal.
    """

    feed: str
    key: str
    lane: Lane
    dirty_at: datetime
    due_in_seconds: float = 0.0
    first_lsn: Lsn | None = None
    last_lsn: Lsn | None = None
    forced: bool = False


_MARKS: LiteralString = """
insert into cdc.outbox as o (feed, key, lane, due_at, dirty_at, first_lsn, last_lsn, forced, cause)
select m.feed, m.key, m.lane, now() + make_interval(secs => m.due_in), m.dirty_at, m.first_lsn, m.last_lsn, m.forced,
       %(cause)s::text
from unnest(
    %(feeds)s::text[], %(keys)s::text[], %(lanes)s::text[], %(due_in)s::float8[], %(dirty_at)s::timestamptz[],
    %(first_lsns)s::pg_lsn[], %(last_lsns)s::pg_lsn[], %(forced)s::boolean[]
) as m (feed, key, lane, due_in, dirty_at, first_lsn, last_lsn, forced)
"""
_LANES: LiteralString = "'{live,rollup,daily,bulk}'"  # the most urgent first
# Of two marks the more urgent lane and the earlier time win. A parked row starts afresh: its old lane and time say
# nothing. The claim stays: the fresh generation alone tells the worker that holds it that something happened since.
_MERGE: LiteralString = f"""
order by m.feed collate "C", m.key collate "C"
on conflict (feed, key) do update set
    lane = case
        when o.parked_at is not null then excluded.lane
        when array_position({_LANES}, o.lane) < array_position({_LANES}, excluded.lane) then o.lane
        else excluded.lane end,
    due_at = case when o.parked_at is not null then excluded.due_at else least(o.due_at, excluded.due_at) end,
    dirty_at = least(o.dirty_at, excluded.dirty_at),
    first_lsn = least(o.first_lsn, excluded.first_lsn),
    last_lsn = greatest(o.last_lsn, excluded.last_lsn),
    generation = excluded.generation,
    forced = o.forced or excluded.forced,
    cause = coalesce(excluded.cause, o.cause),
    attempts = 0,
    parked_at = null,
    reason = null,
    detail = null
"""
MARK_SQL: LiteralString = _MARKS + _MERGE
"""Marks keys dirty; each (feed, key) may occur once in the arrays. Also usable as a part of a `with`."""

# A row that nobody has claimed and that would become no more urgent is left alone; its last_lsn then stands for later
# changes too. The times of two marks for one window differ by what each took to get here.
MARK_SEEN_SQL: LiteralString = f"""
{_MARKS}
where not exists (
    select from cdc.outbox w
    where w.feed = m.feed and w.key = m.key
      and w.claimed_by is null and w.claimed_until is null
      and w.parked_at is null and w.attempts = 0 and w.reason is null and w.detail is null
      and array_position({_LANES}, w.lane) <= array_position({_LANES}, m.lane)
      and w.due_at <= now() + make_interval(secs => m.due_in + 1)
      and w.dirty_at <= m.dirty_at and w.first_lsn <= m.first_lsn and w.forced >= m.forced
)
{_MERGE}
"""
"""The same for changes that every query sees already, as capture's are: `MARK_SQL` is right for any.

Whoever claims a row after this statement began reads a truth that holds those changes, so a row without a claim needs
no fresh generation. A mark for something that becomes visible with the marking transaction must not rely on that.
"""


def mark_params(marks: Sequence[Mark], cause: str | None = None) -> dict[str, str | None]:
    """Give MARK_SQL its parameters: eight arrays of equal length, `feeds` to `forced`, and the cause of all of them.

    They are written as array literals: psycopg's own way through lists takes longer than the statement itself.
    """
    return {
        "feeds": text_array([m.feed for m in marks]),
        "keys": text_array([m.key for m in marks]),
        "lanes": plain_array([m.lane.value for m in marks]),
        "due_in": plain_array([str(m.due_in_seconds) for m in marks]),
        "dirty_at": text_array([m.dirty_at.isoformat() for m in marks]),
        "first_lsns": plain_array(["null" if m.first_lsn is None else str(m.first_lsn) for m in marks]),
        "last_lsns": plain_array(["null" if m.last_lsn is None else str(m.last_lsn) for m in marks]),
        "forced": plain_array(["t" if m.forced else "f" for m in marks]),
        "cause": cause,
    }


def plain_array(items: Sequence[str]) -> str:
    """Write an array literal of items that hold nothing special."""
    return "{" + ",".join(items) + "}"


def text_array(items: Sequence[str]) -> str:
    """Write a text[] literal; only quotes and backslashes are special inside quotes."""
    text = '","'.join(items)
    if "\\" in text or text.count('"') != 2 * max(0, len(items) - 1):
        text = '","'.join(item.replace("\\", "\\\\").replace('"', '\\"') for item in items)
    return '{"' + text + '"}' if items else "{}"


async def mark(conn: AsyncConnection[Any], marks: Sequence[Mark], *, cause: str | None = None) -> None:
    """Mark keys dirty and wake the workers, in the caller's transaction.

    Args:
        conn: in a transaction, or in autocommit if the two statements may come apart.
        marks: distinct by feed and key. A transaction that marks more than once must do so in the order of the feeds.
        cause: what marks them if no change does, in a word or two, for a person who wonders.
    """
    if marks:
        await conn.execute(MARK_SQL, mark_params(marks, cause))
        await conn.execute(NOTIFY_SQL)


# Who waits in the outbox is read anew when its turn comes, so its lane, its time and its count of attempts stay. Who is
# being delivered may have been read before the change, and who is parked starts afresh.
_MARK_OVERLOOKED_SQL: LiteralString = f"{MARK_SQL} where o.parked_at is not null or o.claimed_until > now()"


async def mark_overlooked(conn: AsyncConnection[Any], marks: Sequence[Mark]) -> int:
    """Mark keys of which it isn't known when they changed; what waits already is left as it is.

    Args:
        conn: in autocommit or in a transaction.
        marks: distinct by feed and key.

    Returns:
        How many were marked.
    """
    if not marks:
        return 0
    marked = (await conn.execute(_MARK_OVERLOOKED_SQL, mark_params(marks))).rowcount
    if marked:
        await conn.execute(NOTIFY_SQL)
    return marked


async def marked_keys(conn: AsyncConnection[Any], feed: str, keys: Collection[str]) -> frozenset[str]:
    """Tell which of some keys are in the outbox, parked or not."""
    cursor = await conn.execute("select key from cdc.outbox where feed = %s and key = any(%s)", [feed, list(keys)])
    return frozenset(row[0] for row in await cursor.fetchall())


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many keys of a feed and lane are in which state; each is in exactly one.

    Attributes:
        due: may be claimed now.
        gathering: will be due by themselves.
        in_flight: claimed.
        retrying: wait after a failure.
        deferred: wait for their day.
        parked: failed for good until the data change or a person acts.
        oldest: commit time of the oldest undelivered change that isn't parked or deferred.
    """

    feed: str
    lane: Lane
    due: int
    gathering: int
    in_flight: int
    retrying: int
    deferred: int
    parked: int
    oldest: datetime | None


_COUNTS_SQL: LiteralString = """
select feed, lane,
       count(*) filter (where state = 'due'), count(*) filter (where state = 'gathering'),
       count(*) filter (where state = 'in_flight'), count(*) filter (where state = 'retrying'),
       count(*) filter (where state = 'deferred'), count(*) filter (where state = 'parked'),
       min(dirty_at) filter (where state not in ('parked', 'deferred'))
from (
    select feed, lane, dirty_at, case
        when parked_at is not null then 'parked'
        when claimed_until > now() then 'in_flight'
        when due_at <= now() then 'due'
        when reason is not null then 'retrying'
        when lane = 'daily' then 'deferred'
        else 'gathering' end as state
    from cdc.outbox
) as o
group by feed, lane
order by feed, lane
"""


async def counts(conn: AsyncConnection[Any]) -> list[Counts]:
    """Count the outbox by feed, lane and state, for `cdc status`."""
    cursor = await conn.execute(_COUNTS_SQL)
    names = ("feed", "lane", "due", "gathering", "in_flight", "retrying", "deferred", "parked", "oldest")
    return [Counts(**{**dict(zip(names, row, strict=True)), "lane": Lane(row[1])}) for row in await cursor.fetchall()]


async def listen(conn: AsyncConnection[Any]) -> None:
    """Subscribe a connection to the marks; its `notifies()` then yields an item for each feed of a committed mark."""
    await conn.execute(f"listen {CHANNEL}")


async def make_due(conn: AsyncConnection[Any]) -> int:
    """Let nothing gather or wait for its day any longer; what waits after a failure goes on waiting.

    Returns:
        How many keys this hurried.
    """
    cursor = await conn.execute(
        """
        with hurried as (
            update cdc.outbox set due_at = now(), deferred_until = now()
            where (feed, key) in (
                select feed, key from cdc.outbox
                where parked_at is null and reason is null and due_at > now()
                order by feed collate "C", key collate "C" for update skip locked)
            returning 1)
        select count(*) from hurried
        """
    )
    row = await cursor.fetchone()
    hurried = 0 if row is None else int(row[0])
    if hurried:
        await conn.execute(NOTIFY_SQL)
    return hurried
