"""Counters of one worker process, for the live view and for `--json`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_RESERVOIR = 4096


@dataclass(slots=True)
class Stats:
    """What a worker has done since it started.

    Attributes:
        operations: by feed and outcome (an effect, `parked`, `retrying`, `unknown`).
        keys: settled keys by feed and fate.
        calls: calls to sinks by feed.
        failed_calls: by feed and reason.
        latencies_ms: from commit to the sink's answer; an even sample of all, at most 4,096.
    """

    operations: Counter[tuple[str, str]] = field(default_factory=Counter)
    keys: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    failed_calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    chance: Callable[[], float] = random.random
    _seen: int = 0

    def add_latency(self, milliseconds: float) -> None:
        """Add one sample, in place of a random older one once the reservoir is full."""
        self._seen += 1
        if len(self.latencies_ms) < _RESERVOIR:
            self.latencies_ms.append(milliseconds)
            return
        place = int(self.chance() * self._seen)
        if place < _RESERVOIR:
            self.latencies_ms[place] = milliseconds

    def percentiles(self, shares: Sequence[float] = (0.5, 0.99)) -> list[float | None]:
        """Give the latencies below which these shares of the samples lie; None without samples."""
        ordered = sorted(self.latencies_ms)
        if not ordered:
            return [None for _ in shares]
        return [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in shares]

    def snapshot(self) -> dict[str, object]:
        """Give everything as JSON values."""
        p50, p99 = self.percentiles()
        return {
            "operations": _nested(self.operations),
            "keys": _nested(self.keys),
            "calls": dict(self.calls),
            "failed_calls": _nested(self.failed_calls),
            "latency_ms": {"p50": p50, "p99": p99, "samples": len(self.latencies_ms)},
        }


def _nested(counter: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (feed, name), count in sorted(counter.items()):
        nested.setdefault(feed, {})[name] = count
    return nested
