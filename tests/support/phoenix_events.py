"""Changes from a real slot in the shape in which Supabase Realtime sends them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cdc.wire.messages import (
    UNCHANGED,
    Begin,
    Column,
    Delete,
    Insert,
    PgMessage,
    Relation,
    Tuple,
    Update,
    time_of,
)

Data = dict[str, Any]
"""`payload.data` of an event."""

_INTEGERS = frozenset({20, 21, 23})
_NUMBERS = frozenset({700, 701, 1700})
_JSON = frozenset({114, 3802})
_TIMES = frozenset({1114, 1184})
_NAMES = {
    16: "bool",
    20: "int8",
    21: "int2",
    23: "int4",
    25: "text",
    1184: "timestamptz",
    2950: "uuid",
    1700: "numeric",
}


@dataclass(slots=True)
class EventMaker:
    """Turns pgoutput messages into events; remembers tables and the open transaction's time."""

    _relations: dict[int, Relation] = field(default_factory=dict)
    _committed_at: str = ""

    def events(self, messages: Sequence[PgMessage]) -> Iterator[Data]:
        """Give the events in order. TRUNCATE gives none: Realtime never sends it."""
        for message in messages:
            match message:
                case Begin():
                    at = time_of(message.commit_time)
                    self._committed_at = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                case Relation():
                    self._relations[message.oid] = message
                case Insert():
                    yield self._data("INSERT", message.relation, record=message.new)
                case Update():
                    old = message.old if message.old is not None else message.new
                    yield self._data("UPDATE", message.relation, record=message.new, old=old)
                case Delete():
                    yield self._data("DELETE", message.relation, old=message.old)

    def _data(self, kind: str, oid: int, record: Tuple | None = None, old: Tuple | None = None) -> Data:
        relation = self._relations[oid]
        data: Data = {
            "schema": relation.schema,
            "table": relation.name,
            "type": kind,
            "commit_timestamp": self._committed_at,
            "columns": [{"name": c.name, "type": _NAMES.get(c.type_oid, "text")} for c in relation.columns],
            "errors": None,
        }
        if record is not None:
            data["record"] = _row(relation.columns, record)
        if old is not None:  # the replica identity alone
            data["old_record"] = {
                name: value
                for name, value in _row(relation.columns, old).items()
                if name in {c.name for c in relation.columns if c.is_key}
            }
        return data


def _row(columns: Sequence[Column], values: Tuple) -> dict[str, Any]:
    """Leave out what the update left alone in TOAST storage, as wal2json does."""
    pairs = zip(columns, values, strict=True)
    return {c.name: _value(c.type_oid, v) for c, v in pairs if v is not UNCHANGED}


def _value(oid: int, value: Any) -> Any:
    if value is None:
        return None
    text = value.decode()
    if oid in _INTEGERS:
        return int(text)
    if oid in _NUMBERS:
        return None if text == "NaN" else float(text)
    if oid in _JSON:
        return json.loads(text)
    if oid in _TIMES:
        return text.replace(" ", "T") + (":00" if oid == 1184 else "")
    return text == "t" if oid == 16 else text
