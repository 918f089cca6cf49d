"""Failures as lines of a spreadsheet. Pure."""

from __future__ import annotations

import csv
import io
from typing import Final

from cdc.state.failures import Failure
from cdc.web.dashboard.formats import hint

_COLUMNS: Final = (
    "feed",
    "key",
    "lane",
    "reason",
    "detail",
    "attempts",
    "parked_at",
    "dirty_at",
    "first_lsn",
    "last_lsn",
    "hint",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def line(failure: Failure) -> str:
    """Write one. There is no value of a row in it."""
    return _written(
        [
            failure.feed, failure.key, failure.lane.value, failure.reason, failure.detail, str(failure.attempts),
            failure.parked_at.isoformat(), failure.dirty_at.isoformat(), _text(failure.first_lsn),
            _text(failure.last_lsn), hint(failure.reason),
        ]
    )  # fmt: skip


def harmless(cell: str) -> str:
    """Keep a spreadsheet from taking a cell for a formula: with a quote before it, it is text.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _written(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow([harmless(cell) for cell in cells])
    return out.getvalue()


HEAD: Final = _written(list(_COLUMNS))
