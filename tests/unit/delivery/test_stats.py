from __future__ import annotations

import itertools
import json

from cdc.delivery.stats import Stats


def test_percentiles_of_nothing_are_unknown() -> None:
    assert Stats().percentiles() == [None, None]


def test_percentiles_come_from_the_samples() -> None:
    stats = Stats()
    for n in range(100):
        stats.add_latency(float(n))
    assert stats.percentiles((0.0, 0.5, 0.99)) == [0.0, 50.0, 99.0]


def test_the_reservoir_is_capped_and_still_takes_new_samples() -> None:
    chances = itertools.cycle([0.0, 0.999])
    stats = Stats(chance=lambda: next(chances))
    for n in range(10_000):
        stats.add_latency(float(n))
    assert len(stats.latencies_ms) == 4096
    assert max(stats.latencies_ms) > 4096


def test_the_snapshot_is_json_by_feed() -> None:
    stats = Stats()
    stats.operations["contacts", "created"] += 2
    stats.failed_calls["contacts", "UNAVAILABLE"] += 1
    snapshot = json.loads(json.dumps(stats.snapshot()))
    assert snapshot["operations"] == {"contacts": {"created": 2}}
    assert snapshot["failed_calls"] == {"contacts": {"UNAVAILABLE": 1}}
