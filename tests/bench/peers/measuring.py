"""What an adapter measures of itself. Plain Python without packages: it runs in the peers' environments."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any


class Meter:
    """Counts changes, from the moment it is made until as many have come as were asked for.

    Args:
        changes: how many.
        with_times: note when each came; for latency, not for speed.
    """

    def __init__(self, changes: int, *, with_times: bool = False) -> None:
        self._missing = changes
        self._changes = changes
        self._with_times = with_times
        self._times: list[float] = []
        self.begin()

    def begin(self) -> None:
        """Measure from now on; for what has to start up first."""
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def count(self, changes: int = 1) -> bool:
        """Take note of changes that arrived; True once there are enough."""
        self._missing -= changes
        if self._with_times:
            self._times += [time.time()] * changes
        return self._missing <= 0

    def report(self) -> None:
        """Print what was found."""
        seconds, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        found = {
            "changes": self._changes - self._missing,
            "seconds": seconds,
            "cpu_seconds": cpu,
            "peak_mb": peak_memory_mb(),
            "times": self._times,
        }
        print(json.dumps(found), flush=True)


def asked() -> dict[str, Any]:
    """Read the adapter's argument."""
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    return wanted


def peak_memory_mb(pid: int | str = "self") -> float:
    """Peak resident memory of a process. What `getrusage` gives would include the parent's, before the exec."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    if pid != "self":
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform == "linux" else 1024 * 1024)
