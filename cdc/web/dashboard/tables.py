"""Rows of the page's tables, from what was read. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cdc.routing.feeds import Lane
from cdc.runtime.plans import Plan
from cdc.state.activity import Interval
from cdc.state.jobs import Run
from cdc.state.openalerts import OpenAlert
from cdc.state.outbox import Counts
from cdc.watch.alerts.rules import RULES
from cdc.watch.status import Status
from cdc.web.dashboard.path import Mark

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Told:
    """An open alert in words. `command` and `anchor` are empty for one that this version has no rule of."""

    alert: OpenAlert
    words: str
    command: str = ""
    anchor: str = ""


def told(alert: OpenAlert) -> Told:
    """Say what an alert is about, as the messages do."""
    rule = RULES.get(alert.name)
    if rule is None:
        return Told(alert, "of another version of this program")
    return Told(alert, rule.say(alert.value), rule.command, rule.anchor)


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A job that is done by the clock. `outcome` is empty for one that never ran."""

    name: str
    plan: str
    next_at: datetime
    run: Run | None
    outcome: str = ""
    mark: Mark = Mark.WAITING


_OUTCOMES = {"done": Mark.OK, "running": Mark.WAITING, "stopped": Mark.WAITING}


def schedule(plans: Mapping[str, Plan], runs: Mapping[str, Run], now: datetime) -> list[Scheduled]:
    """Give each job with its newest run, and when it comes next."""
    rows = []
    for name, plan in plans.items():
        run = runs.get(name)
        outcome = ""
        if run is not None:
            outcome = run.outcome or ("died" if run.leased_until <= now else "running")
        mark = _OUTCOMES.get(outcome, Mark.BROKEN)
        rows.append(Scheduled(name, str(plan), plan.next(now), run, outcome, mark))
    return rows


@dataclass(frozen=True, slots=True)
class Hour:
    """What was delivered in an hour of the clock."""

    begins_at: datetime
    succeeded: int
    failed: int


def by_hour(intervals: Sequence[Interval], until: datetime) -> list[Hour]:
    """Add the intervals of the last 24 hours up, by hour; hours without any are left out."""
    hours: dict[datetime, list[int]] = defaultdict(lambda: [0, 0])
    for part in intervals:
        if until - part.begins_at <= timedelta(hours=24):
            hour = hours[_begin(part.begins_at)]
            hour[0] += part.succeeded
            hour[1] += part.failed
    return [Hour(at, *counts) for at, counts in sorted(hours.items())]


def highest_by_hour(samples: Sequence[tuple[datetime, int]]) -> list[tuple[datetime, int]]:
    """Give the highest value of each hour."""
    hours: dict[datetime, int] = {}
    for at, value in samples:
        hours[_begin(at)] = max(value, hours.get(_begin(at), 0))
    return sorted(hours.items())


def _begin(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Queue:
    """A feed and lane in the outbox.

    Attributes:
        counts: None for a feed of which nothing waits.
        delivered: records of the feed that the CRM holds; in its first row only.
        oldest_seconds: age of the oldest change that waits.
    """

    feed: str
    delivered: int | None
    counts: Counts | None
    oldest_seconds: float | None


def queue(status: Status) -> list[Queue]:
    """Give the outbox by feed and lane, with what is delivered already."""
    rows = []
    for feed in sorted({*status.delivered, *(count.feed for count in status.outbox)}):
        of_feed: list[Counts | None] = [*(count for count in status.outbox if count.feed == feed)]
        for n, found in enumerate(of_feed or [None]):
            at = None if found is None else found.oldest
            age = None if at is None else max(0.0, (status.at - at).total_seconds())
            rows.append(Queue(feed, status.delivered.get(feed, 0) if n == 0 else None, found, age))
    return rows


def backfilling(status: Status) -> list[tuple[str, int, int]]:
    """Give what waits in the lane `bulk`: feed, records that wait, records that the CRM holds."""
    return [
        (c.feed, c.due + c.gathering + c.in_flight + c.retrying, status.delivered.get(c.feed, 0))
        for c in status.outbox
        if c.lane is Lane.BULK and c.due + c.gathering + c.in_flight + c.retrying
    ]
