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

from cdc.errors import StateError
from cdc.lsn import Lsn
from cdc.routing.feeds import Lane
from cdc.state.ledger import entry_from_json
from cdc.state.records import LedgerEntry

CHANNEL: LiteralString = "cdc_outbox"
"""Workers LISTEN here; whoever marks keys notifies it, without a payload."""

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


# Of two marks the more urgent lane and the earlier time win. A parked row starts afresh: its old lane and time say
# nothing. The claim stays: the fresh generation alone tells the worker that holds it that something happened since.
MARK_SQL: LiteralString = """
insert into cdc.outbox as o (feed, key, lane, due_at, dirty_at, first_lsn, last_lsn, forced)
select m.feed, m.key, m.lane, now() + make_interval(secs => m.due_in), m.dirty_at, m.first_lsn, m.last_lsn, m.forced
from unnest(
    %(feeds)s::text[], %(keys)s::text[], %(lanes)s::text[], %(due_in)s::float8[], %(dirty_at)s::timestamptz[],
    %(first_lsns)s::pg_lsn[], %(last_lsns)s::pg_lsn[], %(forced)s::boolean[]
) as m (feed, key, lane, due_in, dirty_at, first_lsn, last_lsn, forced)
order by m.feed collate "C", m.key collate "C"
on conflict (feed, key) do update set
    lane = case
        when o.parked_at is not null then excluded.lane
        when array_position('{live,rollup,daily,bulk}', o.lane)
           < array_position('{live,rollup,daily,bulk}', excluded.lane) then o.lane
        else excluded.lane end,
    due_at = case when o.parked_at is not null then excluded.due_at else least(o.due_at, excluded.due_at) end,
    dirty_at = least(o.dirty_at, excluded.dirty_at),
    first_lsn = least(o.first_lsn, excluded.first_lsn),
    last_lsn = greatest(o.last_lsn, excluded.last_lsn),
    generation = excluded.generation,
    forced = o.forced or excluded.forced,
    attempts = 0,
    parked_at = null,
    reason = null,
    detail = null
"""
"""Marks keys dirty; each (feed, key) may occur once in the arrays. Also usable as a part of a `with`."""


def mark_params(marks: Sequence[Mark]) -> dict[str, str]:
    """Give MARK_SQL its parameters: eight arrays of equal length, `feeds` to `forced`.

    They are written as array literals: psycopg's own way through lists takes longer than the statement itself, and
        capture
    marks thousands of keys at a time.
    """
    return {
        "feeds": _text_array([m.feed for m in marks]),
        "keys": _text_array([m.key for m in marks]),
        "lanes": _plain_array([m.lane.value for m in marks]),
        "due_in": _plain_array([str(m.due_in_seconds) for m in marks]),
        "dirty_at": _text_array([m.dirty_at.isoformat() for m in marks]),
        "first_lsns": _plain_array(["null" if m.first_lsn is None else str(m.first_lsn) for m in marks]),
        "last_lsns": _plain_array(["null" if m.last_lsn is None else str(m.last_lsn) for m in marks]),
        "forced": _plain_array(["t" if m.forced else "f" for m in marks]),
    }


def _plain_array(items: Sequence[str]) -> str:
    return "{" + ",".join(items) + "}"


def _text_array(items: Sequence[str]) -> str:
    """Write a text[] literal; only quotes and backslashes are special inside quotes."""
    text = '","'.join(items)
    if "\\" in text or text.count('"') != 2 * max(0, len(items) - 1):
        text = '","'.join(item.replace("\\", "\\\\").replace('"', '\\"') for item in items)
    return '{"' + text + '"}' if items else "{}"


async def mark(conn: AsyncConnection[Any], marks: Sequence[Mark]) -> None:
    """Mark keys dirty and wake the workers, in the caller's transaction.

    Args:
        conn: in a transaction, or in autocommit if the two statements may come apart.
        marks: distinct by feed and key. A transaction that marks more than once must do so in the order of the feeds.
    """
    if marks:
        await conn.execute(MARK_SQL, mark_params(marks))
        await conn.execute(NOTIFY_SQL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A dirty key that is ours until the lease ends, with what the ledger says about it.

    Attributes:
        generation: the row is settled only if this is still its generation.
        attempts: failed attempts before this one.
        deferred_until: when fields that may wait a day must go at the latest; None if none is waiting.
        approved: a person retried it after the breaker had held it.
        entries: the ledger's entries of the key.
    """

    key: str
    lane: Lane
    generation: int
    forced: bool
    attempts: int
    dirty_at: datetime
    last_lsn: Lsn | None
    deferred_until: datetime | None
    approved: bool
    entries: tuple[LedgerEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """What a worker asks the outbox for.

    Attributes:
        worker: identifies the worker among all of them.
        scopes: control scopes that stop this feed: its name and its sink's family.
        lanes: which, most urgent first.
        limit: most keys.
        at_least: claim nothing if fewer are due.
        lease_seconds: longer than a batch can take.
        flush_all: keys that gather or wait for their day count as due; those that wait after a failure don't.
        probing: the scopes are paused and this is the one batch that may try.
    """

    feed: str
    worker: str
    scopes: tuple[str, ...]
    lanes: tuple[Lane, ...]
    limit: int
    at_least: int = 1
    lease_seconds: float
    flush_all: bool = False
    probing: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """The keys of one claim, most urgent first, and the database's time of it."""

    at: datetime
    claims: tuple[Claim, ...]


# A claim moves due_at to the end of the lease. So claimed rows leave the range that the index is searched for, a lease
# that has run out is due again by itself, and a change that arrives meanwhile pulls due_at back (least, above).
_CLAIM_SQL: LiteralString = """
with due as materialized (
    select p.key, l.rank, p.due_at
    from unnest(%(lanes)s::text[]) with ordinality as l (lane, rank)
    cross join lateral (
        select o.key, o.due_at
        from cdc.outbox o
        where o.feed = %(feed)s and o.lane = l.lane and o.parked_at is null
          and o.due_at <= case when %(flush_all)s then 'infinity' else now() end
          and (o.due_at <= now() or o.reason is null)
          and (o.claimed_until is null or o.claimed_until <= now())
        order by o.due_at
        limit %(limit)s
        for update skip locked
    ) as p
    where %(probing)s or not exists (select from cdc.control c where c.scope = any(%(scopes)s))
    order by l.rank, p.due_at
    limit %(limit)s
), taken as (
    update cdc.outbox o
    set claimed_by = %(worker)s,
        claimed_until = now() + make_interval(secs => %(lease)s),
        due_at = now() + make_interval(secs => %(lease)s)
    from due
    where o.feed = %(feed)s and o.key = due.key and (select count(*) from due) >= %(at_least)s
    returning o.*, due.rank, due.due_at as was_due
)
select t.key, t.lane, t.generation, t.forced, t.attempts, t.dirty_at, t.last_lsn::text, t.deferred_until,
       t.forced and t.reason = 'HELD_BY_BREAKER' as approved, e.entries, now() as at
from taken t
left join lateral (
    select jsonb_agg(to_jsonb(g)) as entries from cdc.ledger g where g.feed = %(feed)s and g.key = t.key
) as e on true
order by t.rank, t.was_due
"""


async def claim(conn: AsyncConnection[Any], request: ClaimRequest) -> Claimed | None:
    """Take due keys of one feed, and read their ledger entries; one round trip.

    Args:
        conn: in autocommit.
        request: what to take.

    Returns:
        None if nothing was taken: too little is due, or the feed is paused.
    """
    cursor = await conn.execute(
        _CLAIM_SQL,
        {
            "feed": request.feed,
            "worker": request.worker,
            "scopes": list(request.scopes),
            "lanes": [lane.value for lane in request.lanes],
            "limit": request.limit,
            "at_least": request.at_least,
            "lease": request.lease_seconds,
            "flush_all": request.flush_all,
            "probing": request.probing,
        },
    )
    rows = await cursor.fetchall()
    if not rows:
        return None
    return Claimed(rows[0][-1], tuple(_claim_from(row) for row in rows))


def _claim_from(row: tuple[Any, ...]) -> Claim:
    key, lane, generation, forced, attempts, dirty_at, lsn, deferred_until, approved, entries, _ = row
    return Claim(
        key=key,
        lane=Lane(lane),
        generation=generation,
        forced=forced,
        attempts=attempts,
        dirty_at=dirty_at,
        last_lsn=None if lsn is None else Lsn.parse(lsn),
        deferred_until=deferred_until,
        approved=bool(approved),
        entries=tuple(entry_from_json(e) for e in entries or ()),
    )


@dataclass(frozen=True, slots=True)
class Due:
    """When a feed needs looking at again.

    Attributes:
        in_seconds: until the next unclaimed key is due, not less than 0; None if there is none.
        paused: a scope of the feed is paused or being probed.
        probe_in_seconds: until the longest pause ends; None if there is no pause, or one that only a person ends.
    """

    in_seconds: float | None
    paused: bool
    probe_in_seconds: float | None


# Keys that changed while claimed are due but not to be had. They are left out; the end of their batch looks for them.
_NEXT_DUE_SQL: LiteralString = """
select case when min(d.due_at) is not null then greatest(0, extract(epoch from min(d.due_at) - now()))::float8 end,
       c.paused,
       case when c.until < 'infinity' then greatest(0, extract(epoch from c.until - now()))::float8 end
from (select count(*) > 0 as paused, max(paused_until) as until from cdc.control where scope = any(%(scopes)s)) as c
left join (
    select case when %(flush_all)s and exists (
        select from cdc.outbox o
        where o.feed = %(feed)s and o.lane = l.lane and o.parked_at is null and o.reason is null
          and (o.claimed_until is null or o.claimed_until <= now())
    ) then now() else (
        select o.due_at from cdc.outbox o
        where o.feed = %(feed)s and o.lane = l.lane and o.parked_at is null
          and (o.claimed_until is null or o.claimed_until <= now())
        order by o.due_at
        limit 1
    ) end as due_at
    from unnest(%(lanes)s::text[]) as l (lane)
) as d on true
group by c.paused, c.until
"""


async def next_due(conn: AsyncConnection[Any], request: ClaimRequest) -> Due:
    """Say when a claim like this one will find something."""
    cursor = await conn.execute(
        _NEXT_DUE_SQL,
        {
            "feed": request.feed,
            "scopes": list(request.scopes),
            "lanes": [lane.value for lane in request.lanes],
            "flush_all": request.flush_all,
        },
    )
    row = await cursor.fetchone()
    if row is None:
        raise StateError("the outbox gave no answer about what is due")
    return Due(*row)


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
    """Subscribe a connection to the marks; its `notifies()` then yields one item for each committed mark."""
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
