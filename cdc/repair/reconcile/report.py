"""What one comparison came to, as a value, and the words that every form of the report shares. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cdc.repair.reconcile.differences import FIXABLE, NEXT, Difference, Kind
from cdc.repair.reconcile.duplicates import MergePlan
from cdc.repair.reconcile.plan import Left
from cdc.state.reconciles import ReconcileRun


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedReport:
    """One feed.

    Attributes:
        note: what went wrong, or why it wasn't compared.
        fields: fields that differ, and how often.
        theirs: fields that belong to the CRM's people and hold another value there.
    """

    feed: str
    compared: int
    crm_count: int | None
    is_complete: bool
    note: str
    counts: Mapping[Kind, int]
    fields: Mapping[str, int]
    theirs: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One comparison.

    Attributes:
        before: the run before it; None for the first.
        differences: that are kept; `run.differing` may be more.
        spent: credits by what they were for.
        seconds: how long it took.
        marked: (feed, record id) of what was sent anew.
        left: what was left alone when it was looked at again.
        remaining: what was sent anew and differs still.
        planned: records in the plan that waits for a person; 0 if there is none.
    """

    run: ReconcileRun
    before: ReconcileRun | None
    feeds: Sequence[FeedReport]
    differences: Sequence[Difference] = field(repr=False)
    merges: Sequence[MergePlan]
    spent: Mapping[str, int]
    seconds: float
    marked: frozenset[tuple[str, str | None]]
    left: Sequence[Left]
    remaining: Sequence[Left]
    planned: int

    @property
    def counts(self) -> dict[Kind, int]:
        """Records by kind, of all feeds."""
        totals: Counter[Kind] = Counter()
        for feed in self.feeds:
            totals.update(feed.counts)
        return {kind: totals[kind] for kind in Kind}

    @property
    def fields(self) -> list[tuple[str, str, int]]:
        """Feed, field and how often it differs, the most frequent first."""
        found = [(feed.feed, name, count) for feed in self.feeds for name, count in feed.fields.items()]
        return sorted(found, key=lambda one: (-one[2], one[0], one[1]))

    def was(self, kind: Kind) -> int | None:
        """How many records of a kind the run before found."""
        return None if self.before is None else self.before.total(kind.value)


_WORDS: Mapping[str, str] = {
    "clean": "OK",
    "fixed": "OK",
    "differs": "differs",
    "held": "waits for a person",
    "incomplete": "INCOMPLETE",
}


def verdict(report: Report) -> str:
    """Say in one sentence what came of it."""
    run = report.run
    share = run.differing / run.compared if run.compared else 0.0
    spent = ", ".join(f"{credits} {what}" for what, credits in report.spent.items() if credits)
    fixed = (
        f", {run.fixed:,} sent anew, {run.remaining:,} of them differ still" if run.fixed or run.kind == "fix" else ""
    )
    return (
        f"Reconcile {run.started_at:%Y-%m-%d %H:%M} UTC – {_WORDS[run.verdict]}, {run.differing:,} of {run.compared:,} "
        f"records differed ({share:.2%}){fixed}. {run.credits_used:,} credits{f' ({spent})' if spent else ''}, "
        f"{report.seconds:.0f} s."
    )


def in_words(kind: Kind) -> str:
    """Write a kind as people read it."""
    return kind.value.replace("_", " ").replace("crm", "CRM")


def change(now: int, before: int | None) -> str:
    """Write how a number has changed since the last run: (+1), (−4), (0); nothing without one."""
    if before is None:
        return ""
    difference = now - before
    return "(0)" if not difference else f"({'+' if difference > 0 else '−'}{abs(difference):,})"


def counts_line(report: Report) -> str:
    """Write the counts by kind in a line; kinds that neither this nor the last run found are left out."""
    parts = []
    for kind, count in report.counts.items():
        before = report.was(kind)
        if count or before:
            parts.append(f"{in_words(kind)} {count:,} {change(count, before)}".rstrip())
    return " · ".join(parts) or "no difference"


def facts(report: Report) -> list[tuple[str, str]]:
    """Give the head of the report: what, and how it stands."""
    run = report.run
    return [
        ("Began", f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC, by {run.requested_by}"),
        ("Took", f"{report.seconds:.0f} s"),
        ("Complete", "yes" if run.complete else "no: nothing was put right, and what is missing can't be told"),
        ("Barrier", run.barrier_lsn or "not reached: what is on its way may be counted as a difference"),
        ("Credits", f"{run.credits_before:,} left before, {run.credits_planned:,} planned, {run.credits_used:,} used"),
        ("Put right", f"{run.fixed:,} sent anew, {run.remaining:,} of them differ still"),
    ]


def commands(report: Report) -> Iterator[str]:
    """Say what a person does next, as sentences with commands in them."""
    if report.planned:
        yield f"{report.planned:,} records may be put right: look at plan.json, then `cdc reconcile --apply plan.json`"
    for kind, count in report.counts.items():
        if count and kind in NEXT:
            yield f"{in_words(kind)} ({count:,}): {NEXT[kind]}"
    if any(one.why.startswith("parked") for one in report.differences):
        yield "parked: `cdc failures list` and `cdc held list` say why"
    if any(one.why.startswith("flapping") for one in report.differences):
        yield "flapping: find the person or the workflow that changes it back, or let the field be theirs (owners)"
    if any("HELD_BY_BREAKER" in left.why for left in report.remaining):
        yield "the breaker holds some of what was sent anew: `cdc held list`"


def action(report: Report, difference: Difference) -> str:
    """Say what becomes of a difference."""
    if (difference.feed, difference.record_id) in report.marked:
        return "sent anew"
    if difference.is_fixable:
        return "in the plan" if report.planned else "would be sent anew"
    return "left alone" if difference.kind in FIXABLE else "for a person"


def as_json(report: Report) -> dict[str, object]:
    """Give the summary as JSON: numbers and names, no values and no records."""
    run = report.run
    return {
        "verdict": run.verdict,
        "sentence": verdict(report),
        "started_at": run.started_at.isoformat(),
        "seconds": round(report.seconds, 1),
        "kind": run.kind,
        "complete": run.complete,
        "barrier_lsn": run.barrier_lsn,
        "compared": run.compared,
        "differing": run.differing,
        "fixed": run.fixed,
        "remaining": run.remaining,
        "planned": report.planned,
        "held_back": list(run.held_back),
        "credits": {
            "before": run.credits_before,
            "planned": run.credits_planned,
            "used": run.credits_used,
            "by": dict(report.spent),
        },
        "counts": {kind.value: count for kind, count in report.counts.items()},
        "last": None if report.before is None else {kind.value: report.before.total(kind.value) for kind in Kind},
        "feeds": {
            feed.feed: {
                "compared": feed.compared,
                "crm_count": feed.crm_count,
                "complete": feed.is_complete,
                "note": feed.note,
                "counts": {kind.value: count for kind, count in feed.counts.items() if count},
                "fields": dict(feed.fields),
                "theirs": dict(feed.theirs),
            }
            for feed in report.feeds
        },
        "next": list(commands(report)),
    }
