"""What a run did, in numbers: the summary at the end, the live view, and `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cdc.routing.feeds import Profile
from cdc.runtime.pipeline import Pipeline
from cdc.state.control import Pause
from cdc.watch.status import Status

_MODULES = {"zoho.contacts": "contacts", "zoho.tasks": "tasks", "zoho.notes": "notes"}


@dataclass(frozen=True, slots=True)
class Report:
    """A run in numbers.

    Attributes:
        changes_captured: row changes made durable by this process.
        operations: by feed and outcome.
        credits: spent in the last 24 hours, by all processes on this state.
        naive_credits: what one call for each change, and for each record of a backfill, would have cost.
        records: what the CRM holds, by kind.
        lag_bytes: WAL that the slot holds back.
        latency_ms: from commit to the CRM's answer.
        parked: keys that failed for good.
        dirty: keys that wait or are under way, parked ones aside.
        pauses: what delivers nothing for now, and why.
    """

    changes_captured: int
    operations: dict[str, dict[str, int]]
    credits: int
    naive_credits: int
    records: dict[str, int]
    lag_bytes: int | None
    latency_ms: dict[str, float | None]
    parked: int
    dirty: int
    pauses: Sequence[Pause]

    @property
    def saved(self) -> float:
        """The share of `naive_credits` that wasn't spent; 0 if there was nothing to do."""
        return 1 - self.credits / self.naive_credits if self.naive_credits else 0.0

    @property
    def is_degraded(self) -> bool:
        """True when something is parked or paused, so that a person should look."""
        return bool(self.parked or self.pauses)

    def as_json(self) -> dict[str, Any]:
        """Give the object that `cdc run --json` prints."""
        return {
            "changes_captured": self.changes_captured,
            "operations": self.operations,
            "credits": self.credits,
            "naive_credits": self.naive_credits,
            **self.records,
            "lag_bytes": self.lag_bytes,
            "latency_ms": self.latency_ms,
            "parked": self.parked,
        }


def make_report(pipeline: Pipeline, profile: Profile, status: Status) -> Report:
    """Put the numbers of a process and of the databases together."""
    changes = pipeline.capture.stats.changes if pipeline.capture else 0
    records = dict.fromkeys(_MODULES.values(), 0)
    for feed in profile.feeds.values():
        records[_MODULES.get(feed.sink, feed.sink)] += status.delivered.get(feed.name, 0)
    operations: dict[str, dict[str, int]] = {name: {} for name in profile.feeds}
    for (feed_name, outcome), count in sorted(pipeline.worker.stats.operations.items()):
        operations[feed_name][outcome] = count
    p50, p99 = pipeline.worker.stats.percentiles((0.5, 0.99))
    return Report(
        changes_captured=changes,
        operations=operations,
        credits=status.credits.used,
        naive_credits=changes + pipeline.swept,
        records=records,
        lag_bytes=status.lag_bytes,
        latency_ms={"p50": p50, "p99": p99},
        parked=status.parked,
        dirty=status.dirty,
        pauses=status.pauses,
    )
