"""Charts as SVG, made here and not in the browser. Pure.

No styles are written into them, so that they need nothing of the content security policy: colours come from the classes
in cdc.css. Each has a title and a description, and the page shows the same numbers as a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from markupsafe import Markup, escape

WIDTH: Final = 360
HEIGHT: Final = 92
_BASE: Final = HEIGHT - 16
"""Where the axis is; below it stand the hours."""
_TOP: Final = 6
_HEADROOM: Final = 1.15
_FLAT_SHARE: Final = 0.2
"""A limit that is so far above everything would press it flat, so the scale ends below it."""
_HOURS: Final = (6, 12, 18)
DAY: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a time."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Bar:
    """What lies one upon the other in an interval; the second part is the bad one."""

    at: datetime
    good: int
    bad: int


def bars(data: Sequence[Bar], until: datetime, step: timedelta, *, title: str, description: str) -> Markup:
    """Draw the intervals of the 24 hours before `until`."""
    top = max((bar.good + bar.bad for bar in data), default=0)
    width = WIDTH * (step / DAY)
    drawn = []
    for bar in data:
        x = _x(bar.at, until)
        if not 0 <= x < WIDTH:
            continue
        good, bad = (_height(value, top) for value in (bar.good, bar.bad))
        drawn += [_rect("good", x, _BASE - good, width, good), _rect("bad", x, _BASE - good - bad, width, bad)]
    return _svg("bars", title, description, [*_axis(until), *drawn])


def area(
    data: Sequence[Point], until: datetime, *, limit: float | None, title: str, description: str, stepped: bool = False
) -> Markup:
    """Draw a value over the 24 hours before `until`, with its limit where that lies within the picture.

    Args:
        data: oldest first.
        until: the right end.
        limit: drawn as a line; None if there is none.
        title: what it is.
        description: what it says, for who can't see it.
        stepped: the value jumps at each point, instead of growing towards it.
    """
    top = scale_of([point.value for point in data], limit)
    spots = [(max(0.0, _x(p.at, until)), _BASE - _height(p.value, top)) for p in data if _x(p.at, until) <= WIDTH]
    drawn = []
    if spots:
        line = _path(spots, stepped=stepped)
        closed = f"{line}V{_BASE}H{_number(spots[0][0])}Z"
        drawn = [
            Markup('<path class="fill" d="{}"/>').format(closed),
            Markup('<path class="line" d="{}"/>').format(line),
        ]
    if limit is not None and limit <= top:
        y = _number(_BASE - _height(limit, top))
        drawn.append(Markup('<path class="limit" d="M0 {}H{}"/>').format(y, WIDTH))
    return _svg("area", title, description, [*_axis(until), *drawn])


def scale_of(values: Sequence[float], limit: float | None) -> float:
    """Give the upper end of the scale: the limit is on it, unless everything would lie flat on the ground then."""
    highest = max(values, default=0.0)
    if limit is not None and highest >= limit * _FLAT_SHARE:
        return max(limit, highest) * 1.05
    return highest * _HEADROOM


def sparkline(values: Sequence[float], *, title: str) -> Markup:
    """Draw a small line without axes."""
    highest = max(values, default=0.0)
    step = 80 / max(1, len(values) - 1)
    spots = [(n * step, 18 - (16 * value / highest if highest else 0)) for n, value in enumerate(values)]
    line = _path(spots, stepped=False) if spots else ""
    return Markup(
        '<svg class="spark" viewBox="0 0 80 20" role="img" preserveAspectRatio="none"><title>{}</title>'
        '<path class="line" d="{}"/></svg>'
    ).format(title, line)


def _x(at: datetime, until: datetime) -> float:
    return WIDTH * (1 - (until - at) / DAY)


def _height(value: float, top: float) -> float:
    """Give a height in the picture; what is there at all can be seen."""
    if value <= 0 or top <= 0:
        return 0.0
    return max(1.0, (_BASE - _TOP) * value / top)


def _axis(until: datetime) -> list[Markup]:
    marks = [Markup('<path class="axis" d="M0 {y}H{w}"/>').format(y=_BASE, w=WIDTH)]
    for hours in _HOURS:
        at = until - DAY + timedelta(hours=hours)
        marks.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
                _number(_x(at, until)), HEIGHT - 3, f"{at:%H:%M}"
            )
        )
    ends = ((0, "start", f"{until - DAY:%H:%M}"), (WIDTH, "end", "now"))
    return marks + [
        Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, HEIGHT - 3, anchor, words)
        for x, anchor, words in ends
    ]


def _rect(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    if height <= 0:
        return Markup("")
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        kind, _number(x), _number(y), _number(max(0.8, width - 0.6)), _number(height)
    )


def _path(spots: Sequence[tuple[float, float]], *, stepped: bool) -> str:
    (x, y), *rest = spots
    parts = [f"M{_number(x)} {_number(y)}"]
    for x, y in rest:
        parts.append(f"H{_number(x)}V{_number(y)}" if stepped else f"L{_number(x)} {_number(y)}")
    return "".join(parts)


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _svg(kind: str, title: str, description: str, parts: Sequence[Markup]) -> Markup:
    name = "".join(sign if sign.isalnum() else "-" for sign in title.lower())
    return Markup(
        '<svg class="chart {kind}" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
        '<title id="{name}-t">{title}</title><desc id="{name}-d">{description}</desc>{parts}</svg>'
    ).format(
        kind=kind, width=WIDTH, height=HEIGHT, name=escape(name), title=title, description=description,
        parts=Markup("").join(parts),
    )  # fmt: skip
