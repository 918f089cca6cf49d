"""Each rule at its bounds; what it says; and that everything it points at is there."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from cdc.state.alerts import RuleState, Severity, Verdict
from cdc.watch.alerts.life import step
from cdc.watch.alerts.rule import Measured, Unknown
from cdc.watch.alerts.rules import RULES
from cdc.watch.outlook import Picture
from tests.support.alerts import CASES, UNKNOWN, picture
from tests.support.reference import commands
from tests.support.status import NOW


def severity_at_last(name: str, shown: Picture) -> Severity | None:
    """Evaluate every half minute until no `for` time can be left to run."""
    rule = RULES[name]
    state, alert = RuleState(name=name), None
    longest = max(level.hold for level in rule.levels)
    for seconds in (*range(0, 200, 30), *range(200, int(longest) + 230, 110)):
        made = step(rule, rule.measure(shown), state, alert, hush="", now=NOW + timedelta(seconds=seconds))
        state, alert = made.state, made.alert
    return alert.severity if alert is not None and alert.is_open else None


@pytest.mark.parametrize(("name", "severity", "shown"), CASES)
def test_each_bound_is_where_it_is_said_to_be(name: str, severity: Severity | None, shown: Picture) -> None:
    assert severity_at_last(name, shown) is severity


def test_every_severity_of_every_rule_has_a_case() -> None:
    reached = {(name, severity) for name, severity, _ in CASES if severity is not None}
    promised = {(rule.name, level.severity) for rule in RULES.values() for level in rule.levels}

    # what lasts for long enough has become critical by then
    turn = {r.name for r in RULES.values() if len(r.levels) > 1 and len({level.bound for level in r.levels}) == 1}
    assert reached == promised - {(name, Severity.WARNING) for name in (*turn, "CdcTokenRefreshFailing")}


@pytest.mark.parametrize("name", RULES)
def test_nothing_is_said_while_all_is_well(name: str) -> None:
    reading = RULES[name].measure(picture())

    assert name == "CdcCreditsUnexplained" or isinstance(reading, Measured)
    assert severity_at_last(name, picture()) is None


@pytest.mark.parametrize(("name", "shown"), UNKNOWN)
def test_what_cannot_be_measured_is_unknown_and_not_fine(name: str, shown: Picture) -> None:
    reading = RULES[name].measure(shown)

    assert isinstance(reading, Unknown)
    assert reading.why
    assert step(RULES[name], reading, RuleState(name=name), None, hush="", now=NOW).state.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_is_well_made(rule: object) -> None:
    rule = RULES[rule.name]  # type: ignore[attr-defined]
    severities = [level.severity.rank for level in rule.levels]

    assert re.fullmatch(r"Cdc[A-Z][A-Za-z]+", rule.name)
    assert severities == sorted(set(severities)), "the mildest first, each once"
    assert rule.command.startswith("cdc ")
    assert rule.next
    assert not rule.what.endswith(".")
    assert set(rule.hidden_by) <= set(RULES)
    assert rule.name not in rule.hidden_by
    assert "{" not in rule.say(rule.levels[0].bound)


def test_the_runbook_has_a_section_for_every_alert() -> None:
    runbook = Path("docs/runbook.md").read_text(encoding="utf-8")
    sections = {line[3:].strip() for line in runbook.splitlines() if line.startswith("## ")}

    assert {rule.anchor for rule in RULES.values()} | {"down"} <= sections


def test_the_three_alerts_of_the_first_plan_have_its_bounds() -> None:
    bounds = {name: [(level.severity.value, level.bound) for level in RULES[name].levels] for name in RULES}

    assert ("critical", 0.9) in bounds["CdcCreditsHigh"]
    assert ("warning", 10) in bounds["CdcFailedSyncs"]
    assert ("warning", 100) in bounds["CdcQueueDepth"]


def test_every_command_that_people_are_told_to_run_is_there() -> None:
    known = {" ".join(("cdc", *path)) for path, _ in commands()}

    assert {rule.command for rule in RULES.values()} <= known
