"""The audit trail: one row for each operation, with what became of it. Codes and ids, never values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, LiteralString
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from cdc.lsn import Lsn


class Status(StrEnum):
    """What became of an operation."""

    SUCCESS = "success"
    FAILED = "failed"
    RETRYING = "retrying"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One operation.

    Attributes:
        id: that of a reserved withdrawal, to complete its line; None for a new one.
        user_id: the contact's record id.
        reason: a name of `sinks.reasons`.
        message: codes and field names.
        attempts: failed attempts, this one included.
        dirty_at: commit time of the oldest change that it delivers; the latency counts from there.
    """

    id: UUID | None = None
    user_id: str | None
    feed: str
    action: str
    status: Status
    record_id: str
    crm_id: str | None = None
    reason: str | None = None
    message: str | None = None
    attempts: int = 0
    lsn: Lsn | None = None
    dirty_at: datetime | None = None


_WRITE_SQL: LiteralString = """
insert into cdc.zoho_sync_log as l
    (id, user_id, sync_type, action, status, record_id, zoho_record_id, reason, error_message, attempts, lsn,
     latency_ms, synced_at)
select m.id, m.user_id, m.feed, m.action, m.status, m.record_id, m.crm_id, m.reason, m.message, m.attempts, m.lsn,
       case when m.status = 'success' then
           least(2147483647, greatest(0, extract(epoch from now() - m.dirty_at) * 1000))::integer end,
       case when m.status = 'success' then now() end
from unnest(
    %(ids)s::uuid[], %(user_ids)s::text[], %(feeds)s::text[], %(actions)s::text[], %(statuses)s::text[],
    %(record_ids)s::text[], %(crm_ids)s::text[], %(reasons)s::text[], %(messages)s::text[], %(attempts)s::integer[],
    %(lsns)s::pg_lsn[], %(dirty_at)s::timestamptz[]
) as m (id, user_id, feed, action, status, record_id, crm_id, reason, message, attempts, lsn, dirty_at)
on conflict (id) do update set
    user_id = coalesce(l.user_id, excluded.user_id), status = excluded.status,
    zoho_record_id = coalesce(excluded.zoho_record_id, l.zoho_record_id),
    reason = coalesce(excluded.reason, l.reason), error_message = excluded.error_message,
    attempts = excluded.attempts, latency_ms = excluded.latency_ms, synced_at = excluded.synced_at
"""


async def write(conn: AsyncConnection[Any], lines: Sequence[LogLine]) -> None:
    """Add lines, or complete those of reserved withdrawals, in the caller's transaction."""
    if not lines:
        return
    await conn.execute(
        _WRITE_SQL,
        {
            "ids": [line.id or uuid4() for line in lines],
            "user_ids": [line.user_id for line in lines],
            "feeds": [line.feed for line in lines],
            "actions": [line.action for line in lines],
            "statuses": [line.status.value for line in lines],
            "record_ids": [line.record_id for line in lines],
            "crm_ids": [line.crm_id for line in lines],
            "reasons": [line.reason for line in lines],
            "messages": [line.message for line in lines],
            "attempts": [line.attempts for line in lines],
            "lsns": [None if line.lsn is None else str(line.lsn) for line in lines],
            "dirty_at": [line.dirty_at for line in lines],
        },
    )


_RECENT_SQL: LiteralString = """
select count(distinct record_id)
from cdc.zoho_sync_log
where created_at > now() - interval '1 hour' and sync_type = %(feed)s and action = 'withdraw'
  and status in ('success', 'retrying') and reason is distinct from 'HELD_BY_BREAKER'
  and record_id <> all(%(record_ids)s)
"""


async def reserve_withdrawals(
    conn: AsyncConnection[Any],
    feed: str,
    limit: int,
    wanted: Collection[str],
    *,
    approved: Collection[str] = (),
    exempt: Collection[str] = (),
) -> Mapping[str, UUID] | None:
    """Enter withdrawals into the log before they are sent, if the breaker allows all of them.

    Workers take turns, so that several at once can't withdraw more than the limit between them. Those that a person
    approved pass, and aren't counted against the others; their lines bear the breaker's name.

    Args:
        conn: in autocommit.
        feed: whose records.
        limit: most withdrawals in an hour.
        wanted: record ids that the breaker judges.
        approved: record ids that a person let pass.
        exempt: record ids that it has nothing to say about; they are entered and that is all.

    Returns:
        The log line's id by record id; None if `wanted` would pass the limit. Then nothing is entered.
    """
    async with conn.transaction():
        await conn.execute("select pg_advisory_xact_lock(hashtextextended('cdc.withdraw ' || %s, 0))", [feed])
        if wanted:
            cursor = await conn.execute(_RECENT_SQL, {"feed": feed, "record_ids": list(wanted)})
            row = await cursor.fetchone()
            if row is None or row[0] + len(wanted) > limit:
                return None
        ids = {record_id: uuid4() for record_id in (*wanted, *approved, *exempt)}
        held = frozenset(approved)
        await write(
            conn,
            [
                LogLine(
                    id=line_id,
                    user_id=None,
                    feed=feed,
                    action="withdraw",
                    status=Status.RETRYING,
                    record_id=record_id,
                    reason="HELD_BY_BREAKER" if record_id in held else None,
                )
                for record_id, line_id in ids.items()
            ],
        )
    return ids
