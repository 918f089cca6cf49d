"""How an alert lives: it is held back, opens, gets worse, is reminded of, and ends. Pure; the time is passed in.

What *is* and what people were *told* are kept apart. A notice is due while they differ, and it is sent before it is
written down that it was: a process that dies in between tells it twice, and never not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cdc.state.alerts import Alert, RuleState, Severity, Verdict
from cdc.watch.alerts.measures import BY_HAND
from cdc.watch.alerts.rule import Measured, Reading, Rule, Unknown
from cdc.watch.status import Status

QUIET: Final = timedelta(minutes=15)
"""Between two notices of one alert; one that becomes critical doesn't wait for it."""
REMIND: Final = timedelta(hours=24)
GROUP: Final = timedelta(minutes=1)
"""Between two messages; a critical one doesn't wait for it."""
GRACE: Final = timedelta(minutes=2)
"""After capture began, in which what catches up isn't told of."""
FORGET: Final = timedelta(minutes=2)
"""When nobody has evaluated for so long, nobody knows whether a bound was passed all the while."""


class Kind(StrEnum):
    """What a notice says."""

    OPENED = "opened"
    ESCALATED = "escalated"
    RESOLVED = "resolved"
    REMINDED = "reminded"


@dataclass(frozen=True, slots=True)
class Step:
    """What an evaluation made of a rule.

    Attributes:
        state: of the rule.
        alert: as it is now; None if there is none. Without an id it is new.
        due: what is to be told, if anything.
    """

    rule: Rule
    state: RuleState
    alert: Alert | None
    due: Kind | None


def hushed(rule: Rule, readings: Mapping[str, Reading], rules: Mapping[str, Rule], status: Status) -> str:
    """Say why nobody should be told of a rule now; empty if they should."""
    for parent in rule.hidden_by:
        reading = readings.get(parent)
        if isinstance(reading, Measured) and any(
            rules[parent].beyond(lv, reading.value) for lv in rules[parent].levels
        ):
            return f"{parent} explains it"
    if rule.graced and status.is_unswept:
        return "everything is being compared for the first time"
    starts = [worker.started_at for worker in status.workers if worker.role == "capture"]
    if rule.graced and starts and status.at - max(starts) < GRACE:
        return "capture has just begun"
    if not rule.in_pause and any(pause.reason == BY_HAND for pause in status.pauses):
        return "a person paused delivery"
    return ""


def step(rule: Rule, reading: Reading, before: RuleState, alert: Alert | None, *, hush: str, now: datetime) -> Step:
    """Take a rule from one evaluation to the next.

    Args:
        rule: which.
        reading: what was measured now.
        before: what the rule last came to.
        alert: the live one, if there is one.
        hush: why nobody should be told, if so.
        now: the time.
    """
    if isinstance(reading, Unknown):
        state = replace(before, verdict=Verdict.UNKNOWN, value=None, words=reading.why, evaluated_at=now)
        return Step(rule, state, alert, None if hush else _due(alert, before, now))
    is_open = alert is not None and alert.is_open
    since = _since(rule, reading.value, before, now, is_open=is_open)
    if hush and not is_open:
        verdict = Verdict.HUSHED if since else Verdict.FINE
        state = replace(before, verdict=verdict, value=reading.value, words=hush, since={}, evaluated_at=now)
        return Step(rule, state, alert, _due(alert, before, now))
    severity = _severity(rule, since, now)
    after = _alert(rule, reading, severity, since, alert, now)
    verdict = Verdict.OPEN if severity else Verdict.PENDING if since else Verdict.FINE
    state = replace(
        before, verdict=verdict, value=reading.value, words=hush or reading.detail, since=since, evaluated_at=now
    )
    due = _due(after, state, now)
    if hush and due is not Kind.RESOLVED:
        due = None
    return Step(rule, state, _settled(after, state, now), due)


def _since(
    rule: Rule, value: float | None, before: RuleState, now: datetime, *, is_open: bool
) -> dict[Severity, datetime]:
    """Say since when the value has been beyond each bound that it is beyond now."""
    stale = before.evaluated_at is None or now - before.evaluated_at > FORGET
    known = {} if stale and not is_open else before.since
    return {level.severity: known.get(level.severity, now) for level in rule.levels if rule.beyond(level, value)}


def _severity(rule: Rule, since: Mapping[Severity, datetime], now: datetime) -> Severity | None:
    held = [
        level.severity
        for level in rule.levels
        if level.severity in since and (now - since[level.severity]).total_seconds() >= level.hold
    ]
    return max(held, key=lambda severity: severity.rank, default=None)


def _alert(
    rule: Rule,
    reading: Measured,
    severity: Severity | None,
    since: Mapping[Severity, datetime],
    alert: Alert | None,
    now: datetime,
) -> Alert | None:
    """Open, keep, open again or resolve an alert."""
    if severity is None:
        return replace(alert, resolved_at=now) if alert is not None and alert.is_open else alert
    if alert is None:
        began = min(since.values())
        return Alert(name=rule.name, severity=severity, value=reading.value, detail=reading.detail, opened_at=began)
    return replace(alert, severity=severity, value=reading.value, detail=reading.detail, resolved_at=None)


def _settled(alert: Alert | None, state: RuleState, now: datetime) -> Alert | None:
    """Close what is over and needn't be told, and forget a worse severity that has been over for a while."""
    if alert is None:
        return None
    if not alert.is_open and (alert.told is None or state.is_muted(now)):
        return replace(alert, closed_at=now)
    milder = alert.is_open and alert.told is not None and alert.severity.rank < alert.told.rank
    return replace(alert, told=alert.severity) if milder and _rested(state.notified_at, now) else alert


def _due(alert: Alert | None, state: RuleState, now: datetime) -> Kind | None:
    """Say what is to be told now."""
    if alert is None or state.is_muted(now):
        return None
    kind = _kind(alert, now)
    is_news = kind in {Kind.OPENED, Kind.ESCALATED} and alert.severity is Severity.CRITICAL
    return kind if _rested(state.critical_at if is_news else state.notified_at, now) else None


def _rested(last: datetime | None, now: datetime) -> bool:
    return last is None or now - last >= QUIET


def _kind(alert: Alert, now: datetime) -> Kind | None:
    """Say how what is differs from what was told."""
    if not alert.is_open:
        return None if alert.told is None else Kind.RESOLVED
    if alert.told is None or alert.notified_at is None:
        return Kind.OPENED
    if alert.severity.rank > alert.told.rank:
        return Kind.ESCALATED
    reminds = alert.acked_at is None and alert.severity is not Severity.INFO
    return Kind.REMINDED if reminds and now - alert.notified_at >= REMIND else None


def to_tell(steps: Iterable[Step], last_message: datetime | None, now: datetime) -> list[Step]:
    """Choose what goes into a message now: all that is due, or nothing while it may still gather."""
    due = [one for one in steps if one.due is not None and one.alert is not None]
    urgent = any(
        one.due in {Kind.OPENED, Kind.ESCALATED} and one.alert is not None and one.alert.severity is Severity.CRITICAL
        for one in due
    )
    waits = last_message is not None and now - last_message < GROUP
    return [] if waits and not urgent else due


def told(alert: Alert, kind: Kind, now: datetime) -> Alert:
    """Give the alert as it is once that was told."""
    if kind is Kind.RESOLVED:
        return replace(alert, told=None, notified_at=now, closed_at=now)
    return replace(alert, told=alert.severity, notified_at=now)
