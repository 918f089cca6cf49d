"""Writes what Prometheus reads from our rules: deploy/prometheus/alerts.yml and tests.yml, and checks them.

Written by hand as text, since YAML takes JSON's strings and the project needs no YAML library for anything else.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client.core import Metric

from cdc.watch.alerts.rule import Level, Rule, Unit
from cdc.watch.alerts.rules import RULES
from cdc.watch.metrics import families
from cdc.watch.outlook import Picture
from tests.support.alerts import CASES

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RUNBOOK = "docs/runbook.md"
JOB = "optio-cdc"
_STEP = 10
"""Minutes between two evaluations of a test; what must last for a day would else take too long."""
_NOTE = "# Made from cdc/watch/alerts by `make docs`; change it there.\n"
_HUMAN = {
    Unit.COUNT: "humanize",
    Unit.SHARE: "humanizePercentage",
    Unit.SECONDS: "humanizeDuration",
    Unit.BYTES: "humanize1024",
    Unit.TIMES: "humanize",
}
_DOWN = f"""\
      - alert: CdcDown
        expr: up{{job="{JOB}"}} == 0
        for: 5m
        labels:
          severity: critical
        annotations:
          summary: "Nothing is heard of {{{{ $labels.instance }}}}"
          description: "No metrics for 5 minutes: the process, its machine or its state database is away. Nobody else
            can tell, since our own alerts come from there."
          runbook_url: "{RUNBOOK}#down"
"""


def alerts_file() -> str:
    """All rules, each bound an alert of its own with the severity as a label."""
    parts = [_NOTE, "groups:\n  - name: optio-cdc\n    rules:\n", _DOWN]
    parts += [_alert(rule, level) for rule in RULES.values() for level in rule.levels]
    return "".join(parts)


def _alert(rule: Rule, level: Level) -> str:
    what = rule.what.format(value=f"{{{{ $value | {_HUMAN[rule.unit]} }}}}")
    return (
        f"      - alert: {rule.name}\n"
        f"        expr: {json.dumps(expression(rule, level))}\n"
        f"        for: {_span(level.hold)}\n"
        "        labels:\n"
        f"          severity: {level.severity.value}\n"
        "        annotations:\n"
        f"          summary: {json.dumps(what[:1].upper() + what[1:])}\n"
        f"          description: {json.dumps(f'{rule.next[:1].upper()}{rule.next[1:]}. Do: {rule.command}')}\n"
        f'          runbook_url: "{RUNBOOK}#{rule.anchor}"\n'
    )


def expression(rule: Rule, level: Level) -> str:
    """The query of a rule with the bound of a level."""
    query = f"({rule.query})" if re.search(r" (and|unless|or|/|-) ", rule.query) else rule.query
    return f"{query} {'<' if rule.below else '>'} {_number(level.bound)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _span(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 60}m" if whole and whole % 60 == 0 else f"{whole}s"


def tests_file() -> str:
    """Unit tests for promtool: each rule with the pictures of its cases as constant series, told apart by a label."""
    parts = [_NOTE, f"rule_files:\n  - alerts.yml\nevaluation_interval: {_STEP}m\ntests:\n"]
    parts += [_test(rule, [shown for name, _, shown in CASES if name == rule.name]) for rule in RULES.values()]
    labels = f'alertname="CdcDown", alertstate="firing", severity="critical", job="{JOB}", instance="a"'
    up = f'      - series: \'up{{job="{JOB}", instance="a"}}\'\n        values: "0x3"\n'
    parts.append(_case("CdcDown", up, 2 * _STEP, _firing(labels)))
    return "".join(parts)


def _test(rule: Rule, shown: Sequence[Picture]) -> str:
    steps = math.ceil(max(level.hold for level in rule.levels) / 60 / _STEP) + 1
    series, firing = "", ""
    for number, one in enumerate(shown):
        for line, value in _series(one, rule.query, f"case {number}"):
            series += f"      - series: '{line}'\n        values: \"{_sample(value)}x{steps}\"\n"
        for level in rule.levels:
            if _fires(rule, level, one):
                firing += _firing(
                    f'alertname="{rule.name}", alertstate="firing", severity="{level.severity.value}",'
                    f' pipeline="case {number}"'
                )
    return _case(rule.name, series, steps * _STEP, firing)


def _case(name: str, series: str, minutes: int, expected: str) -> str:
    return (
        f"  - name: {name}\n    interval: {_STEP}m\n    input_series:\n{series}"
        f'    promql_expr_test:\n      - expr: \'ALERTS{{alertname="{name}", alertstate="firing"}}\'\n'
        f"        eval_time: {minutes}m\n        exp_samples:{' []' if not expected else ''}\n{expected}"
    )


def _firing(labels: str) -> str:
    return f"          - labels: 'ALERTS{{{labels}}}'\n            value: 1\n"


def _fires(rule: Rule, level: Level, shown: Picture) -> bool:
    """Prometheus has no severity that hides a milder one: every bound that is passed fires."""
    reading = rule.measure(shown)
    return rule.beyond(level, getattr(reading, "value", None))


def _series(shown: Picture, query: str, label: str) -> Iterator[tuple[str, float]]:
    """Give the samples of the metrics that a query names, as `name{labels}` with one more label."""
    wanted = set(re.findall(r"cdc_\w+", query))
    for family in families(shown):
        if family.name in wanted:
            yield from _lines(family, label)


def _lines(family: Metric, label: str) -> Iterator[tuple[str, float]]:
    for sample in family.samples:
        labels = {**sample.labels, "pipeline": label}
        yield f"{sample.name}{{{', '.join(f'{k}={json.dumps(v)}' for k, v in labels.items())}}}", sample.value


def _sample(value: float) -> str:
    return "+Inf+0" if value == float("inf") else f"{value!r}+0"


def write() -> None:
    """Write both files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "alerts.yml").write_text(alerts_file(), encoding="utf-8")
    (FOLDER / "tests.yml").write_text(tests_file(), encoding="utf-8")
