"""The outbox: which keys may be out of date, who works on them, and until when.

Rows are always locked in the order (feed, key), both in the "C" collation, so that capture, workers and commands that
run side by side wait for each other and never deadlock. A transaction with several statements takes the feeds in
that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection

from cdc.lsn import Lsn
from cdc.routing.feeds import Lane

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


def mark_params(marks: Sequence[Mark]) -> dict[str, list[Any]]:
    """Give MARK_SQL its parameters: eight arrays of equal length, `feeds` to `forced`."""
    return {
        "feeds": [m.feed for m in marks],
        "keys": [m.key for m in marks],
        "lanes": [m.lane.value for m in marks],
        "due_in": [m.due_in_seconds for m in marks],
        "dirty_at": [m.dirty_at for m in marks],
        "first_lsns": [None if m.first_lsn is None else str(m.first_lsn) for m in marks],
        "last_lsns": [None if m.last_lsn is None else str(m.last_lsn) for m in marks],
        "forced": [m.forced for m in marks],
    }


async def mark(conn: AsyncConnection[Any], marks: Sequence[Mark]) -> None:
    """Mark keys dirty and wake the workers, in the caller's transaction.

    Args:
        conn: in a transaction, or in autocommit if the two statements may come apart.
        marks: distinct by feed and key. A transaction that marks more than once must do so in the order of the feeds.
    """
    if marks:
        await conn.execute(MARK_SQL, mark_params(marks))
        await conn.execute(NOTIFY_SQL)
