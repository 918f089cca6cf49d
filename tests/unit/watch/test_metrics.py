"""What Prometheus reads: named as it should be, complete, and known to every rule and panel."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from cdc.delivery.stats import Stats
from cdc.runtime.counting import COUNTERS, Counting
from cdc.watch.meters import Meters
from cdc.watch.metrics import GAUGES, families
from cdc.watch.outlook import Picture
from sinks.calls import Called, Outcome
from tests.support import prometheus
from tests.support.alerts import CASES, UNKNOWN, calls, picture
from tests.support.debian import program, require
from tests.support.status import NOW, count, gap, pause

DEPLOY = Path("deploy")


class Fixed(Collector):
    def __init__(self, shown: Picture) -> None:
        self._shown = shown

    def collect(self) -> Iterator[Metric]:
        return families(self._shown)


def exposed(shown: Picture) -> str:
    registry = CollectorRegistry()
    registry.register(Fixed(shown))
    return generate_latest(registry).decode()


def process() -> str:
    """What a process counts."""
    meters, stats = Meters(), Stats()
    stats.operations["contacts", "update"] += 3
    stats.failed_calls["contacts", "UNAVAILABLE"] += 1
    meters.registry.register(Counting(lambda: (17, 5), stats))
    meters.called(Called(kind="upsert", outcome=Outcome.OK, seconds=0.2))
    meters.called(Called(kind="upsert", outcome=Outcome.NOT_SENT, seconds=9.0))
    return generate_latest(meters.registry).decode()


def names() -> set[str]:
    """Every name that a sample may have."""
    of_process = {sample.name for family in text_string_to_metric_families(process()) for sample in family.samples}
    return {name for name in (*GAUGES, *of_process) if not name.endswith("_created")}


def used(text: str) -> set[str]:
    return set(re.findall(r"\bcdc_\w+", text))


def test_what_is_exposed_is_what_stands_in_the_picture() -> None:
    text = exposed(picture(
        outbox=[count(due=7, retrying=2, oldest=NOW)], pauses=[pause("BY_HAND", "*")], gaps=[gap(repaired_at=None)],
        calls=calls({"ok": 9, "credits": 1}),
    ))  # fmt: skip

    for line in (
        'cdc_pending_keys{feed="contacts",lane="live",state="due"} 7.0',
        'cdc_state{state="paused"} 1.0',
        'cdc_state{state="healthy"} 0.0',
        'cdc_gaps{state="open"} 1.0',
        'cdc_pauses{reason="BY_HAND"} 1.0',
        'cdc_zoho_calls_recent{outcome="credits"} 1.0',
        "cdc_zoho_credits_limit 50250.0",
        "cdc_source_up 1.0",
        'cdc_slot_wal_status{status="reserved"} 1.0',
    ):
        assert line in text.splitlines()


def test_what_is_unknown_has_no_sample() -> None:
    text = exposed(picture({"free": {}, "reconciled": None, "volume": None}, slot=None))

    assert "cdc_source_up 0.0" in text
    absent = ("cdc_slot_lost", "cdc_capture_lag_seconds", "cdc_replication_free", "cdc_reconcile_age", "cdc_volume")
    assert not [line for line in text.splitlines() if line.startswith(absent)]


@pytest.mark.parametrize("shown", [shown for *_, shown in CASES] + [shown for _, shown in UNKNOWN])
def test_every_picture_can_be_exposed_and_read_again(shown: Picture) -> None:
    found = {family.name for family in text_string_to_metric_families(exposed(shown))}

    assert found <= set(GAUGES)
    assert {"cdc_state", "cdc_zoho_credits_used"} <= found


def test_processes_count_what_they_do() -> None:
    text = process()

    assert 'cdc_zoho_requests_total{kind="upsert",outcome="not_sent"} 1.0' in text
    assert 'cdc_zoho_request_seconds_count{kind="upsert"} 1.0' in text, "what was never answered took no time"
    assert "cdc_changes_captured_total 17.0" in text
    assert 'cdc_deliveries_total{feed="contacts",outcome="update"} 3.0' in text


def test_names_follow_the_conventions() -> None:
    for name, gauge in GAUGES.items():
        assert re.fullmatch(r"cdc_[a-z0-9]+(_[a-z0-9]+)*", name)
        assert not name.endswith(("_total", "_ms", "_minutes", "_mb", "_percent"))
        assert gauge.help.endswith(".")
        assert not {"id", "key", "record", "user", "email", "name"} & set(gauge.labels)
    assert all(not name.endswith("_total") for name in COUNTERS), "the library puts that behind"


def test_every_metric_that_a_rule_or_a_panel_names_is_there() -> None:
    rules = (DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    board = (DEPLOY / "grafana" / "dashboards" / "optio-cdc.json").read_text(encoding="utf-8")

    assert used(rules) | used(board) <= names()
    assert used(rules)
    assert used(board)


def test_the_dashboard_is_whole() -> None:
    board: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "optio-cdc.json").read_text("utf-8"))
    panels = board["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels) >= 10
    assert all(panel["title"] and panel["targets"] for panel in panels)
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(set(places)) == len(places)
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in panels)
    assert "prometheus" in (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text("utf-8")


@pytest.mark.parametrize(
    ("file", "write"), [("alerts.yml", prometheus.alerts_file), ("tests.yml", prometheus.tests_file)]
)
def test_the_rules_for_prometheus_are_those_of_our_own(file: str, write: Any) -> None:
    assert (DEPLOY / "prometheus" / file).read_text(encoding="utf-8") == write(), "run `make docs`"


def promtool(*arguments: str) -> str:
    found = program("promtool", "prometheus")
    require(found, "promtool")
    assert found is not None
    done = subprocess.run(
        [found[0], *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules_and_the_configuration() -> None:
    assert "SUCCESS" in promtool("check", "rules", "alerts.yml")
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_prometheus_alarms_where_we_do() -> None:
    """Every case of our own rules, as constant series: the same bounds, the same severities, the same times."""
    assert "SUCCESS" in promtool("test", "rules", "tests.yml")
