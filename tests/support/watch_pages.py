"""The reference pages of metrics and alerts."""

from __future__ import annotations

from cdc.runtime.counting import COUNTERS
from cdc.watch.alerts.rule import Level, Rule
from cdc.watch.alerts.rule import duration as span
from cdc.watch.alerts.rules import RULES
from cdc.watch.meters import Meters
from cdc.watch.metrics import GAUGES

_NOTE = "<!-- Made from the code by `make docs`; change it there. -->"


def metrics_page() -> str:
    """Every metric with its type, labels and meaning."""
    rows = [(name, "gauge", gauge.labels, gauge.help) for name, gauge in GAUGES.items()]
    rows += [(f"{name}_total", "counter", labels, words) for name, (words, labels) in COUNTERS.items()]
    rows += [
        (f"{metric.name}{'_total' if metric.type == 'counter' else ''}", metric.type, labels, metric.documentation)
        for metric, labels in Meters().described()
    ]
    lines = [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {words} |"
        for name, kind, labels, words in rows
    ]
    return "\n\n".join([
        "# Metrics",
        _NOTE,
        "What `cdc run` serves at `/metrics` for Prometheus; [alerts.md](../alerts.md) says how. Gauges are of all\n"
        "processes on this state, counters and histograms of the one that is asked. What can't be told has no sample.",
        "| name | type | labels | meaning |\n| --- | --- | --- | --- |\n" + "\n".join(lines),
    ]) + "\n"  # fmt: skip


def alerts_page() -> str:
    """Every alert with its bounds."""
    rows = []
    for rule in RULES.values():
        levels = {level.severity.value: level for level in rule.levels}
        bounds = [_bound(rule, levels.get(name)) for name in ("info", "warning", "critical")]
        hidden = ", ".join(rule.hidden_by)
        words = rule.say(None) if "{value}" not in rule.what else rule.what.format(value="…")
        rows.append(
            f"| [{rule.name}](../runbook.md#{rule.anchor}) | {words} | {bounds[1] or bounds[0]} | {bounds[2]} "
            f"| {hidden} | `{rule.query.replace('|', chr(92) + '|')}` |"
        )
    return "\n\n".join([
        "# Alerts",
        _NOTE,
        "What is evaluated every half minute, and in Prometheus by `deploy/prometheus/alerts.yml`;\n"
        "[alerts.md](../alerts.md) says how people are told. An alert isn't told while one that explains it is\n"
        "beyond a bound; Prometheus tells both.",
        "| alert | what | warning | critical | explained by | in Prometheus |\n| --- | --- | --- | --- | --- | --- |\n"
        + "\n".join(rows),
    ]) + "\n"  # fmt: skip


def _bound(rule: Rule, level: Level | None) -> str:
    if level is None:
        return ""
    kind = " (info)" if level.severity.value == "info" else ""
    held = f" for {span(level.hold)}" if level.hold else ""
    if level.bound == 0 and not rule.below:
        return f"any{held}{kind}"
    return f"{'<' if rule.below else '>'} {rule.unit.write(level.bound)}{held}{kind}"
