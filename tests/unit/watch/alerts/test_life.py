"""The life of an alert, minute by minute: what is told, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from cdc.state.alerts import Alert, RuleState, Severity, Verdict
from cdc.watch.alerts.life import Kind, Step, hushed, step, to_tell, told
from cdc.watch.alerts.rule import Measured, Reading, Rule, Unknown, bounds
from cdc.watch.alerts.rules import RULES
from tests.support.alerts import failing, picture
from tests.support.status import NOW, pause, slot

RULE = Rule(
    name="CdcExample", anchor="lag", levels=bounds(warning=10, critical=50, hold=60, critical_hold=0),
    measure=lambda _: Measured(0.0), query="", what="{value} things", next="nothing", command="cdc status",
)  # fmt: skip


@dataclass
class Life:
    """What is remembered from one evaluation to the next, as the database does."""

    rule: Rule = RULE
    state: RuleState = field(default_factory=lambda: RuleState(name=RULE.name))
    alert: Alert | None = None
    heard: list[tuple[int, Kind, Severity]] = field(default_factory=list)

    def at(self, minute: float, reading: float | str | None, *, hush: str = "", deaf: bool = False) -> Step:
        """Evaluate, and tell what is due unless nobody can be reached."""
        now = NOW + timedelta(minutes=minute)
        measured: Reading = Unknown(reading) if isinstance(reading, str) else Measured(reading)
        made = step(self.rule, measured, self.state, self.alert, hush=hush, now=now)
        self.state, self.alert = made.state, made.alert
        if made.due is not None and made.alert is not None and not deaf:
            self.heard.append((round(minute), made.due, made.alert.severity))
            self.alert = told(made.alert, made.due, now)
            critical = now if self.alert.told is Severity.CRITICAL else self.state.critical_at
            self.state = replace(self.state, notified_at=now, critical_at=critical)
        if self.alert is not None and self.alert.closed_at is not None:
            self.alert = None
        return made

    def lasts(self, first: int, last: int, reading: float | str | None) -> None:
        for minute in range(first, last + 1):
            self.at(minute, reading)


O, E, R, M = Kind.OPENED, Kind.ESCALATED, Kind.RESOLVED, Kind.REMINDED  # noqa: E741 - as short as the table
W, C = Severity.WARNING, Severity.CRITICAL
Period = tuple[int, int, float | str]

LIVES: dict[str, tuple[Sequence[Period], Sequence[tuple[int, Kind, Severity]]]] = {
    "it is told once it has lasted, and again when it is over": ([(0, 30, 20), (31, 40, 0)], [(1, O, W), (31, R, W)]),
    "too short to be told": ([(0, 0, 20), (1, 60, 0)], []),
    "a pause starts the time anew": ([(0, 0, 20), (1, 1, 0), (2, 2, 20), (3, 60, 0)], []),
    "critical at once": ([(0, 20, 60), (21, 30, 0)], [(0, O, C), (21, R, C)]),
    "it gets worse": ([(0, 4, 20), (5, 40, 60)], [(1, O, W), (5, E, C)]),
    "it gets milder, which isn't told": ([(0, 4, 60), (5, 40, 20), (41, 50, 0)], [(0, O, C), (41, R, W)]),
    "worse again after a while": ([(0, 4, 60), (5, 40, 20), (41, 50, 60)], [(0, O, C), (41, E, C)]),
    "worse again at once": ([(0, 4, 60), (5, 6, 20), (7, 12, 60)], [(0, O, C)]),
    "over soon after it was told: that waits": ([(0, 3, 60), (4, 40, 0)], [(0, O, C), (15, R, C)]),
    "it comes and goes": (
        [(0, 1, 60), (2, 3, 0), (4, 5, 60), (6, 7, 0), (8, 9, 60), (10, 11, 0), (12, 40, 60), (41, 60, 0)],
        [(0, O, C), (41, R, C)],
    ),
    "a warning that comes and goes": (
        [(0, 2, 20), (3, 17, 0), (18, 20, 20), (21, 34, 0), (35, 60, 20)],
        [(1, O, W), (16, R, W), (36, O, W)],
    ),
    "what nobody can measure stays open": (
        [(0, 2, 20), (3, 30, "nobody knows"), (31, 33, 20), (34, 50, 0)],
        [(1, O, W), (34, R, W)],
    ),
    "what nobody can measure isn't opened": ([(0, 60, "nobody knows")], []),
    "reminders, each day": ([(0, 3 * 24 * 60, 20)], [(1, O, W), (1441, M, W), (2881, M, W)]),
}


@pytest.mark.parametrize("name", LIVES)
def test_lives(name: str) -> None:
    periods, heard = LIVES[name]
    life = Life()
    for first, last, value in periods:
        life.lasts(first, last, value)

    assert life.heard == list(heard)


def test_what_is_acknowledged_is_not_reminded_of_and_yet_told_when_it_gets_worse() -> None:
    life = Life()
    life.lasts(0, 2, 20)
    assert life.alert is not None
    life.alert = replace(life.alert, acked_at=NOW)
    life.lasts(3, 3_000, 20)
    life.lasts(3_001, 3_001, 60)

    assert life.heard == [(1, O, W), (3001, E, C)]


def test_what_is_muted_is_told_when_that_ends_if_it_is_still_so() -> None:
    life = Life(state=RuleState(name=RULE.name, muted_until=NOW + timedelta(minutes=120)))
    life.lasts(0, 130, 20)

    assert life.heard == [(120, O, W)]


def test_what_is_over_while_it_is_muted_is_never_told() -> None:
    life = Life(state=RuleState(name=RULE.name, muted_until=NOW + timedelta(minutes=120)))
    life.lasts(0, 60, 20)
    life.lasts(61, 200, 0)

    assert life.heard == []
    assert life.alert is None


def test_what_is_explained_by_something_else_is_not_opened() -> None:
    life = Life()
    for minute in range(10):
        assert life.at(minute, 60, hush="CdcSlotLost explains it").state.verdict is Verdict.HUSHED
    life.lasts(10, 12, 20)

    assert life.heard == [(11, O, W)], "its own time begins when the other one ends"


def test_what_was_told_before_is_told_to_be_over_even_then() -> None:
    life = Life()
    life.at(0, 60)
    for minute in range(1, 20):
        life.at(minute, 60 if minute < 16 else 0, hush="CdcSlotLost explains it")

    assert life.heard == [(0, O, C), (16, R, C)]


def test_what_nobody_heard_stays_due() -> None:
    life = Life()
    for minute in range(5):
        assert life.at(minute, 60, deaf=True).due is O
    life.at(5, 60)
    for minute in range(6, 30):
        life.at(minute, 0, deaf=True)
    life.at(30, 0)

    assert life.heard == [(5, O, C), (30, R, C)]


def test_what_is_over_before_anybody_could_hear_of_it_needs_no_word() -> None:
    life = Life()
    life.at(0, 60, deaf=True)
    life.at(1, 0)

    assert life.heard == []
    assert life.alert is None


def test_after_a_time_in_which_nobody_looked_the_wait_begins_anew() -> None:
    life = Life()
    life.at(0, 20)
    life.at(30, 20)
    assert life.state.verdict is Verdict.PENDING
    life.at(31, 20)

    assert life.heard == [(31, O, W)]


@pytest.mark.parametrize(
    ("name", "shown", "words"),
    [
        ("CdcSlotInactive", picture(workers=[], slot=slot(exists=False)), "CdcSlotLost explains it"),
        ("CdcCaptureStalled", picture(swept_at=None), "everything is being compared for the first time"),
        ("CdcQueueDepth", picture(pauses=[pause("BY_HAND", "*")]), "a person paused delivery"),
        ("CdcSyncFreshness", picture(pauses=[failing("TOKEN_INVALID", 1)]), "CdcTokenRefreshFailing explains it"),
        ("CdcSlotLost", picture(swept_at=None), ""),
        ("CdcCreditsHigh", picture(pauses=[pause("BY_HAND", "*")]), ""),
        ("CdcQueueDepth", picture(), ""),
    ],
)
def test_what_keeps_an_alert_quiet(name: str, shown: object, words: str) -> None:
    readings = {rule.name: rule.measure(shown) for rule in RULES.values()}  # type: ignore[arg-type]

    assert hushed(RULES[name], readings, RULES, shown.status) == words  # type: ignore[attr-defined]


def test_a_capture_that_has_just_begun_may_catch_up() -> None:
    fresh = picture()
    worker = replace(fresh.status.workers[0], started_at=NOW - timedelta(seconds=119))
    shown = replace(fresh, status=replace(fresh.status, workers=[worker]))

    assert hushed(RULES["CdcSyncFreshness"], {}, RULES, shown.status) == "capture has just begun"


def due(severity: Severity, kind: Kind) -> Step:
    alert = Alert(name=RULE.name, severity=severity, value=1.0, opened_at=NOW)
    return Step(RULE, RuleState(name=RULE.name), alert, kind)


@pytest.mark.parametrize(
    ("last", "steps", "told_now"),
    [
        (None, [due(W, O)], 1),
        (NOW - timedelta(seconds=61), [due(W, O), due(W, R)], 2),
        (NOW - timedelta(seconds=59), [due(W, O), due(C, R)], 0),
        (NOW - timedelta(seconds=1), [due(W, O), due(C, E)], 2),
        (NOW - timedelta(seconds=1), [], 0),
    ],
)
def test_what_comes_within_a_minute_shares_a_message(last: datetime | None, steps: list[Step], told_now: int) -> None:
    assert len(to_tell(steps, last, NOW)) == told_now
