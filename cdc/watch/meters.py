"""What this process counts as it goes, for Prometheus; it begins at zero with the process."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric

from sinks.calls import Called

_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Meters:
    """Counters in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._calls = Counter(
            "cdc_zoho_requests", "Calls to the CRM by this process.", ["kind", "outcome"], registry=self.registry
        )
        self._seconds = Histogram(
            "cdc_zoho_request_seconds", "Time that answered calls took.", ["kind"], buckets=_BUCKETS,
            registry=self.registry,
        )  # fmt: skip

    def described(self) -> list[tuple[Metric, tuple[str, ...]]]:
        """Give each metric without samples, and the names of its labels."""
        return [(metric, ("kind", "outcome")) for metric in self._calls.describe()] + [
            (metric, ("kind",)) for metric in self._seconds.describe()
        ]

    def called(self, called: Called) -> None:
        """Count a call."""
        self._calls.labels(called.kind, called.outcome.value).inc()
        if called.outcome.is_answered:
            self._seconds.labels(called.kind).observe(called.seconds)
