"""What becomes of claimed keys, the ledger and the log once a batch is through: one transaction, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, LiteralString

from psycopg import AsyncConnection, Rollback

from cdc.routing.feeds import Lane
from cdc.state import ledger, synclog
from cdc.state.ledger import LedgerChange
from cdc.state.outbox import MARK_SQL, NOTIFY_SQL, Mark, mark, mark_params
from cdc.state.synclog import LogLine


class Fate(StrEnum):
    """What becomes of a claimed key, unless it changed while it was claimed: then it is due again."""

    DONE = "done"  # leaves the outbox
    RELEASE = "release"  # as before the claim; nothing counted
    POSTPONE = "postpone"  # waits after a failure
    PARK = "park"
    DEFER = "defer"  # waits in a slower lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The fate of one key.

    Attributes:
        generation: as claimed.
        due_in: seconds until it may be claimed again.
        rest: seconds for which nobody may claim it, whatever changes meanwhile: a call may still be carried out.
        lane: for DEFER, the lane to wait in.
        attempts: failed attempts so far, this one included if it counts.
        reason: a name of `sinks.reasons`; POSTPONE and PARK only.
        detail: codes and field names, never values.
    """

    key: str
    generation: int
    fate: Fate
    due_in: float = 0.0
    rest: float = 0.0
    lane: Lane | None = None
    attempts: int = 0
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """Everything that one batch leaves behind.

    Attributes:
        worker: who holds the claims.
        claimed_at: the database's time of the claim.
        claimed_until: the end of its lease. No two claims of a key share it, so it tells this batch from another of
            the same worker that took the key when the lease had run out.
        verdicts: one for each claimed key that is to be settled.
        marks: keys of other feeds that are dirty because of what was done here.
    """

    feed: str
    worker: str
    claimed_at: datetime
    claimed_until: datetime
    verdicts: Sequence[Verdict]
    ledger: LedgerChange
    log: Sequence[LogLine] = ()
    marks: Sequence[Mark] = ()


_LOCK_SQL: LiteralString = """
select count(*)
from (
    select o.claimed_by, o.claimed_until
    from cdc.outbox o
    where o.feed = %(feed)s and o.key = any(%(keys)s)
    order by o.key collate "C"
    for update
) as locked
where claimed_by = %(worker)s and claimed_until = %(claimed_until)s and claimed_until > now()
"""

_VERDICTS: LiteralString = """
unnest(
    %(keys)s::text[], %(generations)s::bigint[], %(fates)s::text[], %(due_in)s::float8[], %(attempts)s::integer[],
    %(reasons)s::text[], %(details)s::text[], %(lanes)s::text[], %(rests)s::float8[]
) as v (key, generation, fate, due_in, attempts, reason, detail, lane, rest)
"""

_DONE_SQL: LiteralString = f"""
delete from cdc.outbox o
using {_VERDICTS}
where o.feed = %(feed)s and o.key = v.key and o.generation = v.generation and v.fate = 'done'
"""

# A key that changed while it was claimed keeps what the change set (lane, attempts 0, no reason). If the claimed part
# is done, what is left is younger than the claim; if not, it is due at once.
_OTHER_SQL: LiteralString = f"""
update cdc.outbox o set
    claimed_by = null,
    claimed_until = case when v.rest > 0 then now() + make_interval(secs => v.rest) end,
    due_at = case
        when o.generation = v.generation then now() + make_interval(secs => v.due_in)
        when v.fate = 'done' then o.due_at
        else least(o.due_at, now()) end,
    dirty_at = case when v.fate = 'done' then greatest(o.dirty_at, %(claimed_at)s) else o.dirty_at end,
    lane = case when o.generation = v.generation and v.fate = 'defer' then v.lane else o.lane end,
    deferred_until = case
        when v.fate = 'defer' then now() + make_interval(secs => v.due_in)
        when v.fate = 'done' then null
        else o.deferred_until end,
    attempts = case when o.generation = v.generation and v.fate in ('postpone', 'park') then v.attempts
        else o.attempts end,
    parked_at = case when o.generation = v.generation and v.fate = 'park' then now() end,
    reason = case when o.generation <> v.generation or v.fate = 'release' then o.reason else v.reason end,
    detail = case when o.generation <> v.generation or v.fate = 'release' then o.detail else v.detail end
from {_VERDICTS}
where o.feed = %(feed)s and o.key = v.key
"""


async def settle(conn: AsyncConnection[Any], settlement: Settlement) -> bool:
    """Record what a batch did: outbox, ledger, log and marks together.

    Args:
        conn: in autocommit.
        settlement: of one batch.

    Returns:
        False if the lease had run out, or somebody else holds a key; then nothing is recorded. Creates that were sent
        stay `sending` in the ledger, and whoever claims the keys next looks before sending.

    Raises:
        psycopg.OperationalError: nothing is recorded; another try may help. Also for the one deadlock that can be,
            see `_mark_late`.
    """
    known = frozenset((m.feed, m.key) for m in settlement.marks)
    async with conn.transaction() as transaction:
        settled = await _settle_outbox(conn, settlement)
        if not settled:
            raise Rollback(transaction)
        orphaned = await ledger.apply(conn, settlement.ledger)
        await _mark_late(conn, settlement, [pair for pair in orphaned if pair not in known])
        await synclog.write(conn, settlement.log)
    return settled


async def _settle_outbox(conn: AsyncConnection[Any], settlement: Settlement) -> bool:
    """Touch the outbox feed by feed, in the one order in which everybody locks its rows."""
    marks: dict[str, list[Mark]] = {}
    for m in settlement.marks:
        marks.setdefault(m.feed, []).append(m)
    for feed in sorted({*marks, settlement.feed}):
        if feed in marks:
            await conn.execute(MARK_SQL, mark_params(marks[feed]))
        if feed == settlement.feed and not await _apply_verdicts(conn, settlement):
            return False
    if marks:
        await conn.execute(NOTIFY_SQL)
    return True


async def _apply_verdicts(conn: AsyncConnection[Any], settlement: Settlement) -> bool:
    verdicts = settlement.verdicts
    params = {
        "feed": settlement.feed,
        "worker": settlement.worker,
        "claimed_at": settlement.claimed_at,
        "claimed_until": settlement.claimed_until,
        "keys": [v.key for v in verdicts],
        "generations": [v.generation for v in verdicts],
        "fates": [v.fate.value for v in verdicts],
        "due_in": [float(v.due_in) for v in verdicts],  # psycopg refuses a list in which 1 stands beside 0.5
        "rests": [float(v.rest) for v in verdicts],
        "attempts": [v.attempts for v in verdicts],
        "reasons": [v.reason for v in verdicts],
        "details": [v.detail for v in verdicts],
        "lanes": [None if v.lane is None else v.lane.value for v in verdicts],
    }
    row = await (await conn.execute(_LOCK_SQL, params)).fetchone()
    if row is None or row[0] != len(verdicts):
        return False
    await conn.execute(_DONE_SQL, params)
    await conn.execute(_OTHER_SQL, params)
    return True


async def _mark_late(conn: AsyncConnection[Any], settlement: Settlement, pairs: Sequence[tuple[str, str]]) -> None:
    """Mark dependents that came into being while their parent's withdrawal was recorded.

    They weren't known when the outbox rows were locked, so these are locked out of order, which may end in a deadlock;
    the next try knows them. In a transaction of their own they would be forgotten when the process ends before it.
    """
    at = settlement.claimed_at
    await mark(conn, [Mark(feed=feed, key=key, lane=Lane.LIVE, dirty_at=at) for feed, key in sorted(pairs)])
