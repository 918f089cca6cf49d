"""From when to when: what a person asks for, and the stretch of the journal that holds it. Pure.

A window is replayed whole or not at all: what the journal no longer holds, or never held, is said with the nearest
bound that there is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cdc.errors import ConfigError
from cdc.lsn import Lsn
from cdc.state.journal import JournalGap, Span

Bound = Lsn | datetime

_AGE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_TIME_FIX = "write an ISO time such as 2026-11-26T09:30:00+01:00 (UTC without a zone), or an age such as 90m, 6h, 2d"
_SWEEP = "`cdc sweep`, which needs no journal: it compares every record"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a person asks for, both ends included. `upper` None: everything that is captured by now."""

    lower: Bound
    upper: Bound | None = None


def parse_bounds(
    *, from_lsn: str | None, since: str | None, to_lsn: str | None, until: str | None, now: datetime
) -> Bounds:
    """Read the four options.

    Raises:
        ConfigError: naming the option, what is wrong with it and what it takes.
    """
    lower = _one("--from-lsn", from_lsn, "--since", since, now)
    upper = _one("--to-lsn", to_lsn, "--until", until, now)
    if lower is None:
        raise ConfigError("say from when", fix="give --from-lsn, or --since with a time or an age such as 6h")
    same_kind = isinstance(lower, Lsn) == isinstance(upper, Lsn)
    if upper is not None and same_kind and upper < lower:  # type: ignore[operator]  # they are of one kind
        raise ConfigError(f"the window ends at {shown(upper)}, before it begins at {shown(lower)}", fix="swap the two")
    return Bounds(lower, upper)


def length_seconds(option: str, text: str) -> float:
    """Read a length of time such as `90m`, `2h` or `1d`.

    Raises:
        ConfigError: naming the option.
    """
    length = _AGE.fullmatch(text.strip())
    if length is None or not float(length[1]):
        raise ConfigError(f"{option}: {text!r} is not a length of time", fix="write one such as 90s, 10m, 2h or 1d")
    return float(length[1]) * _SECONDS[length[2]]


def _one(lsn_option: str, lsn: str | None, time_option: str, time: str | None, now: datetime) -> Bound | None:
    if lsn is not None and time is not None:
        raise ConfigError(f"{lsn_option} and {time_option} say the same thing twice", fix="leave one of them out")
    if lsn is not None:
        try:
            return Lsn.parse(lsn)
        except ValueError as error:
            raise ConfigError(f"{lsn_option}: {error}", fix="`cdc journal` shows which LSNs there are") from None
    return None if time is None else _time(time_option, time.strip(), now)


def _time(option: str, text: str, now: datetime) -> datetime:
    age = _AGE.fullmatch(text)
    try:
        time = now - timedelta(seconds=float(age[1]) * _SECONDS[age[2]]) if age else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ConfigError(f"{option}: {text!r} is neither a time nor an age", fix=_TIME_FIX) from None
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    if time > now:
        raise ConfigError(f"{option}: {shown(time)} lies in the future; it is {shown(now)}", fix=_TIME_FIX)
    return time


def shown(bound: Bound) -> str:
    """Print an LSN as Postgres does, and a time in UTC."""
    return str(bound) if isinstance(bound, Lsn) else f"{bound.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def choose_span(spans: Sequence[Span], gaps: Sequence[JournalGap], bounds: Bounds) -> Span:
    """Find the span that holds the whole window.

    Args:
        spans: oldest first; the last one is open. LSNs mean the WAL of that one's cluster.
        gaps: of the same slot.
        bounds: both ends.

    Raises:
        ConfigError: if no span does; it names the nearest bound that is there, and the sweep.
    """
    newest = spans[-1]
    span = _holding(spans, bounds.lower)
    if span is None:
        raise _beyond(spans, gaps, bounds.lower)
    end = newest if bounds.upper is None else _holding(spans, bounds.upper)
    if end is not span:
        later = spans[spans.index(span) + 1]
        raise ConfigError(
            f"a gap lies in this window: {_cause(gaps, span)}. Nothing is known of what changed between "
            f"{span.to_lsn} and {later.from_lsn}",
            fix=f"use {_SWEEP}; or begin at {_start(later, bounds.lower)}",
        )
    for gap in gaps:  # recorded in the middle of a span, by whoever
        if _is_during(gap, span) and _overlaps(gap, span, bounds):
            raise ConfigError(f"a gap lies in this window: {gap.cause}, from {gap.from_lsn}", fix=f"use {_SWEEP}")
    return span


def _holding(spans: Sequence[Span], bound: Bound) -> Span | None:
    """Find the newest span that a bound lies in; what comes after the newest of all lies in that one."""
    for span in reversed(spans):
        if isinstance(bound, Lsn):
            fits = span.system_id == spans[-1].system_id and span.from_lsn <= bound
            fits = fits and (span.is_open or bound < span.to_lsn)
        else:
            fits = span.from_time <= bound and (span.to_time is None or bound <= span.to_time)
        if fits:
            return span
    return None


def _beyond(spans: Sequence[Span], gaps: Sequence[JournalGap], bound: Bound) -> ConfigError:
    """Say why a bound lies in no span."""
    where = [span for span in spans if not isinstance(bound, Lsn) or span.system_id == spans[-1].system_id]
    later = [span for span in where if (span.from_lsn if isinstance(bound, Lsn) else span.from_time) > bound]  # type: ignore[operator]  # of one kind
    nearest = later[0] if later else where[-1]
    fix = f"begin at {_start(nearest, bound)}, or use {_SWEEP}"
    before = spans.index(nearest) - 1
    if before >= 0 and spans[before] in where:
        return ConfigError(f"{shown(bound)} lies in a gap of the journal: {_cause(gaps, spans[before])}", fix=fix)
    return ConfigError(
        f"{shown(bound)} is older than the journal, which is complete from {nearest.from_lsn} "
        f"({shown(nearest.from_time)}) on",
        fix=fix,
    )


def _start(span: Span, like: Bound) -> str:
    if isinstance(like, Lsn):
        return f"--from-lsn {span.from_lsn} ({shown(span.from_time)})"
    return f"--since {shown(span.from_time)} ({span.from_lsn})"


def _cause(gaps: Sequence[JournalGap], ended: Span) -> str:
    return next((g.cause for g in reversed(gaps) if g.from_lsn == str(ended.to_lsn)), "the stream broke off")


def _is_during(gap: JournalGap, span: Span) -> bool:
    """Tell whether a gap was recorded while a span went on: not the one before it, nor the one that ended it."""
    if span.ended_at is not None and (gap.detected_at > span.ended_at or gap.from_lsn == str(span.to_lsn)):
        return False
    return gap.detected_at > span.began_at


def _overlaps(gap: JournalGap, span: Span, bounds: Bounds) -> bool:
    """Tell whether a gap may touch the window; a bound that is a time doesn't narrow it."""
    lower = bounds.lower if isinstance(bounds.lower, Lsn) else span.from_lsn
    upper = bounds.upper if isinstance(bounds.upper, Lsn) else span.to_lsn
    begin, end = Lsn.parse(gap.from_lsn), None if gap.to_lsn is None else Lsn.parse(gap.to_lsn)
    return begin <= upper and (end is None or end > lower)
