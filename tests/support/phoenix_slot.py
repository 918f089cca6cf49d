"""Changes from a real, temporary slot in the shape in which Supabase Realtime sends them."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

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
from cdc.wire.pgoutput import decode

PUBLICATION = "supabase_realtime"
_CHANGES_A_POLL = 100

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


@dataclass(slots=True)
class TemporarySlot:
    """A slot that lives as long as its connection; what is written while there is none is lost."""

    dsn: str
    _connection: psycopg.AsyncConnection[Any] | None = None
    _name: str = ""
    _maker: EventMaker = field(default_factory=EventMaker)
    _free: asyncio.Lock = field(default_factory=asyncio.Lock)  # a connection must not be closed under a query

    async def make(self) -> None:
        """Make it if there is none."""
        async with self._free:
            if self._connection is not None:
                return
            connection = await psycopg.AsyncConnection.connect(self.dsn, autocommit=True)
            await connection.execute("set time zone 'UTC'")
            self._name = f"{PUBLICATION}_{secrets.token_hex(4)}"
            await connection.execute("select pg_create_logical_replication_slot(%s, 'pgoutput', true)", [self._name])
            self._connection, self._maker = connection, EventMaker()

    async def drop(self) -> None:
        """Drop it, with all that wasn't read."""
        async with self._free:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()

    async def changes(self, secured: Collection[str]) -> list[Data]:
        """Take what has come since; whole transactions only, and nothing of it comes again.

        Args:
            secured: tables with row-level security.
        """
        async with self._free:
            if self._connection is None:
                return []
            cursor = await self._connection.execute(
                "select data from pg_logical_slot_get_binary_changes(%s, null, %s, 'proto_version', '1',"
                " 'publication_names', %s)",
                [self._name, _CHANGES_A_POLL, PUBLICATION],
                binary=True,
            )
            made = list(self._maker.events([decode(row[0]) for row in await cursor.fetchall()]))
            allowed = [await _as_allowed(self._connection, data, secured) for data in made]
        return [data for data in allowed if data is not None]


async def _as_allowed(connection: psycopg.AsyncConnection[Any], data: Data, secured: Collection[str]) -> Data | None:
    """With row-level security a change counts only if the row is still there, and a delete says its key alone."""
    if data["table"] not in secured:
        return data
    if data["type"] == "DELETE":
        return {**data, "old_record": {k: v for k, v in data["old_record"].items() if k == "id"}}
    query = sql.SQL("select 1 from {} where id::text = %s").format(sql.Identifier(data["schema"], data["table"]))
    row = await (await connection.execute(query, [str(data["record"]["id"])])).fetchone()
    return None if row is None else data
