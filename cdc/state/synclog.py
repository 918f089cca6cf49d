"""The audit trail: one row for each operation, with what became of it. Codes and ids, never values."""

from __future__ import annotations

from collections.abc import Sequence
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
        id: that of a reserved operation, to complete its line; None for a new one.
        user_id: the contact's record id.
        reason: a name of `sinks.reasons`.
        message: codes and field names.
        attempts: failed attempts, this one included.
        dirty_at: commit time of the oldest change that it delivers; the latency counts from there.
        judged: how the breaker counts it, see `cdc.state.breaker`; None if it doesn't.
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
    judged: str | None = None


_WRITE_SQL: LiteralString = """
insert into cdc.zoho_sync_log as l
    (id, user_id, sync_type, action, status, record_id, zoho_record_id, reason, error_message, attempts, lsn,
     judged, latency_ms, synced_at)
select m.id, m.user_id, m.feed, m.action, m.status, m.record_id, m.crm_id, m.reason, m.message, m.attempts, m.lsn,
       m.judged,
       case when m.status = 'success' then
           least(2147483647, greatest(0, extract(epoch from now() - m.dirty_at) * 1000))::integer end,
       case when m.status = 'success' then now() end
from unnest(
    %(ids)s::uuid[], %(user_ids)s::text[], %(feeds)s::text[], %(actions)s::text[], %(statuses)s::text[],
    %(record_ids)s::text[], %(crm_ids)s::text[], %(reasons)s::text[], %(messages)s::text[], %(attempts)s::integer[],
    %(lsns)s::pg_lsn[], %(dirty_at)s::timestamptz[], %(judged)s::text[]
) as m (id, user_id, feed, action, status, record_id, crm_id, reason, message, attempts, lsn, dirty_at, judged)
on conflict (id) do update set
    user_id = coalesce(l.user_id, excluded.user_id), status = excluded.status,
    zoho_record_id = coalesce(excluded.zoho_record_id, l.zoho_record_id),
    reason = coalesce(excluded.reason, l.reason), error_message = excluded.error_message,
    attempts = excluded.attempts, latency_ms = excluded.latency_ms, synced_at = excluded.synced_at
"""


async def write(conn: AsyncConnection[Any], lines: Sequence[LogLine]) -> None:
    """Add lines, or complete those of reserved operations, in the caller's transaction."""
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
            "judged": [line.judged for line in lines],
        },
    )


@dataclass(frozen=True, slots=True)
class Logged:
    """A line of the log, as it is shown: codes and ids, and no person's words."""

    at: datetime
    feed: str
    action: str
    status: str
    key: str
    crm_id: str | None
    reason: str | None
    attempts: int
    latency_ms: int | None


async def latest(conn: AsyncConnection[Any], *, limit: int = 50) -> list[Logged]:
    """List the newest operations on single records, the latest first."""
    cursor = await conn.execute(
        "select created_at, sync_type, action, status, record_id, zoho_record_id, reason, attempts, latency_ms"
        " from cdc.zoho_sync_log where record_id <> '*' order by created_at desc limit %s",
        [limit],
    )
    return [Logged(*row) for row in await cursor.fetchall()]
