"""What was done lately, operation by operation: the sync log as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

SEARCHED: Final = 20_000
"""So many of the newest operations are looked through for a feed, so that a rare one doesn't cost a walk of the log."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A line of the sync log: codes and ids, no values. `message` holds codes and field names, or a person's words."""

    at: datetime
    feed: str
    action: str
    status: str
    record_id: str
    crm_id: str | None
    reason: str | None
    message: str | None
    attempts: int
    latency_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which operations; None leaves a criterion open."""

    feed: str | None = None
    status: str | None = None
    record_id: str | None = None


_COLUMNS: LiteralString = (
    "created_at as at, sync_type as feed, action, status, record_id, zoho_record_id as crm_id, reason,"
    " error_message as message, attempts, latency_ms"
)
_NEWEST: LiteralString = "order by created_at desc, id"
# The status keeps to the partial index of what didn't succeed, a record to its own: both are short walks.
_SQL: LiteralString = f"""
select {_COLUMNS} from cdc.zoho_sync_log
where record_id <> '*' and (%(status)s::text is null or status = %(status)s)
  and (%(record_id)s::text is null or record_id = %(record_id)s)
{_NEWEST} limit %(limit)s
"""
_FEED_SQL: LiteralString = f"""
select at, feed, action, status, record_id, crm_id, reason, message, attempts, latency_ms
from (
    select {_COLUMNS}, id from cdc.zoho_sync_log
    where record_id <> '*' and (%(status)s::text is null or status = %(status)s)
      and (%(record_id)s::text is null or record_id = %(record_id)s)
    {_NEWEST} limit {SEARCHED}
) as newest
where feed = %(feed)s order by at desc, id limit %(limit)s
"""
_FAILED_SQL: LiteralString = f"""
select {_COLUMNS} from cdc.zoho_sync_log
where record_id <> '*' and status <> 'success' and status = %(status)s
  and (%(record_id)s::text is null or record_id = %(record_id)s)
{_NEWEST} limit %(limit)s
"""


async def operations(conn: AsyncConnection[Any], wanted: Filter, *, limit: int = 50) -> Sequence[Operation]:
    """List operations on single records, the newest first."""
    statement = _SQL
    if wanted.feed is not None:
        statement = _FEED_SQL
    elif wanted.status is not None and wanted.status != "success":
        statement = _FAILED_SQL
    params = {"feed": wanted.feed, "status": wanted.status, "record_id": wanted.record_id, "limit": limit}
    async with conn.cursor(row_factory=class_row(Operation)) as cursor:
        await cursor.execute(statement, params)
        return await cursor.fetchall()
