"""What capture and delivery of this process have counted, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from cdc.delivery.stats import Stats

COUNTERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = MappingProxyType(
    {
        "cdc_changes_captured": ("Row changes made durable by this process.", ()),
        "cdc_keys_marked": ("Keys that its capture marked dirty, once for each group.", ()),
        "cdc_deliveries": ("Operations of this process.", ("feed", "outcome")),
        "cdc_failed_calls": ("Its calls to sinks that failed.", ("feed", "reason")),
    }
)
"""Name without `_total` → (what it counts, labels)."""


class Counting(Collector):
    """Reads the counters when they are asked for.

    Args:
        captured: gives (changes, keys) of this process's capture.
        delivered: the worker's counters.
    """

    def __init__(self, captured: Callable[[], tuple[int, int]], delivered: Stats) -> None:
        self._captured = captured
        self._delivered = delivered

    def describe(self) -> Iterator[Metric]:
        """Name the metrics."""
        for name, (words, labels) in COUNTERS.items():
            yield CounterMetricFamily(name, words, labels=labels)

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        families = {name: CounterMetricFamily(name, words, labels=labels) for name, (words, labels) in COUNTERS.items()}
        changes, keys = self._captured()
        families["cdc_changes_captured"].add_metric([], changes)
        families["cdc_keys_marked"].add_metric([], keys)
        for labels, count in sorted(self._delivered.operations.items()):
            families["cdc_deliveries"].add_metric(labels, count)
        for labels, count in sorted(self._delivered.failed_calls.items()):
            families["cdc_failed_calls"].add_metric(labels, count)
        yield from families.values()
