"""Which scheduled jobs ran, for which moment of their plan, and who runs one now.

A run is a row. One without an end is a claim, for as long as its lease is renewed; at most one of a name can stand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

Outcome = Literal["done", "failed", "died", "stopped", "skipped"]
"""`died`: its process went away. `stopped`: its process was told to. `skipped`: the first moment of a new job."""

LONGEST_RETREAT_SECONDS: Final = 3_600
_RETREAT_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job; without an end while it is under way."""

    id: int
    name: str
    due_at: datetime
    actor: str
    started_at: datetime
    leased_until: datetime
    ended_at: datetime | None
    outcome: Outcome | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A process's wish to run a job.

    Attributes:
        due_at: the moment of the plan that it is for.
        actor: the process.
        lease_seconds: how long it may be silent.
        tries: how often it may fail or die for one moment of the plan.
        waits_at_first: a job that was never seen before is not due for a moment that has passed already.
        forced: a person wants it now, whatever the plan says.
    """

    name: str
    due_at: datetime
    actor: str
    lease_seconds: float
    tries: int = 5
    waits_at_first: bool = False
    forced: bool = False


_BURY_SQL: LiteralString = """
update cdc.job_run set ended_at = leased_until, outcome = 'died'
where name = %(name)s and ended_at is null and leased_until <= %(now)s
"""

_CLAIM_SQL: LiteralString = f"""
insert into cdc.job_run (name, due_at, actor, started_at, leased_until, ended_at, outcome)
select %(name)s, %(due)s, %(actor)s, %(now)s, %(until)s,
       case when seen.is_new then %(now)s::timestamptz end, case when seen.is_new then 'skipped' end
from (
    select count(*) filter (where outcome in ('failed', 'died')) as failures,
           max(ended_at) filter (where outcome = 'failed') as failed_at,
           count(*) filter (where outcome in ('done', 'skipped')) > 0 as is_satisfied
    from cdc.job_run where name = %(name)s and due_at >= %(due)s
) as past,
(
    select %(waits)s and not %(forced)s and not exists (select from cdc.job_run where name = %(name)s) as is_new
) as seen
where not exists (select from cdc.job_run where name = %(name)s and ended_at is null)
  and (%(forced)s or not past.is_satisfied and past.failures < %(tries)s and (past.failed_at is null
       or past.failed_at + make_interval(secs =>
              least({_RETREAT_SECONDS} * 2.0 ^ (past.failures - 1), {LONGEST_RETREAT_SECONDS})) <= %(now)s))
returning id, outcome is null
"""


async def claim(conn: AsyncConnection[Any], request: Request, now: datetime) -> int | None:
    """Begin a run, if it is due and nobody is at it.

    Args:
        conn: to the state, in autocommit.
        request: who wants to run what.
        now: all processes must go by the same clock.

    Returns:
        The run's id; None if there is nothing to do.
    """
    params = {
        "name": request.name,
        "due": request.due_at,
        "actor": request.actor,
        "now": now,
        "until": now + timedelta(seconds=request.lease_seconds),
        "tries": request.tries,
        "waits": request.waits_at_first,
        "forced": request.forced,
    }
    async with conn.transaction():
        await conn.execute("select pg_advisory_xact_lock(hashtextextended('cdc.job ' || %(name)s, 0))", params)
        await conn.execute(_BURY_SQL, params)
        row = await (await conn.execute(_CLAIM_SQL, params)).fetchone()
    return int(row[0]) if row is not None and row[1] else None


async def renew(conn: AsyncConnection[Any], run_id: int, now: datetime, lease_seconds: float) -> bool:
    """Say that a run is still under way. Returns False if somebody has taken it over."""
    cursor = await conn.execute(
        "update cdc.job_run set leased_until = %s where id = %s and ended_at is null",
        [now + timedelta(seconds=lease_seconds), run_id],
    )
    return cursor.rowcount > 0


async def end(
    conn: AsyncConnection[Any], run_id: int, now: datetime, outcome: Outcome, detail: Mapping[str, object]
) -> bool:
    """Note how a run ended. Returns False if it had been taken over."""
    cursor = await conn.execute(
        "update cdc.job_run set ended_at = %s, outcome = %s, detail = %s::jsonb where id = %s and ended_at is null",
        [now, outcome, json.dumps(detail, default=str), run_id],
    )
    return cursor.rowcount > 0


async def newest(conn: AsyncConnection[Any]) -> dict[str, Run]:
    """Give the newest run of each job that did anything, by name."""
    cursor = conn.cursor(row_factory=class_row(Run))
    await cursor.execute(
        "select distinct on (name) id, name, due_at, actor, started_at, leased_until, ended_at, outcome, detail"
        " from cdc.job_run where outcome is distinct from 'skipped' order by name, id desc"
    )
    return {run.name: run for run in await cursor.fetchall()}


async def forget(conn: AsyncConnection[Any], days: float) -> None:
    """Remove old runs, but never a job's newest: from it follows what is due."""
    await conn.execute(
        "delete from cdc.job_run r where ended_at < now() - make_interval(secs => %s)"
        " and exists (select from cdc.job_run n where n.name = r.name and n.id > r.id)",
        [days * 86_400],
    )


async def database_time(conn: AsyncConnection[Any]) -> datetime:
    """Give the clock that all processes share."""
    row = await (await conn.execute("select clock_timestamp()")).fetchone()
    assert row is not None  # noqa: S101 - a query without FROM has a row
    found: datetime = row[0]
    return found
