"""Checks one record as it was sent against its module's fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sinks.simulator.answers import Item, Json, bad_value, error, missing
from sinks.simulator.fields import ANY_MODULE, DataType, Field, Module
from sinks.simulator.org import USER
from sinks.simulator.store import Record, Table
from sinks.simulator.values import CHECKS, EMPTIED_BY_BLANK, Unfit

_NOTE_FIELDS = ("Note_Title", "Note_Content")


def as_id(value: object) -> str | None:
    """A record id as text; numbers are taken as well. None if it can't be one."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,19}", value):
        return value
    if type(value) is int and value > 0:
        return str(value)
    return None


class Validator:
    """Turns a record as sent into values to store, or says what is wrong with it."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables

    def check(self, module: Module, sent: Json, path: str) -> tuple[Record, list[Item]]:
        """Values by API name, and the problems found. Unknown names are dropped without a word, as reported of Zoho.

        Args:
            module: the module the record is for.
            sent: the record from the request body.
            path: JSON path of the record in the body.
        """
        values: Record = {}
        problems: list[Item] = []
        for name, value in sent.items():
            field = module.fields.get(name)
            if field is None:
                continue
            if field.read_only:
                problems.append(bad_value(name, f"{path}.{name}"))
                continue
            try:
                values[name] = self._value(field, value, sent)
            except Unfit as unfit:
                problems.append(bad_value(name, f"{path}.{name}", **unfit.why))
            except _UnknownLink:
                problems.append(_unknown_link(name, path))
            else:
                if values[name] is None and field.mandatory:
                    problems.append(missing(name, f"{path}.{name}"))
        return values, problems

    def absent(self, module: Module, sent: Json, path: str) -> list[Item]:
        """Problems of a new record: mandatory fields that weren't sent at all."""
        return [
            missing(field.api_name, f"{path}.{field.api_name}")
            for field in module.fields.values()
            if field.mandatory and field.api_name not in sent
        ]

    @staticmethod
    def empty_note(module: Module, values: Record, path: str) -> list[Item]:
        """The problem of a note that would have neither title nor content."""
        if module.api_name != "Notes" or any(values.get(name) for name in _NOTE_FIELDS):
            return []
        expected = [{"api_name": name, "json_path": f"{path}.{name}"} for name in _NOTE_FIELDS]
        return [error("EXPECTED_FIELD_MISSING", "one of the expected fields is missing", {"expected_fields": expected})]

    def _value(self, field: Field, value: object, sent: Json) -> object:
        """What is stored for a value."""
        kind = field.type
        if value is None:
            return False if kind is DataType.BOOLEAN else None
        if kind in EMPTIED_BY_BLANK and isinstance(value, str) and not value.strip():
            return None
        if kind is DataType.LOOKUP:
            return self._link(field, value, sent)
        if kind is DataType.OWNER:
            if _id_in(value) != USER["id"]:
                raise _UnknownLink
            return {"id": USER["id"]}
        return CHECKS[kind](field, value)

    def _link(self, field: Field, value: object, sent: Json) -> Json:
        record_id = _id_in(value)
        module = field.lookup
        if module == ANY_MODULE:
            module = _module_in(value) if field.mandatory else _module_beside(sent)
        table = self._tables.get(module or "")
        if table is None or record_id not in table.records:
            raise _UnknownLink
        return {"id": record_id, "module": module} if field.lookup == ANY_MODULE else {"id": record_id}


class _UnknownLink(Exception):
    """A lookup that points to nothing."""


def _unknown_link(name: str, path: str) -> Item:
    details = {"api_name": name, "json_path": f"{path}.{name}"}
    return error("INVALID_DATA", "the related id given seems to be invalid", details)


def _id_in(value: object) -> str:
    """The id in `{"id": ...}`; the bare id of earlier versions is refused."""
    if not isinstance(value, dict):
        raise Unfit(expected_data_type="jsonobject")
    record_id = as_id(value.get("id"))
    if record_id is None:
        raise _UnknownLink
    return record_id


def _module_in(value: object) -> str | None:
    """The module of a note's parent: `{"module": {"api_name": ...}, "id": ...}` from v4 on."""
    module: Any = value.get("module") if isinstance(value, dict) else None
    if not isinstance(module, dict):
        raise Unfit(expected_data_type="jsonobject")
    name = module.get("api_name")
    return name if isinstance(name, str) else None


def _module_beside(sent: Json) -> str | None:
    """The module of an activity's `What_Id`."""
    name = sent.get("$se_module")
    return name if isinstance(name, str) else None
