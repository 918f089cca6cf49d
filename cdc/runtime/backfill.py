"""What a backfill would send, which way, and what that costs; and how one that is under way stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import ceil
from types import MappingProxyType
from typing import Any, Final

from psycopg import AsyncConnection

from cdc.delivery.budget import credits_left
from cdc.delivery.pricing import Split, Tariff, pays_from, split
from cdc.repair.sweep import Sweep, sweep_feed
from cdc.routing.feeds import Lane, Profile
from cdc.runtime.limits import credit_limit
from cdc.runtime.pipeline import CREDIT_RESERVE
from cdc.settings import Settings
from cdc.state.backlog import JobSummary, recent_jobs
from cdc.state.control import BULK_SCOPE, pauses
from sinks.zoho.bulk import MAX_ROWS
from sinks.zoho.connect import BULK_SINKS
from sinks.zoho.limits import Kind, price, upserts_price

_RECORDS_A_SECOND: Final = 100.0
"""Assumed for ordinary calls: two at a time of a hundred records, two seconds each."""
_JOB_SECONDS: Final = 600.0
"""Assumed for a job that no earlier one tells of; Zoho publishes no figure."""
_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEstimate:
    """What one feed has to send.

    Attributes:
        records: to be made or changed.
        gone: to be withdrawn, a hundred a call.
        split: how they go, and what it costs.
    """

    feed: str
    compared: int
    records: int
    gone: int
    split: Split

    @property
    def way(self) -> str:
        """The way in words."""
        jobs = len(self.split.jobs)
        parts = [f"{jobs} Bulk Write job{'s' if jobs > 1 else ''}"] if jobs else []
        if self.split.singly:
            parts.append(f"{self.split.singly} by calls")
        return ", ".join(parts) or "nothing to send"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a backfill would take.

    Attributes:
        credits_left: that the lane `bulk` may spend now.
        seconds: roughly, waits for credits included.
    """

    feeds: Sequence[FeedEstimate]
    credits_left: int
    seconds: float

    @property
    def records(self) -> int:
        """Records to send or withdraw."""
        return sum(feed.records + feed.gone for feed in self.feeds)

    @property
    def credits(self) -> int:
        """Price of all of it."""
        return sum(feed.split.credits for feed in self.feeds)

    @property
    def credits_singly(self) -> int:
        """What ordinary calls alone would cost."""
        return sum(feed.split.credits_singly for feed in self.feeds)

    def as_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "records": self.records,
            "credits": self.credits,
            "credits_by_ordinary_calls": self.credits_singly,
            "credits_left": self.credits_left,
            "seconds": round(self.seconds),
            "feeds": {
                feed.feed: {
                    "compared": feed.compared,
                    "records": feed.records,
                    "gone": feed.gone,
                    "jobs": list(feed.split.jobs),
                    "by_ordinary_calls": feed.split.singly,
                    "credits": feed.split.credits,
                    "credits_by_ordinary_calls": feed.split.credits_singly,
                }
                for feed in self.feeds
            },
        }


def tariff_of(sink: str, settings: Settings) -> Tariff:
    """Give the prices of a sink, bulk jobs included if it has any."""
    if sink not in BULK_SINKS:
        return Tariff(records_credits=upserts_price)
    rows = min(MAX_ROWS, settings.cdc_bulk_rows)
    return Tariff(records_credits=upserts_price, job_credits=price(Kind.BULK_WRITE), job_rows=rows)


async def estimate(
    source: AsyncConnection[Any],
    state: AsyncConnection[Any],
    profile: Profile,
    settings: Settings,
    hash_key: bytes,
    feeds: Sequence[str],
) -> Estimate:
    """Compare views and ledger inside Postgres and price what differs. Marks and sends nothing."""
    sweeps = [await sweep_feed(source, state, profile.feeds[name], hash_key, dry_run=True) for name in feeds]
    limit = credit_limit(settings)
    reserve = int(limit * CREDIT_RESERVE)
    found = [_price(sweep, profile, settings, credits_left(Lane.BULK, 0, limit, reserve)) for sweep in sweeps]
    used = await _credits_used(state)
    left = credits_left(Lane.BULK, used, limit, reserve)
    seconds = _work_seconds(found, await _job_seconds(state))
    missing = sum(feed.split.credits for feed in found) - left
    if missing > 0:  # as much comes back in a day as the lane may spend in one
        seconds += _DAY * ceil(missing / max(1.0, credits_left(Lane.BULK, 0, limit, reserve)))
    return Estimate(feeds=found, credits_left=int(left), seconds=seconds)


def _price(sweep: Sweep, profile: Profile, settings: Settings, share: float) -> FeedEstimate:
    tariff = tariff_of(profile.feeds[sweep.feed].sink, settings)
    job_from = pays_from(tariff) if settings.cdc_bulk_from is None else settings.cdc_bulk_from or None
    if tariff.job_credits is None or tariff.job_credits > share:
        job_from = None
    records = sweep.missing + sweep.changed
    return FeedEstimate(
        feed=sweep.feed,
        compared=sweep.compared,
        records=records,
        gone=sweep.gone,
        split=split(records, tariff, job_from=job_from),
    )


def _work_seconds(feeds: Sequence[FeedEstimate], job_seconds: float) -> float:
    """Feeds go side by side; the jobs of one go one after the other."""
    return max(
        (len(f.split.jobs) * job_seconds + (f.split.singly + f.gone) / _RECORDS_A_SECOND for f in feeds), default=0.0
    )


async def _credits_used(state: AsyncConnection[Any]) -> int:
    cursor = await state.execute(
        "select coalesce(sum(credits), 0)::bigint from cdc.credit_usage"
        " where bucket > now() - interval '24 hours 15 minutes'"
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def _job_seconds(state: AsyncConnection[Any]) -> float:
    """Say how long a job takes: what the last ones took."""
    cursor = await state.execute(
        "select percentile_cont(0.5) within group (order by extract(epoch from ended_at - begun_at))"
        " from (select * from cdc.bulk_job where state = 'done' order by id desc limit 10) as j"
    )
    row = await cursor.fetchone()
    return _JOB_SECONDS if row is None or row[0] is None else float(row[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Keys of one feed in the lane `bulk`."""

    waiting: int = 0
    in_flight: int = 0
    retrying: int = 0
    parked: int = 0

    @property
    def left(self) -> int:
        """Keys that are still to be delivered."""
        return self.waiting + self.in_flight + self.retrying


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillStatus:
    """How a backfill stands.

    Attributes:
        feeds: by name; those with nothing in the lane are left out.
        jobs: the newest bulk jobs, newest first.
        is_paused: the lane `bulk` is, by hand.
        pauses: reasons for which a feed or the whole CRM is paused, by scope.
        workers: processes that were seen lately.
    """

    at: datetime
    feeds: Mapping[str, Waiting]
    jobs: Sequence[JobSummary]
    is_paused: bool
    pauses: Mapping[str, str]
    workers: int

    @property
    def left(self) -> int:
        """Keys that are still to be delivered."""
        return sum(feed.left for feed in self.feeds.values())

    @property
    def parked(self) -> int:
        """Keys that failed for good."""
        return sum(feed.parked for feed in self.feeds.values())

    def as_json(self) -> dict[str, Any]:
        """Give plain values."""
        jobs = [{k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(j).items()} for j in self.jobs]
        return {
            "at": self.at.isoformat(),
            "paused": self.is_paused,
            "pauses": dict(self.pauses),
            "left": self.left,
            "parked": self.parked,
            "workers": self.workers,
            "feeds": {name: {**asdict(feed), "left": feed.left} for name, feed in self.feeds.items()},
            "jobs": jobs,
        }


_WAITING_SQL: Final = """
select feed,
       count(*) filter (where parked_at is null and reason is null and coalesce(claimed_until <= now(), true)),
       count(*) filter (where parked_at is null and claimed_until > now()),
       count(*) filter (where parked_at is null and reason is not null and coalesce(claimed_until <= now(), true)),
       count(*) filter (where parked_at is not null)
from cdc.outbox where lane = 'bulk' group by feed order by feed
"""


async def read_backfill(state: AsyncConnection[Any]) -> BackfillStatus:
    """Read how a backfill stands; a few small queries and one count of the outbox."""
    rows = await (await state.execute(_WAITING_SQL)).fetchall()
    scopes = {pause.scope: pause.reason for pause in await pauses(state)}
    workers = await (
        await state.execute("select count(*) from cdc.worker where seen_at > now() - interval '30 seconds'")
    ).fetchone()
    feeds = {
        name: Waiting(waiting=waiting, in_flight=in_flight, retrying=retrying, parked=parked)
        for name, waiting, in_flight, retrying, parked in rows
    }
    return BackfillStatus(
        at=datetime.now(UTC),
        feeds=MappingProxyType(feeds),
        jobs=await recent_jobs(state),
        is_paused=BULK_SCOPE in scopes,
        pauses={scope: reason for scope, reason in scopes.items() if scope != BULK_SCOPE},
        workers=0 if workers is None else int(workers[0]),
    )
