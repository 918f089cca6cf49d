"""Reading single records, and what the CRM makes of values.

https://www.zoho.com/crm/developer/docs/api/v8/get-records.html
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sinks.base import FieldValue, Held
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.client import ZohoClient
from sinks.zoho.fields import plain
from sinks.zoho.limits import Kind
from sinks.zoho.transport import JsonValue

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")
_UNKNOWN_ID = frozenset({"INVALID_DATA"})


async def read_record(client: ZohoClient, module: str, crm_id: str, columns: Sequence[str]) -> Held | None:
    """Read one record with all its fields. Costs one credit.

    Field names are found as `sinks.zoho.fields.find_field` does, but in the record, which saves the metadata call.

    Returns:
        None if the CRM knows no such record, or not any longer.

    Raises:
        SinkError: as `ZohoClient.call`, or BAD_ANSWER.
    """
    answer = await client.call(Kind.RECORDS_READ, "GET", f"/{module}/{crm_id}", expect=_UNKNOWN_ID)
    rows = [] if answer.status >= 400 else rows_of(answer.body)
    if not rows:
        return None
    record = rows[0]
    by_plain = {plain(name): name for name in record if not name.startswith("$")}
    names = {column: column if column in record else by_plain.get(plain(column)) for column in columns}
    return Held(crm_id=crm_id, fields={column: record[name] for column, name in names.items() if name is not None})


def rows_of(body: JsonValue) -> list[Mapping[str, JsonValue]]:
    """Give the rows of a read; none for an empty answer (204).

    Raises:
        SinkError: BAD_ANSWER if there is a body without rows.
    """
    if body is None:
        return []
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SinkError(Reason.BAD_ANSWER, "a read answered without rows")
    return rows


def same_value(ours: FieldValue, theirs: object) -> bool:
    """Tell whether the CRM holds our value.

    It gives instants in the organisation's zone and without fractions of a second, and keeps no empty text, no space
    around a text, and no difference between an unset checkbox and one that is off. Two ways to write an accent are one
    text, and an address is one in capitals too.
    """
    if _is_empty(ours):
        return _is_empty(theirs)
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return ours is theirs
    if not isinstance(ours, str) or not isinstance(theirs, str):
        return ours == theirs
    one, other = _text(ours), _text(theirs)
    return one == other or ((moment := _moment(ours)) is not None and moment == _moment(theirs))


def forms_of(theirs: object) -> tuple[FieldValue, ...]:
    """Give the values of ours that the CRM would show like this; a fraction of a second or outer spaces are lost."""
    if _is_empty(theirs):
        return (None, "", False)
    if isinstance(theirs, str):
        moment = _moment(theirs)
        return (theirs,) if moment is None else (theirs, moment.astimezone(UTC).isoformat())
    if isinstance(theirs, float) and theirs.is_integer():
        return (theirs, int(theirs))
    return (theirs,) if isinstance(theirs, bool | int | float) else ()


def _is_empty(value: object) -> bool:
    return value is None or value is False or (isinstance(value, str) and not value.strip())


def _text(value: str) -> str:
    text = unicodedata.normalize("NFC", value.strip())
    return text.casefold() if _ADDRESS.fullmatch(text) else text


def _moment(text: str) -> datetime | None:
    if "T" not in text:
        return None  # a date is compared as it is written
    try:
        return datetime.fromisoformat(text).replace(microsecond=0)
    except ValueError:
        return None
