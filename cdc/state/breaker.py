"""What the breaker counts: withdrawals and rewrites of the last hour, from the sync log, under one lock.

Workers take turns, so that several at once can't pass a limit between them. What is let through is entered into the
log before it is sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, LiteralString
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from cdc.lsn import Lsn
from cdc.state.synclog import LogLine, Status, write


class Judged(StrEnum):
    """How the breaker counts an operation, as the sync log keeps it."""

    WITHDRAWAL = "withdrawal"
    UNANNOUNCED = "unannounced"  # a rewrite that no change announced: a sweep, a replay or a person marked it
    ANNOUNCED = "announced"  # a rewrite because of a change


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a feed may do in an hour without a person.

    Attributes:
        withdrawals: records that leave.
        rewrites: records rewritten that no change announced; also those that one transaction announced.
        announced: records rewritten because of changes, all transactions together.
    """

    withdrawals: int
    rewrites: int
    announced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An operation that the breaker judges.

    Attributes:
        transaction: commit LSN of the change behind it, if it counts against its transaction.
    """

    record_id: str
    judged: Judged
    transaction: Lsn | None = None


@dataclass(frozen=True, slots=True)
class Recent:
    """Records of the last hour, those that are asked about left out."""

    by_kind: Mapping[Judged, int] = field(default_factory=dict)
    by_transaction: Mapping[Lsn, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What may go.

    Attributes:
        reserved: the log line's id by record id.
        held: record ids that may not go.
    """

    reserved: Mapping[str, UUID]
    held: frozenset[str]


def hold(candidates: Sequence[Candidate], recent: Recent, limits: Limits) -> frozenset[str]:
    """Say which may not go. Those of one kind, or of one transaction, go together or not at all. Pure."""
    held: set[str] = set()
    sizes = Counter(c.transaction for c in candidates if c.transaction is not None)
    for candidate in candidates:
        lsn = candidate.transaction
        if lsn is not None and recent.by_transaction.get(lsn, 0) + sizes[lsn] > limits.rewrites:
            held.add(candidate.record_id)
    for kind, limit in (
        (Judged.WITHDRAWAL, limits.withdrawals),
        (Judged.UNANNOUNCED, limits.rewrites),
        (Judged.ANNOUNCED, limits.announced),
    ):
        of_kind = [c.record_id for c in candidates if c.judged is kind and c.record_id not in held]
        if of_kind and recent.by_kind.get(kind, 0) + len(of_kind) > limit:
            held.update(of_kind)
    return frozenset(held)


# An approval of everything that is held of a kind begins the count anew: what a person has seen is no surprise.
_RECENT_SQL: LiteralString = """
with approved as materialized (
    select judged as kind, max(created_at) as at
    from cdc.zoho_sync_log
    where sync_type = %(feed)s and judged is not null and created_at > now() - interval '1 hour'
      and action = 'approve' and record_id = '*'
    group by judged
)
select l.judged, l.lsn::text, count(distinct l.record_id), grouping(l.lsn) = 1
from cdc.zoho_sync_log l
left join approved a on a.kind = case l.judged when 'withdrawal' then 'withdrawal' else 'rewrite' end
where l.sync_type = %(feed)s and l.judged is not null and l.created_at > now() - interval '1 hour'
  and l.action in ('update', 'withdraw') and l.status <> 'failed'
  and (a.at is null or l.created_at > a.at)
  and l.record_id <> all(%(record_ids)s)
group by grouping sets ((l.judged), (l.judged, l.lsn))
having grouping(l.lsn) = 1 or l.lsn = any(%(lsns)s::pg_lsn[])
"""


async def reserve(
    conn: AsyncConnection[Any],
    feed: str,
    limits: Limits,
    candidates: Sequence[Candidate],
    *,
    approved: Collection[str] = (),
    exempt: Collection[str] = (),
) -> Ruling:
    """Enter operations into the log before they are sent, as far as the breaker allows them.

    Args:
        conn: in autocommit.
        feed: whose records.
        limits: the feed's.
        candidates: what it judges.
        approved: record ids of withdrawals that a person let pass; their lines bear the breaker's name.
        exempt: record ids of withdrawals that it has nothing to say about.
    """
    async with conn.transaction():
        await conn.execute("select pg_advisory_xact_lock(hashtextextended('cdc.breaker ' || %s, 0))", [feed])
        held = hold(candidates, await _recent(conn, feed, candidates), limits) if candidates else frozenset[str]()
        passed = {c.record_id: c for c in candidates if c.record_id not in held}
        lines = [
            *(_line(feed, c.record_id, c.judged, c.transaction) for c in passed.values()),
            *(_line(feed, record_id, None, reason="HELD_BY_BREAKER") for record_id in approved),
            *(_line(feed, record_id, None) for record_id in exempt),
        ]
        await write(conn, lines)
    return Ruling({line.record_id: line.id for line in lines if line.id is not None}, held)


async def _recent(conn: AsyncConnection[Any], feed: str, candidates: Sequence[Candidate]) -> Recent:
    cursor = await conn.execute(
        _RECENT_SQL,
        {
            "feed": feed,
            "record_ids": [c.record_id for c in candidates],
            "lsns": sorted({str(c.transaction) for c in candidates if c.transaction is not None}),
        },
    )
    kinds: Counter[Judged] = Counter()
    transactions: Counter[Lsn] = Counter()
    for judged, lsn, records, is_total in await cursor.fetchall():
        if is_total:
            kinds[Judged(judged)] = records
        elif judged == Judged.ANNOUNCED:
            transactions[Lsn.parse(lsn)] = records
    return Recent(kinds, transactions)


def _line(
    feed: str, record_id: str, judged: Judged | None, lsn: Lsn | None = None, *, reason: str | None = None
) -> LogLine:
    is_update = judged is Judged.UNANNOUNCED or judged is Judged.ANNOUNCED
    return LogLine(
        id=uuid4(),
        user_id=None,
        feed=feed,
        action="update" if is_update else "withdraw",
        status=Status.RETRYING,
        record_id=record_id,
        reason=reason,
        lsn=lsn,
        judged=None if judged is None else judged.value,
    )
