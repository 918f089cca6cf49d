"""The two files of a Bulk Write: the CSV that goes in, and the one that says what became of each row. No I/O.

https://www.zoho.com/crm/developer/docs/api/v8/bulk-write/limitations.html and `download-result.html` beside it.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from sinks.base import Delivered, Effect, FieldValue, Operation, Outcome, Refused
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.responses import reason_of

CSV_BYTES = 25_000_000
"""Largest CSV; Zoho says 25 MB, of the CSV and of the ZIP."""

_UNFIT = re.compile(r"[\r\n\0]")
_NAME = re.compile(r"[A-Za-z$][A-Za-z0-9_$]{0,59}")
_ERROR = re.compile(r"\s*([A-Z][A-Z0-9_]{2,59})\s*(?:-\s*(.*))?", re.DOTALL)
_EFFECTS: Mapping[str, Effect] = MappingProxyType({"ADDED": Effect.CREATED, "UPDATED": Effect.UPDATED})
_TOLD = ("STATUS", "RECORD_ID", "ERRORS")


def cell(value: FieldValue) -> str:
    """Write a value as Zoho reads it from a CSV; null is an empty cell, which clears.

    Dates and times are text already, ISO 8601 with an offset as in the JSON calls.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def fits(operation: Operation) -> bool:
    """Tell whether a record can stand in a CSV.

    Zoho doesn't say what it makes of a line break inside quotes, so it isn't tried.
    """
    return not any(isinstance(v, str) and _UNFIT.search(v) for v in operation.fields.values())


class CsvFile:
    """A ZIP with one CSV, written row by row; only its compressed form is held.

    Args:
        name: of the CSV.
        external_name: the field with our record id; the first column, since the result shows no more than three.
        columns: view columns, in the order of the others.
        header: their API names.
        limit: bytes of the CSV.
    """

    def __init__(
        self, name: str, external_name: str, columns: Sequence[str], header: Sequence[str], limit: int = CSV_BYTES
    ) -> None:
        self._columns = tuple(columns)
        self._limit = limit
        self._size = 0
        self._packed = io.BytesIO()
        self._zip = zipfile.ZipFile(self._packed, "w", zipfile.ZIP_DEFLATED)
        self._csv = self._zip.open(name, "w")
        self._write(_line([external_name, *header]))

    def add(self, operation: Operation) -> bool:
        """See `sinks.base.BulkFile`."""
        line = _line([operation.record_id, *(cell(operation.fields.get(column)) for column in self._columns)])
        if self._size + len(line) > self._limit:
            return False
        self._write(line)
        return True

    def close(self) -> bytes:
        """See `sinks.base.BulkFile`."""
        self._csv.close()
        self._zip.close()
        return self._packed.getvalue()

    def _write(self, line: bytes) -> None:
        self._csv.write(line)
        self._size += len(line)


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def read_result(data: bytes, external_name: str) -> Iterator[Outcome]:
    """Read a result row by row; the file is unpacked as it is read.

    Raises:
        SinkError: BAD_ANSWER if it isn't a ZIP with one CSV that has the columns it must have.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            [name] = [info for info in archive.infolist() if not info.is_dir()]
            with archive.open(name) as packed, io.TextIOWrapper(packed, "utf-8-sig", newline="") as text:
                rows = csv.reader(text)
                places = _places(next(rows, []), external_name)
                for row in rows:
                    if len(row) > max(places):
                        yield _outcome(external_name, *(row[place] for place in places))
    except (zipfile.BadZipFile, UnicodeDecodeError, ValueError, csv.Error):
        raise SinkError(Reason.BAD_ANSWER, "the result of a bulk job can't be read") from None


def _places(header: Sequence[str], external_name: str) -> tuple[int, int, int, int]:
    """Find the columns; Zoho's own are the last of their name, should a field be called the same."""
    names = [name.strip() for name in header]
    status, record_id, errors = (len(names) - 1 - names[::-1].index(name) for name in _TOLD)
    return names.index(external_name), status, record_id, errors


def _outcome(external_name: str, record: str, status: str, crm_id: str, errors: str) -> Outcome:
    effect = _EFFECTS.get(status.strip().upper())
    found = crm_id.strip()
    if effect is not None and found.isascii() and found.isalnum():
        return Delivered(record_id=record, crm_id=found, effect=effect)
    problems = [match for part in errors.split(":") if (match := _ERROR.fullmatch(part))]
    if not problems:
        said = status.strip().upper()
        detail = said if said in {"SKIPPED", "UNPROCESSED", *_EFFECTS} else "no status"
        return Refused(record_id=record, reason=Reason.BAD_ANSWER, detail=f"bulk job: {detail}")
    codes = [(match[1], _fields(match[2])) for match in problems]
    detail = "; ".join(" ".join((code, ", ".join(names))).strip() for code, names in codes)
    code, names = codes[0]
    taken = code == "DUPLICATE_DATA" and external_name in names  # another call was making the same record
    return Refused(
        record_id=record,
        reason=Reason.RECORD_LOCKED if taken else reason_of(code),
        field=names[0] if names else None,
        detail=detail,
    )


def _fields(text: str | None) -> list[str]:
    """Give the column headers that an error names; what doesn't look like one is left out, since it may be a value."""
    return [name for part in (text or "").split(",") if _NAME.fullmatch(name := part.strip())]
