"""What alerts and metrics look at beside the status: what changes slowly, or costs more to find out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from cdc.watch.status import Status

VOLUME_DAYS: Final = 14
LEAST_DAYS: Final = 7
"""Days of delivery from which a mean is worth anything."""
LEAST_VOLUME: Final = 50.0
"""Operations a day below which there is no mean worth comparing with."""


@dataclass(frozen=True, slots=True)
class Volume:
    """Operations that the CRM took.

    Attributes:
        day: in the last 24 hours.
        mean: a day, in the fourteen days before.
        days: how many of those there was anything on record.
    """

    day: int
    mean: float
    days: int

    @property
    def deviation(self) -> float | None:
        """How many times more or less than usual; infinite for nothing at all. None if nobody can tell yet."""
        if self.days < LEAST_DAYS or self.mean < LEAST_VOLUME:
            return None
        return float("inf") if not self.day else max(self.day / self.mean, self.mean / self.day)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What the last complete comparison of source, ledger and CRM found."""

    at: datetime
    compared: int
    differing: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """See the module.

    Attributes:
        volume: None if it wasn't asked.
        reconciled: None if there was no complete comparison yet.
        free: replication `slots` and `senders` that the source has left; empty if it can't be asked.
        key_fits: our key opens the stored tokens; None if there are none, or nobody asked.
        alerts: open ones, by severity.
    """

    volume: Volume | None = None
    reconciled: Reconciled | None = None
    free: Mapping[str, int] = field(default_factory=dict)
    key_fits: bool | None = None
    alerts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """All that rules and metrics are made of."""

    status: Status
    outlook: Outlook


_VOLUME: LiteralString = """
select coalesce(sum(operations) filter (where age = 0), 0)::bigint,
       coalesce(sum(operations) filter (where age > 0), 0)::bigint, count(*) filter (where age > 0)
from (
    select floor(extract(epoch from now() - created_at) / 86400)::integer as age, count(*) as operations
    from cdc.zoho_sync_log
    where status = 'success' and created_at > now() - make_interval(days => %s)
    group by 1
) as of_days
"""


async def read_volume(state: AsyncConnection[Any]) -> Volume:
    """Count the operations of fifteen days: an index-only scan, and not one for every few seconds."""
    row = await (await state.execute(_VOLUME, [VOLUME_DAYS + 1])).fetchone()
    day, before, days = row or (0, 0, 0)
    return Volume(day, before / VOLUME_DAYS, days)


_RECONCILED: LiteralString = """
select ended_at, compared, differing,
       (select coalesce(sum((kinds ->> 'duplicate')::bigint), 0)::bigint
        from jsonb_each(counts) as of_feed (feed, kinds))
from cdc.reconcile_run where slot = %s and kind <> 'apply' and complete order by id desc limit 1
"""


async def read_reconciled(state: AsyncConnection[Any], slot: str) -> Reconciled | None:
    """Give what the last complete comparison found."""
    row = await (await state.execute(_RECONCILED, [slot])).fetchone()
    return None if row is None else Reconciled(*row)


_FREE: LiteralString = """
select current_setting('max_replication_slots')::integer - (select count(*) from pg_replication_slots),
       current_setting('max_wal_senders')::integer - (select count(*) from pg_stat_replication)
"""


async def read_free(source: AsyncConnection[Any]) -> dict[str, int]:
    """Say how many slots and WAL senders the source has left."""
    row = await (await source.execute(_FREE)).fetchone()
    return {} if row is None else {"slots": row[0], "senders": row[1]}


_OPEN: LiteralString = """
select severity, count(*) from cdc.alert where pipeline = %s and resolved_at is null group by 1
"""


async def read_open(state: AsyncConnection[Any], pipeline: str) -> dict[str, int]:
    """Count the open alerts by severity."""
    return dict(await (await state.execute(_OPEN, [pipeline])).fetchall())
