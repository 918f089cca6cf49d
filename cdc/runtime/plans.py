"""When a job is due: at times of day, or so often. In UTC, and from the clock alone, so that all processes agree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Protocol


class Plan(Protocol):
    """A row of moments without an end."""

    @property
    def waits_at_first(self) -> bool:
        """True if a job that was never seen before isn't due for a moment that has passed already."""

    def last(self, now: datetime) -> datetime:
        """Give the latest moment that isn't after `now`."""

    def next(self, now: datetime) -> datetime:
        """Give the earliest moment after `now`."""


@dataclass(frozen=True, slots=True)
class Daily:
    """At some times of each day, UTC."""

    times: tuple[time, ...]

    @property
    def waits_at_first(self) -> bool:
        """True: a daily job that is set up at noon begins in the night."""
        return True

    def last(self, now: datetime) -> datetime:
        """Give the latest moment that isn't after `now`."""
        return max(moment for moment in self._around(now) if moment <= now)

    def next(self, now: datetime) -> datetime:
        """Give the earliest moment after `now`."""
        return min(moment for moment in self._around(now) if moment > now)

    def _around(self, now: datetime) -> list[datetime]:
        today = now.astimezone(UTC).date()
        days = (today - timedelta(days=1), today, today + timedelta(days=1))
        return [datetime.combine(day, at, UTC) for day in days for at in self.times]

    def __str__(self) -> str:
        return "daily at " + ", ".join(f"{at:%H:%M}" for at in self.times) + " UTC"


@dataclass(frozen=True, slots=True)
class Every:
    """At the end of each window of so many minutes, counted from 1970."""

    minutes: float

    @property
    def waits_at_first(self) -> bool:
        """False: what is done every few minutes may as well begin now."""
        return False

    def last(self, now: datetime) -> datetime:
        """Give the latest moment that isn't after `now`."""
        seconds = self.minutes * 60
        return datetime.fromtimestamp(now.timestamp() // seconds * seconds, UTC)

    def next(self, now: datetime) -> datetime:
        """Give the earliest moment after `now`."""
        return self.last(now) + timedelta(minutes=self.minutes)

    def __str__(self) -> str:
        return f"every {self.minutes:g} min"
