"""Claims: dirty keys that one worker holds for the time of a lease, and when there will be more of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection

from cdc.errors import StateError
from cdc.lsn import Lsn
from cdc.routing.feeds import Lane
from cdc.state.control import BULK_SCOPE
from cdc.state.ledger import entry_from_json
from cdc.state.records import LedgerEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A dirty key that is ours until the lease ends, with what the ledger says about it.

    Attributes:
        generation: the row is settled only if this is still its generation.
        attempts: failed attempts before this one.
        deferred_until: when fields that may wait a day must go at the latest; None if none is waiting.
        approved: what a person let pass the breaker, as `cdc.state.held` words it; empty for any update; None for
            nothing.
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
    approved: str | None
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
        probing: the scopes are paused and this is the one batch that may try.
    """

    feed: str
    worker: str
    scopes: tuple[str, ...]
    lanes: tuple[Lane, ...]
    limit: int
    at_least: int = 1
    lease_seconds: float
    probing: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """The keys of one claim, most urgent first, the database's time of it, and the end of its lease."""

    at: datetime
    until: datetime
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
          and o.due_at <= now()
          and (o.claimed_until is null or o.claimed_until <= now())
        order by o.due_at
        limit %(limit)s
        for update skip locked
    ) as p
    where (%(probing)s or not exists (select from cdc.control c where c.scope = any(%(scopes)s)))
      and not exists (select from cdc.pause h where h.scope = any(%(scopes)s) and h.paused_until > now())
      and (l.lane <> 'bulk' or not exists (
          select from cdc.pause h where h.scope = %(bulk_scope)s and h.paused_until > now()))
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
       case when t.approved = t.generation then coalesce(t.approved_for, '') end as approved, e.entries, now() as at,
       t.claimed_until
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
            "probing": request.probing,
            "bulk_scope": BULK_SCOPE,
        },
    )
    rows = await cursor.fetchall()
    if not rows:
        return None
    at, until = rows[0][-2:]
    return Claimed(at, until, tuple(claim_from(row[:-2]) for row in rows))


def claim_from(row: tuple[Any, ...]) -> Claim:
    """Read a claim from the columns that `_CLAIM_SQL` gives, without its last two."""
    key, lane, generation, forced, attempts, dirty_at, lsn, deferred_until, approved, entries = row
    return Claim(
        key=key,
        lane=Lane(lane),
        generation=generation,
        forced=forced,
        attempts=attempts,
        dirty_at=dirty_at,
        last_lsn=None if lsn is None else Lsn.parse(lsn),
        deferred_until=deferred_until,
        approved=approved,
        entries=tuple(entry_from_json(e) for e in entries or ()),
    )


@dataclass(frozen=True, slots=True)
class Due:
    """When a feed needs looking at again.

    Attributes:
        in_seconds: until the next unclaimed key is due and a person's pause has ended, not less than 0; None if there
            is no such key, or a pause that only a person ends.
        paused: a scope of the feed is paused after a failure, or being probed.
        probe_in_seconds: until the longest such pause ends; None if there is none, or one without an end.
    """

    in_seconds: float | None
    paused: bool
    probe_in_seconds: float | None


# Keys that changed while claimed are due but not to be had. They are left out; the end of their batch looks for them.
_NEXT_DUE_SQL: LiteralString = """
select case when min(d.due_at) is not null and h.until < 'infinity'
            then greatest(0, extract(epoch from greatest(min(d.due_at), h.until) - now()))::float8 end,
       c.paused,
       case when c.until < 'infinity' then greatest(0, extract(epoch from c.until - now()))::float8 end
from (select count(*) > 0 as paused, max(paused_until) as until from cdc.control where scope = any(%(scopes)s)) as c
cross join (
    select coalesce(max(paused_until), '-infinity') as until from cdc.pause
    where scope = any(%(scopes)s) and paused_until > now()
) as h
left join (
    select (
        select o.due_at from cdc.outbox o
        where o.feed = %(feed)s and o.lane = l.lane and o.parked_at is null
          and (o.claimed_until is null or o.claimed_until <= now())
        order by o.due_at
        limit 1
    ) as due_at
    from unnest(%(lanes)s::text[]) as l (lane)
    where l.lane <> 'bulk' or not exists (
        select from cdc.pause b where b.scope = %(bulk_scope)s and b.paused_until > now())
) as d on true
group by c.paused, c.until, h.until
"""


async def next_due(conn: AsyncConnection[Any], request: ClaimRequest) -> Due:
    """Say when a claim like this one will find something."""
    cursor = await conn.execute(
        _NEXT_DUE_SQL,
        {
            "feed": request.feed,
            "scopes": list(request.scopes),
            "lanes": [lane.value for lane in request.lanes],
            "bulk_scope": BULK_SCOPE,
        },
    )
    row = await cursor.fetchone()
    if row is None:
        raise StateError("the outbox gave no answer about what is due")
    return Due(*row)
