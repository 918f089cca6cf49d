"""Bulk jobs: many keys that are claimed together, and how far their one file has come.

The keys of a job are claimed under the job's own name until its end, however many workers tend to it one after the
other. So nothing newer of a key is sent while the job may still write something older, and a job changes hands by
one row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, LiteralString

from psycopg import AsyncConnection, Rollback
from psycopg.rows import kwargs_row

from cdc.state.outbox import NOTIFY_SQL


class JobStep(StrEnum):
    """How far a bulk job has come."""

    PACKING = "packing"  # its file is being made; nothing has left
    UPLOADED = "uploaded"  # the file lies with the sink; nothing is paid for
    STARTING = "starting"  # the sink was asked to start it, and the answer isn't recorded
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # its keys go by ordinary calls for a while
    DROPPED = "dropped"  # never started


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A bulk job as it stands in the table.

    Attributes:
        columns: view columns in the file, in their order.
        records: in the file.
        file_id: the sink's id of the file.
        crm_job_id: the sink's id of the job.
        starts: how often the sink was asked to start it.
        claimed_until: end of the claims of its keys.
    """

    id: int
    feed: str
    state: JobStep
    columns: list[str]
    records: int
    file_id: str | None
    crm_job_id: str | None
    starts: int
    begun_at: datetime
    claimed_until: datetime

    @property
    def holder(self) -> str:
        """Who holds its keys in the outbox."""
        return f"bulk job {self.id}"


def _job(*, state: str, **columns: Any) -> Job:
    return Job(state=JobStep(state), **columns)


_COLUMNS: LiteralString = "id, feed, state, columns, records, file_id, crm_job_id, starts, begun_at, claimed_until"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What a new job is to hold.

    Attributes:
        worker: who will tend to it.
        limit: most keys.
        at_least: open none if fewer are due.
        lease_seconds: of the worker's hold on the job.
        claim_seconds: of the job's hold on its keys.
    """

    feed: str
    worker: str
    limit: int
    at_least: int
    lease_seconds: float
    claim_seconds: float


_OPEN_SQL: LiteralString = f"""
insert into cdc.bulk_job (feed, state, held_by, held_until, claimed_until)
values (%(feed)s, 'packing', %(worker)s, now() + make_interval(secs => %(lease)s),
        now() + make_interval(secs => %(claim)s))
on conflict (feed) where ended_at is null do nothing
returning {_COLUMNS}
"""

_TAKE_SQL: LiteralString = """
with due as materialized (
    select o.key
    from cdc.outbox o
    where o.feed = %(feed)s and o.lane = 'bulk' and o.parked_at is null and o.due_at <= now()
      and (o.claimed_until is null or o.claimed_until <= now())
    order by o.due_at
    limit %(limit)s
    for update skip locked
)
update cdc.outbox o
set claimed_by = %(holder)s, claimed_until = %(until)s, due_at = %(until)s
from due where o.feed = %(feed)s and o.key = due.key
"""


async def open_job(conn: AsyncConnection[Any], request: JobRequest) -> Job | None:
    """Claim due keys for a new job.

    Args:
        conn: in autocommit.
        request: what to take.

    Returns:
        None if too few are due, or there is a job already.
    """
    params = {
        "feed": request.feed,
        "worker": request.worker,
        "lease": request.lease_seconds,
        "claim": request.claim_seconds,
        "limit": request.limit,
    }
    opened: Job | None = None
    async with conn.transaction() as transaction, conn.cursor(row_factory=kwargs_row(_job)) as cursor:
        job = await (await cursor.execute(_OPEN_SQL, params)).fetchone()
        if job is None:
            raise Rollback(transaction)
        taken = await conn.execute(_TAKE_SQL, {**params, "holder": job.holder, "until": job.claimed_until})
        opened = job if taken.rowcount >= request.at_least else None
        if opened is None:
            raise Rollback(transaction)
    return opened


async def adopt(conn: AsyncConnection[Any], feed: str, worker: str, lease_seconds: float) -> Job | None:
    """Take over a job that nobody tends to."""
    async with conn.cursor(row_factory=kwargs_row(_job)) as cursor:
        await cursor.execute(
            f"update cdc.bulk_job set held_by = %s, held_until = now() + make_interval(secs => %s)"
            f" where feed = %s and ended_at is null and held_until <= now() returning {_COLUMNS}",
            [worker, lease_seconds, feed],
        )
        return await cursor.fetchone()


async def extend(conn: AsyncConnection[Any], job: Job, worker: str, lease_seconds: float) -> float | None:
    """Go on tending to a job; 0 seconds let go of it.

    Returns:
        Seconds until the claims of its keys end; None if somebody else has it.
    """
    cursor = await conn.execute(
        "update cdc.bulk_job set held_until = now() + make_interval(secs => %s)"
        " where id = %s and held_by = %s and ended_at is null and held_until > now()"
        " returning extract(epoch from claimed_until - now())::float8",
        [lease_seconds, job.id, worker],
    )
    row = await cursor.fetchone()
    return None if row is None else float(row[0])


_ADVANCE_SQL: LiteralString = f"""
update cdc.bulk_job set
    state = %(state)s,
    columns = coalesce(%(columns)s, columns), records = coalesce(%(records)s, records),
    file_id = coalesce(%(file_id)s, file_id), crm_job_id = coalesce(%(crm_job_id)s, crm_job_id),
    starts = starts + (%(state)s = 'starting')::integer,
    started_at = case when %(state)s = 'running' then now() else started_at end
where id = %(id)s and held_by = %(worker)s and ended_at is null and held_until > now()
returning {_COLUMNS}
"""


async def advance(
    conn: AsyncConnection[Any],
    job: Job,
    worker: str,
    state: JobStep,
    *,
    columns: Sequence[str] | None = None,
    records: int | None = None,
    file_id: str | None = None,
    crm_job_id: str | None = None,
) -> Job | None:
    """Write down that a job has come a step further; what isn't given stays.

    Returns:
        None if somebody else has it; then this worker must do nothing more for it.
    """
    async with conn.cursor(row_factory=kwargs_row(_job)) as cursor:
        await cursor.execute(
            _ADVANCE_SQL,
            {
                "id": job.id,
                "worker": worker,
                "state": state.value,
                "columns": None if columns is None else list(columns),
                "records": records,
                "file_id": file_id,
                "crm_job_id": crm_job_id,
            },
        )
        return await cursor.fetchone()


async def release(conn: AsyncConnection[Any], job: Job, keys: Collection[str] | None = None) -> int:
    """Give claimed keys of a job back as they were; all that it still holds if none are named."""
    cursor = await conn.execute(
        """
        update cdc.outbox set claimed_by = null, claimed_until = null, due_at = now()
        where (feed, key) in (
            select o.feed, o.key from cdc.outbox o
            where o.feed = %(feed)s and o.claimed_by = %(holder)s
              and (%(keys)s::text[] is null or o.key = any(%(keys)s))
            order by o.feed collate "C", o.key collate "C" for update)
        """,
        {"feed": job.feed, "holder": job.holder, "keys": None if keys is None else list(keys)},
    )
    return cursor.rowcount


_END_SQL: LiteralString = """
update cdc.bulk_job set
    state = %s, ended_at = now(), created = %s, updated = %s, refused = %s, reason = %s, detail = %s
where id = %s and held_by = %s and ended_at is null and held_until > now()
"""

_UNSENT_SQL: LiteralString = """
delete from cdc.ledger g using cdc.bulk_item i
where i.job_id = %s and i.action = 'create' and not i.uncertain
  and g.feed = %s and g.record_id = i.record_id and g.state = 'sending'
"""


async def end(
    conn: AsyncConnection[Any],
    job: Job,
    worker: str,
    state: JobStep,
    *,
    totals: tuple[int, int, int] | None = None,
    reason: str | None = None,
    detail: str = "",
) -> bool:
    """End a job: its keys that are not settled are due again, its items go. One transaction.

    Of a job that never started, creates are no longer on record as sent; nobody has to look for them.

    Args:
        conn: in autocommit.
        job: which.
        worker: who tends to it.
        state: DONE, FAILED or DROPPED.
        totals: records created, updated and refused, where known.
        reason: a name of `sinks.reasons`.
        detail: codes, never values.

    Returns:
        False if somebody else has it.
    """
    created, updated, refused = totals or (None, None, None)
    told = [state.value, created, updated, refused, reason, detail, job.id, worker]
    async with conn.transaction():
        if not (await conn.execute(_END_SQL, told)).rowcount:
            return False
        await release(conn, job)
        if state is JobStep.DROPPED:
            await conn.execute(_UNSENT_SQL, [job.id, job.feed])
        await conn.execute("delete from cdc.bulk_item where job_id = %s", [job.id])
        await conn.execute(NOTIFY_SQL)
    return True
