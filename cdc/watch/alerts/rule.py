"""What a rule of an alert is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from cdc.state.alerts import Severity
from cdc.watch.outlook import Picture


@dataclass(frozen=True, slots=True)
class Measured:
    """What a rule measured.

    Attributes:
        value: None if there is nothing of the kind here, as with a slot's WAL where there is no slot.
        detail: names of feeds and reasons that belong to it. Never a value of a row.
    """

    value: float | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing could be measured, which isn't the same as being fine."""

    why: str


Reading = Measured | Unknown


class Unit(Enum):
    """What a value is."""

    COUNT = "count"
    SHARE = "share"
    SECONDS = "seconds"
    BYTES = "bytes"
    TIMES = "times"

    def write(self, value: float) -> str:
        """Write a value for people."""
        if math.isinf(value):
            return "nothing at all" if self is Unit.TIMES else "endless"
        if self is Unit.SHARE:
            return f"{value:.1%}"
        if self is Unit.BYTES:
            return f"{value / 1024**2:,.0f} MB"
        if self is Unit.SECONDS:
            return duration(value)
        return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def duration(seconds: float) -> str:
    """Write a time span: the two largest units of it at most."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7_200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole / 3_600:.1f} h"
    return f"{whole / 86_400:.1f} days"


@dataclass(frozen=True, slots=True)
class Level:
    """A bound, and how bad it is to be beyond it.

    Attributes:
        bound: the value must be greater, or less where the rule says so.
        hold: seconds for which it must have been so.
    """

    severity: Severity
    bound: float
    hold: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One alert.

    Attributes:
        name: `Cdc…`.
        anchor: of the runbook's section.
        levels: the mildest first.
        measure: gives the value.
        query: gives the same value in Prometheus.
        unit: of the value.
        what: what is wrong, in a sentence that begins in lower case; `{value}` stands for the value.
        next: what happens if nobody does anything.
        command: the first to run.
        below: a bound is passed downwards.
        hidden_by: rules that explain this one; while one of them is beyond a bound, this one isn't told.
        graced: it isn't told of while a process has only just begun to capture.
        in_pause: it is told of even while a person has paused delivery.
    """

    name: str
    anchor: str
    levels: tuple[Level, ...]
    measure: Callable[[Picture], Reading]
    query: str
    unit: Unit = Unit.COUNT
    what: str
    next: str
    command: str
    below: bool = False
    hidden_by: tuple[str, ...] = ()
    graced: bool = False
    in_pause: bool = True

    def beyond(self, level: Level, value: float | None) -> bool:
        """Tell whether a value is beyond a bound."""
        if value is None:
            return False
        return value < level.bound if self.below else value > level.bound

    def say(self, value: float | None) -> str:
        """Say what is wrong."""
        return self.what.format(value="" if value is None else self.unit.write(value))


def bounds(*, info: float | None = None, warning: float | None = None, critical: float | None = None,
           hold: float = 0.0, critical_hold: float | None = None) -> tuple[Level, ...]:  # fmt: skip
    """Make the levels of a rule; `hold` is for all of them unless the critical one has its own."""
    last = hold if critical_hold is None else critical_hold
    found = (
        (Severity.INFO, info, hold),
        (Severity.WARNING, warning, hold),
        (Severity.CRITICAL, critical, last),
    )
    return tuple(Level(severity, bound, seconds) for severity, bound, seconds in found if bound is not None)
