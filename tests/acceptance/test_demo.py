"""`cdc run --demo --until-idle --json`: the whole story on embedded parts, in numbers."""

from __future__ import annotations

import pytest

from tests.acceptance.processes import Cdc

KEYS = {
    "changes_captured", "operations", "credits", "naive_credits", "contacts", "tasks", "notes", "lag_bytes",
    "latency_ms", "parked",
}  # fmt: skip
MOST_OF_NAIVE = 0.15


@pytest.mark.parametrize("profile", ["core", "2026"])
def test_demo_prints_one_json_object_and_logs_elsewhere(cdc: Cdc, profile: str) -> None:
    result = cdc.using(CDC_PROFILE=profile)("run", "--demo", "--until-idle", "--json")

    assert result.code == 0, result.err
    assert len(result.out.splitlines()) == 1
    report = result.json
    assert report.keys() == KEYS
    assert report["parked"] == 0
    assert report["latency_ms"].keys() == {"p50", "p99"}
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert report["lag_bytes"] < 1_000_000
    assert 0 < report["credits"] <= MOST_OF_NAIVE * report["naive_credits"]
    assert "A parent joins" in result.err
    assert "Traceback" not in result.err


def test_demo_delivers_what_the_story_says(cdc: Cdc) -> None:
    report = cdc("run", "--demo", "--until-idle", "--json").json

    contacts = report["operations"]["contacts"]
    assert report["contacts"] == contacts["created"] - contacts["withdrawn"]
    events = {feed: counts["created"] for feed, counts in report["operations"].items() if feed != "contacts"}
    withdrawn = {feed: counts.get("withdrawn", 0) for feed, counts in report["operations"].items()}
    assert report["tasks"] == events["quest_completions"] - withdrawn["quest_completions"]
    assert report["notes"] == events["badges_earned"] - withdrawn["badges_earned"]
    assert report["changes_captured"] > 300
