"""One condition on one field, shared by search criteria and COQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from sinks.simulator.clock import parse_iso
from sinks.simulator.fields import DataType, Field
from sinks.simulator.org import USER
from sinks.simulator.store import Record, Table, link_id

Comparable = Any
"""What values of one field are compared by: a folded text, a number, seconds, a bool or an id."""

ID = Field(api_name="id", label="Record ID", type=DataType.BIGINT, length=19)

_NUMBERS = frozenset({DataType.INTEGER, DataType.DOUBLE, DataType.CURRENCY, DataType.PERCENT})
_LINKS = frozenset({DataType.LOOKUP, DataType.OWNER})

COMPARISONS: Mapping[str, Callable[[Comparable, Comparable], bool]] = {
    "=": eq,
    "!=": ne,
    ">": gt,
    "<": lt,
    ">=": ge,
    "<=": le,
}


class BadValue(ValueError):
    """A literal that doesn't fit the field it is compared with."""


def field_of(table: Table, name: str) -> Field | None:
    """The field of that name, `id` included."""
    return ID if name == "id" else table.module.fields.get(name)


def comparable(table: Table, record: Record, field: Field) -> Comparable | None:
    """A record's value in the form it is compared in; None if it has none."""
    if field is ID:
        return int(record["id"])
    if field.api_name == "Created_Time":
        return int(table.created[record["id"]])
    if field.api_name == "Modified_Time":
        return int(table.modified[record["id"]])
    if field.type is DataType.OWNER:
        return str(USER["id"])
    value = record.get(field.api_name)
    if value is None:
        return False if field.type is DataType.BOOLEAN else None
    if field.type is DataType.LOOKUP:
        return link_id(value)
    if field.type is DataType.BIGINT:
        return int(value)
    if field.type is DataType.DATETIME:
        return parse_iso(value)
    if field.type is DataType.BOOLEAN or field.type in _NUMBERS:
        return value
    return str(value).casefold()


def literal(field: Field, text: str) -> Comparable:
    """A literal as written in the request, in the form it is compared in.

    Raises:
        BadValue: it doesn't fit the field's type.
    """
    kind = field.type
    if kind is DataType.BOOLEAN:
        if text.lower() not in ("true", "false"):
            raise BadValue(text)
        return text.lower() == "true"
    if kind is DataType.BIGINT or kind in _NUMBERS or kind in _LINKS:
        try:
            number = int(text) if kind not in (DataType.DOUBLE, DataType.CURRENCY, DataType.PERCENT) else float(text)
        except ValueError as wrong:
            raise BadValue(text) from wrong
        return str(number) if kind in _LINKS else number
    if kind is DataType.DATETIME:
        seconds = parse_iso(text)
        if seconds is None:
            raise BadValue(text)
        return seconds
    return text.casefold()
