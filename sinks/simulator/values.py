"""Whether a value fits a field's type, and what it is stored as.

Lengths and formats: https://www.zoho.com/crm/developer/docs/api/v8/field-meta.html. Nothing is converted out of
kindness: "5" is no integer, 0 no boolean, and a time without an offset no datetime.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime

from sinks.simulator.clock import to_org_zone
from sinks.simulator.fields import JSON_TYPE, DataType, Field

_EMAIL = re.compile(r"[^@\s,;<>()\"]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_PHONE = re.compile(r"[+()\d][\d\s().;\-+extEXT]*")
_WEBSITE = re.compile(r"((https?|ftp)://)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:\d+)?([/?#]\S*)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[+-]\d{2}:\d{2}")


class Unfit(Exception):
    """A value doesn't fit; `why` goes into the error's details."""

    def __init__(self, **why: object) -> None:
        super().__init__()
        self.why = why


def _text(field: Field, value: object) -> str:
    if not isinstance(value, str):
        raise Unfit(expected_data_type="string")
    if len(value) > field.length:
        raise Unfit(maximum_length=field.length)
    return value


def _patterned(pattern: re.Pattern[str]) -> Callable[[Field, object], str]:
    def check(field: Field, value: object) -> str:
        text = _text(field, value)
        if not pattern.fullmatch(text):
            raise Unfit(expected_data_type=field.type.value)
        return text

    return check


def _integer(field: Field, value: object) -> int:
    if type(value) is not int:
        raise Unfit(expected_data_type="integer")
    if abs(value) >= 10**field.length:
        raise Unfit(maximum_length=field.length)
    return value


def _bigint(field: Field, value: object) -> str:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"-?\d+", value) else value
    if type(number) is not int:
        raise Unfit(expected_data_type="bigint")
    if abs(number) >= 10**field.length:
        raise Unfit(maximum_length=field.length)
    return str(number)


def _number(field: Field, value: object) -> int | float:
    if type(value) not in (int, float):
        raise Unfit(expected_data_type=JSON_TYPE[field.type])
    if len(re.sub(r"\D", "", repr(value))) > field.length:
        raise Unfit(maximum_length=field.length)
    return value  # type: ignore[return-value]  # narrowed by the exact types above; bool is neither


def _boolean(_: Field, value: object) -> bool:
    if not isinstance(value, bool):
        raise Unfit(expected_data_type="boolean")
    return value


def _date(_: Field, value: object) -> str:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            date.fromisoformat(value)
        except ValueError as wrong:
            raise Unfit(expected_data_type="date") from wrong
        return value
    raise Unfit(expected_data_type="date")


def _datetime(_: Field, value: object) -> str:
    if isinstance(value, str) and _DATETIME.fullmatch(value):
        try:
            return to_org_zone(datetime.fromisoformat(value))
        except (ValueError, OverflowError) as wrong:
            raise Unfit(expected_data_type="datetime") from wrong
    raise Unfit(expected_data_type="datetime")


def _picklist(field: Field, value: object) -> str:
    if not isinstance(value, str):
        raise Unfit(expected_data_type="string")
    if value not in field.options:
        raise Unfit(supported_values=list(field.options))
    return value


def _multiselect(field: Field, value: object) -> list[str]:
    if not isinstance(value, list):
        raise Unfit(expected_data_type="jsonarray")
    return [_picklist(field, one) for one in value]


CHECKS: dict[DataType, Callable[[Field, object], object]] = {
    DataType.TEXT: _text,
    DataType.TEXTAREA: _text,
    DataType.EMAIL: _patterned(_EMAIL),
    DataType.PHONE: _patterned(_PHONE),
    DataType.WEBSITE: _patterned(_WEBSITE),
    DataType.PICKLIST: _picklist,
    DataType.MULTISELECT: _multiselect,
    DataType.DATE: _date,
    DataType.DATETIME: _datetime,
    DataType.INTEGER: _integer,
    DataType.BIGINT: _bigint,
    DataType.DOUBLE: _number,
    DataType.CURRENCY: _number,
    DataType.PERCENT: _number,
    DataType.BOOLEAN: _boolean,
}
"""How each type checks a value that isn't null. Lookups and owners need the other tables and are checked apart."""

EMPTIED_BY_BLANK = frozenset({DataType.TEXT, DataType.TEXTAREA, DataType.EMAIL, DataType.PHONE, DataType.WEBSITE})
"""Types for which a blank string is the same as null."""
