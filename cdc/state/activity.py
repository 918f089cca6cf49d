"""What was delivered lately, in figures: from the sync log, of the last 24 hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection

from cdc.state.synclog import Status


@dataclass(frozen=True, slots=True)
class Interval:
    """Ten minutes of delivery. `begins_at` is a multiple of ten minutes."""

    begins_at: datetime
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """The operations of the last 24 hours.

    Attributes:
        succeeded: that the CRM took.
        failed: that were given up: parked, or discarded by a person.
        retrying: that failed and are tried again.
        failed_hour: of the failed ones, those of the last hour.
        latency_p50_ms: from commit to the CRM's answer, of those of the last hour; None if there were none.
        latency_p95_ms: likewise.
        intervals: those in which anything succeeded or failed, oldest first.
    """

    succeeded: int
    failed: int
    retrying: int
    failed_hour: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    intervals: Sequence[Interval]

    @property
    def success_share(self) -> float | None:
        """Of what was brought to an end, the share that succeeded; None if nothing was."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else None


# Interval by interval, each a short walk of the index. Of a rounded time to group by the planner knows nothing: it
# sorts a busy day's log on disk.
_COUNTS_SQL: LiteralString = """
select i.begins_at, l.status, l.count
from generate_series(
    date_bin('10 minutes', now() - interval '24 hours', timestamptz '2000-01-01 00:00+00'), now(), '10 minutes'
) as i (begins_at)
cross join lateral (
    select status, count(*) from cdc.zoho_sync_log
    where created_at >= i.begins_at and created_at < i.begins_at + interval '10 minutes'
      and created_at > now() - interval '24 hours'
    group by status
) as l
order by 1
"""
_HOUR_SQL: LiteralString = """
select count(*) filter (where status = 'failed'),
       percentile_cont(array[0.5, 0.95]) within group (order by latency_ms)
from cdc.zoho_sync_log where created_at > now() - interval '1 hour'
"""


async def read_activity(conn: AsyncConnection[Any]) -> Activity:
    """Count the sync log; index-only scans."""
    rows = await (await conn.execute(_COUNTS_SQL)).fetchall()
    failed_hour, latencies = await (await conn.execute(_HOUR_SQL)).fetchone() or (0, None)
    total = {status: sum(count for _, s, count in rows if s == status.value) for status in Status}
    by_time: dict[datetime, dict[str, int]] = {}
    for begins_at, status, count in rows:
        by_time.setdefault(begins_at, {})[status] = count
    p50, p95 = latencies or (None, None)
    return Activity(
        succeeded=total[Status.SUCCESS],
        failed=total[Status.FAILED],
        retrying=total[Status.RETRYING],
        failed_hour=failed_hour,
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        intervals=[
            Interval(begins_at, counts.get(Status.SUCCESS, 0), counts.get(Status.FAILED, 0))
            for begins_at, counts in by_time.items()
            if counts.get(Status.SUCCESS) or counts.get(Status.FAILED)
        ],
    )
