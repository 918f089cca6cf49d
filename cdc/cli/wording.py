"""Numbers and states in words, the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc.state.control import BULK_SCOPE, EVERYTHING, Pause
from cdc.state.gaps import GAP_UNDECIDED, HOLD_REASONS, Gap
from cdc.watch.condition import resumed_by
from sinks.reasons import Reason

if TYPE_CHECKING:  # they would bring the whole pipeline with them
    from cdc.embedded.story import Deltas
    from cdc.runtime.report import Report


def size(count: int | None) -> str:
    """Write a number of bytes for people."""
    if count is None:
        return "-"
    return f"{count / 1024:.0f} kB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MB"


def milliseconds(value: float | None) -> str:
    """Write a duration for people."""
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.0f} s"


def duration(seconds: float) -> str:
    """Write a longer duration for people."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def exact_duration(seconds: float) -> str:
    """Write a length of time in its two largest units, such as `3 h 10 min`."""
    left = round(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def explain_gap(gap: Gap) -> list[str]:
    """Say what a gap is, what is done about it, and what it contained."""
    lines = [f"gap {gap.id}, {gap.detected_at:%Y-%m-%d %H:%M} UTC, from {gap.from_lsn}: {gap.cause}. {gap.meaning}"]
    if gap.detail:
        lines.append(f"  {gap.detail}")
    if gap.is_undecided:
        lines.append("  capture and delivery wait for a person: look, then `cdc slot repair`")
    elif gap.repaired_at is None:
        lines.append("  it isn't over yet" if gap.to_lsn is None else "  the sweep is not through yet")
    elif gap.found is not None:
        counts = ", ".join(
            f"{feed} " + (" ".join(f"{n} {kind}" for kind, n in found.items() if n) or "nothing")
            for feed, found in gap.found.items()
        )
        lines.append(f"  closed; everything was compared, and differed: {counts}")
    if gap.ledger_doubtful:
        lines.append("  the ledger was in doubt: what it didn't know is looked for in the CRM, the rest is sent again")
    if gap.hint and gap.repaired_at is None:
        lines.append(f"  {gap.hint}")
    return lines


def explain_pause(pause: Pause) -> list[str]:
    """Say what is paused, why, and what helps."""
    if pause.reason in HOLD_REASONS:
        why = "a gap awaits a decision" if pause.reason == GAP_UNDECIDED else "the ledger is in doubt until the sweep"
        return [f"all delivery is held, {pause.reason}: {why}; see `cdc slot`"]
    if pause.actor is not None:
        return [_explain_hold(pause)]
    reason = Reason.__members__.get(pause.reason)
    words = f"{pause.reason}: {reason.meaning}" if reason else pause.reason
    lines = [f"delivery to {pause.scope} is paused, {words} {pause.detail}".rstrip()]
    if reason:
        lines.append(f"  fix: {reason.hint}")
    return lines


def _explain_hold(pause: Pause) -> str:
    """Say who paused what, since and until when, why, and what ends it."""
    what = {EVERYTHING: "all delivery", BULK_SCOPE: "the lane bulk"}.get(pause.scope, f"delivery of {pause.scope}")
    until = "until it is resumed" if pause.until is None else f"until {pause.until:%Y-%m-%d %H:%M} UTC"
    why = f": {pause.detail}" if pause.detail else ""
    since = f"{pause.updated_at:%m-%d %H:%M} UTC"
    return f"{what} is paused by {pause.actor} since {since}, {until}{why} (`{resumed_by(pause.scope)}` ends it)"


def story_outcome(deltas: Deltas) -> str:
    """Say what the CRM makes of a chapter."""
    parts = [
        _counted(abs(deltas.contacts), "contact less" if deltas.contacts < 0 else "new contact"),
        _counted(deltas.changed, "contact changed"),
        _counted(deltas.tasks, "task"),
        _counted(deltas.notes, "note"),
    ]
    return ", ".join(part for part in parts if part) or "nothing to send"


def _counted(count: int, noun: str) -> str:
    if count == 0:
        return ""
    first, _, rest = noun.partition("contact")
    plural = f"{first}contacts{rest}" if "contact" in noun else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def summary(report: Report) -> list[str]:
    """Say in a few lines what a run did and what it leaves behind."""
    lines = [f"{report.changes_captured} row changes captured"]
    lines += [
        f"  {feed}: " + (", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) or "nothing to do")
        for feed, outcomes in report.operations.items()
    ]
    spent = f"{report.credits} credits spent in 24 hours"
    if report.naive_credits:
        spent += f"; one call per change would have cost {report.naive_credits} ({report.saved:.0%} saved)"
    lines.append(spent)
    for pause in report.pauses:
        lines += explain_pause(pause)
    if report.parked:
        lines.append(f"{report.parked} parked: see `cdc failures list`")
    if report.dirty:
        lines.append(f"{report.dirty} still to be delivered")
    return lines
