"""What the processes use, every few seconds, and whether it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

_WARM_UP_SECONDS = 30.0
_LEAST_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process: seconds since the run began, resident megabytes, open files and sockets."""

    at: float
    rss_mb: float
    handles: int


@dataclass(slots=True)
class Life:
    """One process from start to end.

    Attributes:
        role: which of the cast it played.
        end: how it ended: killed, stopped, or its exit code if that was its own doing.
    """

    role: str
    pid: int
    samples: list[Sample] = field(default_factory=list)
    end: str = "running"

    def look(self, at: float) -> None:
        """Take a sample; a process that is gone gives none."""
        try:
            process = psutil.Process(self.pid)
            with process.oneshot():
                self.samples.append(Sample(at, process.memory_info().rss / 2**20, process.num_fds()))
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return

    @property
    def seconds(self) -> float:
        return self.samples[-1].at - self.samples[0].at if self.samples else 0.0

    def warm(self) -> list[Sample]:
        """The samples after the first quarter, in which modules are loaded, pools filled and first batches sent."""
        warm_up = max(_WARM_UP_SECONDS, self.seconds / 4)
        return [s for s in self.samples if s.at - self.samples[0].at >= warm_up]

    def slopes(self) -> tuple[float, float] | None:
        """Fit lines: megabytes and handles an hour. None if it didn't live long enough to say."""
        warm = self.warm()
        if len(warm) < _LEAST_SAMPLES:
            return None
        at = [s.at / 3600 for s in warm]
        return slope(at, [s.rss_mb for s in warm]), slope(at, [float(s.handles) for s in warm])


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Give the slope of the line of least squares."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread if spread else 0.0
