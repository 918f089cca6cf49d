"""Records of a module, with the indexes that make unique fields and links cheap to check."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sinks.simulator.fields import DataType, Field, Module

Record = dict[str, Any]
"""Field values by API name, with `id`. Lookups are stored as `{"id": ...}`."""

HISTORY = 200_000
"""Changes remembered per module."""


@dataclass(frozen=True, slots=True)
class Change:
    """One write that was carried out: what the oracle of a test reads."""

    number: int
    time: float
    action: str
    id: str
    fields: Record


@dataclass(frozen=True, slots=True)
class Grave:
    """A deleted record, as the list of deleted records shows it."""

    id: str
    time: float
    name: str | None


def link_id(value: object) -> str | None:
    """The id a stored lookup points to."""
    return value["id"] if isinstance(value, dict) else None


def index_key(field: Field, value: object) -> str | None:
    """What a value is compared by in the field's index; None if it isn't in it."""
    if field.type is DataType.LOOKUP:
        return link_id(value)
    if value is None:
        return None
    text = str(value).strip()
    return (text if field.case_sensitive else text.casefold()) or None


class Table:
    """The records of one module. Values are already checked."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.records: dict[str, Record] = {}
        self.created: dict[str, float] = {}
        self.modified: dict[str, float] = {}
        self.deleted: deque[Grave] = deque(maxlen=HISTORY)
        self.history: deque[Change] = deque(maxlen=HISTORY)
        self._changes = 0
        self._indexes: dict[str, dict[str, list[str]]] = {}

    def _indexed(self) -> Iterator[Field]:
        for field in self.module.fields.values():
            if field.unique or field.type is DataType.LOOKUP or field.api_name == self.module.duplicate_field:
                yield field

    def _index(self, field: Field) -> dict[str, list[str]]:
        """The field's index, built when it is first asked for: a field may be made after its records."""
        found = self._indexes.get(field.api_name)
        if found is None:
            found = self._indexes[field.api_name] = {}
            for record in self.records.values():
                key = index_key(field, record.get(field.api_name))
                if key is not None:
                    found.setdefault(key, []).append(record["id"])
        return found

    def find(self, field: Field, value: object) -> list[str]:
        """Ids of the records that hold a value in an indexed field, oldest first."""
        key = index_key(field, value)
        return [] if key is None else self._index(field).get(key, [])

    def insert(self, record: Record, now: float) -> None:
        """Add a record under its `id`."""
        for field in self._indexed():
            key = index_key(field, record.get(field.api_name))
            if key is not None:
                index = self._index(field)
                index.setdefault(key, []).append(record["id"])
        self.records[record["id"]] = record
        self.created[record["id"]] = self.modified[record["id"]] = now
        self._remember("insert", record["id"], record, now)

    def update(self, record_id: str, changes: Record, now: float) -> None:
        """Put changed values into a record that exists."""
        record = self.records[record_id]
        for field in self._indexed():
            if field.api_name not in changes:
                continue
            before = index_key(field, record.get(field.api_name))
            after = index_key(field, changes[field.api_name])
            if before != after:
                self._forget_key(field, before, record_id)
                if after is not None:
                    self._index(field).setdefault(after, []).append(record_id)
        record.update(changes)
        self.modified[record_id] = now
        self._remember("update", record_id, changes, now)

    def remove(self, record_id: str, now: float) -> None:
        """Take a record out; it goes into the recycle bin's list."""
        record = self.records[record_id]
        for field in self._indexed():
            self._forget_key(field, index_key(field, record.get(field.api_name)), record_id)
        del self.records[record_id], self.created[record_id], self.modified[record_id]
        self.deleted.append(Grave(record_id, now, display_name(record)))
        self._remember("delete", record_id, {}, now)

    def _forget_key(self, field: Field, key: str | None, record_id: str) -> None:
        if key is None:
            return
        holders = self._index(field)[key]
        holders.remove(record_id)
        if not holders:
            del self._index(field)[key]

    def _remember(self, action: str, record_id: str, fields: Record, now: float) -> None:
        self._changes += 1
        self.history.append(Change(self._changes, now, action, record_id, dict(fields)))


def display_name(record: Record) -> str | None:
    """The words a record is shown by where another one links to it."""
    for name in ("Full_Name", "Account_Name", "Subject", "Event_Title", "Note_Title"):
        value = record.get(name)
        if isinstance(value, str) and value:
            return value
    return None
