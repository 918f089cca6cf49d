"""What waits in the lane `bulk`, and the bulk jobs of late."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import kwargs_row

from cdc.state.bulk import JobStep
from cdc.state.control import BULK_SCOPE
from cdc.state.outbox import NOTIFY_SQL


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a feed has in the lane `bulk`.

    Attributes:
        due: keys that may be claimed now; not counted further than asked.
        is_marking: a sweep is at it, so there will be more in a moment.
        is_open: there is a job already.
        has_failed: a job failed a short while ago.
        is_paused: the feed, its family or the lane is.
    """

    due: int
    is_marking: bool
    is_open: bool
    has_failed: bool
    is_paused: bool


_BACKLOG_SQL: LiteralString = """
select (
        select count(*) from (
            select from cdc.outbox o
            where o.feed = %(feed)s and o.lane = 'bulk' and o.parked_at is null and o.due_at <= now()
              and (o.claimed_until is null or o.claimed_until <= now())
            limit %(up_to)s) as due),
    not pg_try_advisory_xact_lock_shared(hashtextextended('cdc.marking ' || %(feed)s, 0)),
    exists (select from cdc.bulk_job j where j.feed = %(feed)s and j.ended_at is null),
    exists (select from cdc.bulk_job j where j.feed = %(feed)s and j.state = 'failed'
              and j.ended_at > now() - make_interval(secs => %(retreat)s)),
    exists (select from cdc.control c where c.scope = any(%(scopes)s))
        or exists (select from cdc.pause h where h.scope = any(%(held)s) and h.paused_until > now())
"""


async def backlog(
    conn: AsyncConnection[Any], feed: str, scopes: Collection[str], *, up_to: int, retreat_seconds: float
) -> Backlog:
    """Look at a feed's lane `bulk`.

    Args:
        conn: in autocommit.
        feed: whose.
        scopes: control scopes that stop the feed.
        up_to: where counting ends.
        retreat_seconds: how long a failed job counts.
    """
    params: dict[str, object] = {"feed": feed, "up_to": up_to, "retreat": retreat_seconds, "scopes": list(scopes)}
    params["held"] = [*scopes, BULK_SCOPE]
    row = await (await conn.execute(_BACKLOG_SQL, params)).fetchone()
    return Backlog(0, False, False, False, False) if row is None else Backlog(*row)


@asynccontextmanager
async def marking(conn: AsyncConnection[Any], feed: str) -> AsyncIterator[None]:
    """Announce that many keys of a feed are being marked, for the length of the block.

    Workers that could send them in a bulk job wait until all are there, instead of beginning with the first ones by
    ordinary calls, which cost more. The announcement ends with the connection.
    """
    await conn.execute("select pg_advisory_lock(hashtextextended('cdc.marking ' || %s, 0))", [feed])
    try:
        yield
    finally:
        await conn.execute("select pg_advisory_unlock(hashtextextended('cdc.marking ' || %s, 0))", [feed])
        await conn.execute(NOTIFY_SQL)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """A bulk job as `cdc backfill status` shows it; times are the database's."""

    id: int
    feed: str
    state: JobStep
    records: int
    crm_job_id: str | None
    starts: int
    created: int | None
    updated: int | None
    refused: int | None
    reason: str | None
    detail: str
    held_by: str
    begun_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


def _summary(*, state: str, **columns: Any) -> JobSummary:
    return JobSummary(state=JobStep(state), **columns)


async def recent_jobs(conn: AsyncConnection[Any], limit: int = 10) -> list[JobSummary]:
    """Give the newest jobs, newest first."""
    async with conn.cursor(row_factory=kwargs_row(_summary)) as cursor:
        await cursor.execute(
            "select id, feed, state, records, crm_job_id, starts, created, updated, refused, reason, detail, held_by,"
            " begun_at, started_at, ended_at from cdc.bulk_job order by id desc limit %s",
            [limit],
        )
        return await cursor.fetchall()
