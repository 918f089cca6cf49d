"""The simulator's clock: real time, which a test may move forward, and the organisation's own zone."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

ORG_ZONE = timezone(timedelta(hours=-7))
ORG_ZONE_NAME = "America/Phoenix"
"""No summer time there, so the fixed offset is right all year and needs no zone database."""


class Clock:
    """Seconds since the epoch, plus what has been skipped."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._skipped

    def advance(self, seconds: float) -> None:
        """Skip time. Tokens expire and credits come back, nothing is slept."""
        if seconds < 0:
            raise ValueError("the clock only goes forward")
        self._skipped += seconds


def iso(seconds: float) -> str:
    """A time as Zoho prints it: ISO 8601 to the second, in the organisation's zone."""
    return datetime.fromtimestamp(int(seconds), ORG_ZONE).isoformat()


def to_org_zone(moment: datetime) -> str:
    """An aware time as Zoho stores and returns it."""
    return moment.astimezone(ORG_ZONE).isoformat()


def parse_iso(text: str) -> float | None:
    """Seconds since the epoch of an ISO 8601 time with offset; None if it isn't one."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return moment.astimezone(UTC).timestamp()
