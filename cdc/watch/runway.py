"""How far behind a position is, and how long a slot will last. Pure.

`wal_status` is no early warning: it says `unreserved` when the next checkpoint may take the slot. The free room is
`safe_wal_size`, and how fast it shrinks shows in a row of samples. Source: PostgreSQL documentation,
"pg_replication_slots".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from statistics import median
from typing import Final

from cdc.lsn import Lsn

WINDOW_SECONDS: Final = 600.0
"""The rate is that of so many seconds before the newest sample."""
_LEAST_SAMPLES: Final = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """The slot at one time.

    Attributes:
        end: where the server's WAL ended.
        safe_wal_bytes: WAL that could still be written before the slot is lost; None without a limit.
    """

    at: datetime
    end: Lsn
    safe_wal_bytes: int | None


def shrink_rate(samples: Sequence[Sample]) -> float | None:
    """Give how fast the free room shrinks, in bytes per second; None when it doesn't, or nobody can tell yet.

    The median of the slopes between all pairs (Theil-Sen) isn't moved by a burst, nor by the jumps with which a slot
    that follows gains room. When the newest sample has no less room than the oldest, nothing shrinks whatever lies
    between.

    Args:
        samples: oldest first. Those older than the window are left out.
    """
    if not samples:
        return None
    newest = samples[-1].at
    points = [
        ((sample.at - newest).total_seconds(), sample.safe_wal_bytes)
        for sample in samples
        if sample.safe_wal_bytes is not None and (newest - sample.at).total_seconds() <= WINDOW_SECONDS
    ]
    if len(points) < _LEAST_SAMPLES or points[-1][1] >= points[0][1]:
        return None
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] > a[0]]
    slope = median(slopes) if slopes else 0.0
    return -slope if slope < 0 else None


def runway_seconds(samples: Sequence[Sample], safe_wal_bytes: int | None) -> float | None:
    """Give how long the slot will last at the present rate.

    Args:
        samples: oldest first.
        safe_wal_bytes: the free room now; None without a limit.

    Returns:
        0 if there is no room left; None without a limit, or when the room doesn't shrink.
    """
    if safe_wal_bytes is None:
        return None
    if safe_wal_bytes <= 0:
        return 0.0
    rate = shrink_rate(samples)
    return None if rate is None else safe_wal_bytes / rate


def seconds_behind(lsn: Lsn, samples: Sequence[Sample], now: datetime, end: Lsn) -> float | None:
    """Give how long ago the server's WAL ended at `lsn`: how old the oldest change is that lies behind it.

    Args:
        lsn: the position.
        samples: oldest first.
        now: the server's time.
        end: of its WAL now.

    Returns:
        0 if nothing lies behind it; None if that is longer ago than the samples reach.
    """
    if lsn >= end:
        return 0.0
    later_at, later_end = now, end
    for sample in reversed(samples):
        if sample.end <= lsn:
            part = (lsn - sample.end) / max(1, later_end - sample.end)
            reached = sample.at + (later_at - sample.at) * part
            return max(0.0, (now - reached).total_seconds())
        later_at, later_end = sample.at, sample.end
    return None
