"""The report of a run, as numbers and as JSON."""

from __future__ import annotations

import dataclasses

from cdc.runtime.report import Report

REPORT = Report(
    changes_captured=10,
    operations={"contacts": {"created": 2}},
    credits=3,
    naive_credits=12,
    records={"contacts": 2, "tasks": 0, "notes": 0},
    lag_bytes=None,
    latency_ms={"p50": 1.0, "p99": 2.0},
    parked=0,
    dirty=4,
    pauses=[],
)


def test_json_has_the_promised_keys_and_no_others() -> None:
    assert set(REPORT.as_json()) == {
        "changes_captured", "operations", "credits", "naive_credits", "contacts", "tasks", "notes", "lag_bytes",
        "latency_ms", "parked",
    }  # fmt: skip


def test_saved_is_a_share_and_nothing_for_nothing() -> None:
    assert REPORT.saved == 0.75
    assert dataclasses.replace(REPORT, naive_credits=0).saved == 0.0


def test_what_waits_is_no_degradation_and_what_is_parked_is_one() -> None:
    assert not REPORT.is_degraded
    assert dataclasses.replace(REPORT, parked=1).is_degraded
