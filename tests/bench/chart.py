"""The races as a picture: changes a second of everybody on each backlog, drawn for light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from tests.bench.capture import LINES, SHAPES, Race, Standing
from tests.bench.readers import LIMIT, OURS, OURS_POLLING

_WIDTH: Final = 980
_PANEL: Final = _WIDTH // 2
_NAMES: Final = 190  # pixels for the readers' names
_BARS: Final = 200  # for the longest bar
_ROW: Final = 20
_HEAD: Final = 40

_STYLE: Final = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 13px; }
  .number { font-variant-numeric: tabular-nums; fill: #59636e; }
  .ours { fill: #0969da; } .limit { fill: #59636e; } .peer { fill: #afb8c1; }
  .spread { stroke: #1f2328; stroke-width: 1; fill: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .number { fill: #9198a1; }
    .ours { fill: #4493f8; } .limit { fill: #9198a1; } .peer { fill: #484f58; }
    .spread { stroke: #e6edf3; }
  }
"""


def draw(races: Sequence[Race]) -> str:
    """Make the picture: a column for each line, a row of panels for each shape of transaction."""
    rows = 1 + max(len(race.standings) for race in races)
    height = _HEAD + rows * _ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height * len(SHAPES)}" role="img">',
        "<title>Changes a second on the same backlog: optio-cdc, pg_recvlogical and peers</title>",
        f"<style>{_STYLE}</style>",
    ]
    for race in races:
        x = LINES.index(race.line) * _PANEL
        y = [rows for rows, _ in SHAPES].index(race.rows) * height
        parts += [f'<g transform="translate({x} {y})">', *_panel(race), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(race: Race) -> Iterator[str]:
    yield f'<text class="title" x="10" y="24">{escape(race.title)}, changes/s</text>'
    longest = max(standing.spread[1] for standing in race.standings)
    for number, standing in enumerate(sorted(race.standings, key=lambda standing: -standing.rate)):
        yield from _bar(standing, _HEAD + number * _ROW, _BARS / longest)


def _bar(standing: Standing, y: int, scale: float) -> Iterator[str]:
    reader = standing.reader
    kind = "ours" if reader in (OURS, OURS_POLLING) else "limit" if reader is LIMIT else "peer"
    slowest, quickest = (_NAMES + rate * scale for rate in standing.spread)
    middle = y + 7
    yield f'<text x="{_NAMES - 8}" y="{y + 11}" text-anchor="end">{escape(reader.name)}</text>'
    yield f'<rect class="{kind}" x="{_NAMES}" y="{y}" width="{standing.rate * scale:.1f}" height="14" rx="2"/>'
    yield f'<path class="spread" d="M{slowest:.1f} {middle}H{quickest:.1f}"/>'
    yield f'<text class="number" x="{max(quickest, _NAMES) + 8:.1f}" y="{y + 11}">{standing.rate:,.0f}</text>'
