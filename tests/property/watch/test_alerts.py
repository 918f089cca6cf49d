"""What holds of every rule and every life."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cdc.state.alerts import RuleState, Severity
from cdc.state.calls import BANDS, CallActivity, band_of
from cdc.watch.alerts.life import QUIET, REMIND, Kind, step
from cdc.watch.alerts.rule import Measured, Rule, Unknown
from cdc.watch.alerts.rules import RULES
from tests.support.status import NOW
from tests.unit.watch.alerts.test_life import RULE, Life

VALUES = st.floats(min_value=0, max_value=1e13, allow_nan=False)
READINGS = st.lists(st.sampled_from([0.0, 20.0, 60.0, "unknown"]), min_size=1, max_size=240)


def worst(rule: Rule, value: float) -> int:
    """How bad a value is once it has lasted."""
    return max((level.severity.rank for level in rule.levels if rule.beyond(level, value)), default=-1)


@given(rule=st.sampled_from(list(RULES.values())), values=st.tuples(VALUES, VALUES))
def test_what_is_worse_is_never_milder(rule: Rule, values: tuple[float, float]) -> None:
    mild, bad = sorted(values, reverse=rule.below)
    assert worst(rule, mild) <= worst(rule, bad)


@given(readings=READINGS)
def test_no_more_than_one_notice_of_a_kind_of_news_in_a_quarter_of_an_hour(readings: list[float | str]) -> None:
    life = Life()
    for minute, reading in enumerate(readings):
        life.at(minute, reading)
    alarms = [minute for minute, kind, severity in life.heard if kind is not Kind.RESOLVED and severity == "critical"]
    calm = [minute for minute, kind, severity in life.heard if kind is Kind.RESOLVED or severity != "critical"]

    for minutes in (alarms, calm):
        assert all(timedelta(minutes=b - a) >= QUIET for a, b in pairwise(minutes))


@given(readings=READINGS, end=st.sampled_from([0.0, 60.0]))
def test_in_the_end_people_know_what_is(readings: list[float | str], end: float) -> None:
    life = Life()
    for minute, reading in enumerate(readings):
        life.at(minute, reading)
    for minute in range(len(readings), len(readings) + 40):
        life.at(minute, end)

    is_told = life.alert is not None and life.alert.told is Severity.CRITICAL
    assert is_told == (end == 60.0)
    assert end or not life.heard or life.heard[-1][1] is Kind.RESOLVED


@given(readings=READINGS)
def test_it_opens_before_anything_else_is_told_and_never_twice(readings: list[float | str]) -> None:
    life = Life()
    for minute, reading in enumerate(readings):
        life.at(minute, reading)
    kinds = [kind for _, kind, _ in life.heard]

    for before, after in zip([Kind.RESOLVED, *kinds], kinds, strict=False):
        assert (after is Kind.OPENED) == (before is Kind.RESOLVED)


@given(minutes=st.integers(0, int(REMIND.total_seconds() // 60) - 5))
def test_an_unknown_reading_changes_nothing(minutes: int) -> None:
    life = Life()
    life.lasts(0, 3, 60)
    before = life.alert
    made = step(RULE, Unknown("x"), life.state, life.alert, hush="", now=NOW + timedelta(minutes=minutes))

    assert (made.alert, made.due) == (before, None)


@given(seconds=st.lists(st.floats(0, 60, allow_nan=False), min_size=1, max_size=200))
def test_a_quantile_is_over_a_bound_exactly_if_enough_calls_are(seconds: list[float]) -> None:
    bands = [0] * (len(BANDS) + 1)
    for one in seconds:
        bands[band_of(one)] += 1
    quantile = CallActivity(by_outcome={"ok": len(seconds)}, by_band=tuple(bands)).quantile(0.95)
    assert quantile is not None
    for end in BANDS[:-1]:
        within = sum(one <= end for one in seconds)
        assert (quantile > end) == (within < 0.95 * len(seconds))


@given(value=VALUES, rule=st.sampled_from(list(RULES.values())))
def test_whatever_the_value_something_can_be_said(value: float, rule: Rule) -> None:
    made = step(rule, Measured(value), RuleState(name=rule.name), None, hush="", now=NOW)

    assert "{" not in rule.say(value)
    assert made.due is None or made.alert is not None
