"""differences.csv: one line for each field that differs, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import Final

from cdc.repair.reconcile.differences import Difference
from cdc.repair.reconcile.report import Report, action

COLUMNS: Final = (
    "run", "feed", "external_id", "zoho_id", "class", "field", "source_value", "ledger_value", "crm_value", "action",
    "reason",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def as_csv(report: Report, show: Callable[[object], str]) -> str:
    """Write the file.

    Args:
        report: what was found.
        show: writes a value, or what of it may be seen.
    """
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    run = f"{report.run.started_at:%Y-%m-%dT%H:%MZ}"
    for difference in report.differences:
        head = [run, difference.feed, difference.record_id or "", " ".join(difference.crm_ids), difference.kind.value]
        tail = [action(report, difference), difference.why]
        for cells in _fields(difference, show):
            writer.writerow([_safe(cell) for cell in (*head, *cells, *tail)])
    return out.getvalue()


def _fields(difference: Difference, show: Callable[[object], str]) -> Iterator[tuple[str, str, str, str]]:
    for field in difference.fields:
        yield field.name, show(field.source), field.ledger, show(field.crm)
    if not difference.fields:
        yield "", "", "", ""


def _safe(cell: str) -> str:
    """Keep a spreadsheet from taking a text for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
