"""Numbers, times and names as a person reads them. Times are UTC, as in the log."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sinks.reasons import Reason

NONE: Final = "–"
_KILO: Final = 1024
_UNITS: Final = ("kB", "MB", "GB", "TB")
_LENGTHS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))
_KEY_SHOWN: Final = 36


def number(value: float | None) -> str:
    """Write a whole number with its thousands apart."""
    return NONE if value is None else f"{value:,.0f}"


def size(count: int | None) -> str:
    """Write a number of bytes."""
    if count is None:
        return NONE
    if count < _KILO:
        return f"{count} B"
    power = next(n for n in range(len(_UNITS)) if n == len(_UNITS) - 1 or round(count / _KILO ** (n + 1), 1) < _KILO)
    value = count / _KILO ** (power + 1)
    return f"{value:.0f} {_UNITS[power]}" if power == 0 else f"{value:.1f} {_UNITS[power]}"


def duration(seconds: float | None) -> str:
    """Write a length of time in one unit, two where the larger one is small: `45 s`, `3 min`, `1 h 20 min`."""
    if seconds is None:
        return NONE
    seconds = max(0.0, seconds)
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for n, (unit, length) in enumerate(_LENGTHS):
        if seconds >= length:
            count, rest = divmod(round(seconds), length)
            smaller = next((u for u in _LENGTHS[n + 1 :]), ("s", 1))
            more = rest // smaller[1] if count < 3 else 0
            return f"{count} {unit}" + (f" {more} {smaller[0]}" if more else "")
    return f"{seconds:.0f} s"


def milliseconds(value: float | None) -> str:
    """Write a length of time that is given in milliseconds."""
    return NONE if value is None else duration(value / 1000)


def share(value: float | None) -> str:
    """Write a share as per cent; never 100 while something is missing, and never 0 while there is something."""
    if value is None:
        return NONE
    if 0 < value < 1:
        value = min(max(value, 0.001), 0.999)
    return f"{value:.0%}" if value in {0, 1} else f"{value:.1%}"


def moment(at: datetime | None) -> str:
    """Write a time in full."""
    return NONE if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def clock(at: datetime | None) -> str:
    """Write the time of day."""
    return NONE if at is None else f"{at:%H:%M:%S}"


def minute(at: datetime | None) -> str:
    """Write the time of day without the seconds."""
    return NONE if at is None else f"{at:%H:%M}"


def ago(at: datetime | None, now: datetime) -> str:
    """Say how long ago something was."""
    return "never" if at is None else f"{duration((now - at).total_seconds())} ago"


def iso(at: datetime | None) -> str:
    """Write a time for a machine."""
    return "" if at is None else at.isoformat(timespec="seconds")


def short(key: str) -> str:
    """Cut a long key; its end is left, which tells apart better than the beginning of a composed one."""
    return key if len(key) <= _KEY_SHOWN else f"{key[:16]}…{key[-16:]}"


def counted(count: int, one: str, many: str = "") -> str:
    """Write a number with its noun."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def meaning(reason: str | None) -> str:
    """Say what a reason means; empty for one that this version doesn't know."""
    known = Reason.__members__.get(reason or "")
    return "" if known is None else known.meaning


def hint(reason: str | None) -> str:
    """Say what helps against a reason."""
    known = Reason.__members__.get(reason or "")
    return "" if known is None else known.hint
