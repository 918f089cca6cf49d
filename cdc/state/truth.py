"""Reads a feed's view: the present truth about some keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from psycopg import AsyncConnection, sql

from cdc.errors import ProfileError
from cdc.routing.feeds import Feed, qualified
from cdc.state.records import ViewRow
from sinks.base import Column

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INTEGER = re.compile(r"-?[0-9]{1,18}")

# A key that is no value of its column's type can't be in the view. Left out here, it doesn't fail the whole query.
_POSSIBLE: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {
        "uuid": _UUID.fullmatch,
        "bigint": _INTEGER.fullmatch,
        "integer": lambda key: _INTEGER.fullmatch(key) and -(2**31) <= int(key) < 2**31,
        "smallint": lambda key: _INTEGER.fullmatch(key) and -(2**15) <= int(key) < 2**15,
    }
)


def possible_keys(key_type: str, keys: Collection[str]) -> list[str]:
    """Leave out what is no value of a column's type, as `format_type` prints it."""
    possible = _POSSIBLE.get(key_type)
    return list(keys) if possible is None else [key for key in keys if possible(key)]


def view_identifier(feed: Feed) -> sql.Identifier:
    """Quote a feed's view, with its schema."""
    return sql.Identifier(*qualified(feed.view).split("."))


def row_hash_sql(alias: str) -> sql.Composed:
    """Give the SQL that hashes a whole view row: bytes, with a parameter `hash_key` of bytes.

    The sweep compares with this in the database, so there must be one text of it. The session must be in UTC, since a
    timestamp's JSON form depends on the zone.

    Args:
        alias: of the view in the query.
    """
    return sql.SQL("sha256(%(hash_key)s::bytea || convert_to(to_jsonb({alias})::text, 'UTF8'))").format(
        alias=sql.Identifier(alias)
    )


@dataclass(frozen=True, slots=True)
class Truth:
    """One feed's view, with its query ready.

    Attributes:
        key_type: of the key column, as `format_type` prints it.
        columns: those that are sent, as fields of the sink.
        theirs: those whose field belongs to the people at the CRM; never read for delivery.
    """

    feed: Feed
    key_type: str
    columns: tuple[Column, ...]
    theirs: tuple[Column, ...]
    _read: sql.Composed
    _present: sql.Composed
    _children: sql.Composed | None

    @classmethod
    async def open(cls, conn: AsyncConnection[Any], feed: Feed) -> Truth:
        """Look the view's columns up, once.

        Raises:
            ProfileError: if there is no such view, or it lacks the key, `once` or parent column, or one of `owners`.
        """
        cursor = await conn.execute(
            "select attname, format_type(atttypid, null) from pg_attribute"
            " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
            [view_identifier(feed).as_string(conn)],
        )
        types: dict[str, str] = dict(await cursor.fetchall())
        absent = sorted((feed.own_columns | feed.owners.keys()) - types.keys())
        if absent:
            raise ProfileError(
                f"feed {feed.name}: view {feed.view} " + (f"lacks {', '.join(absent)}" if types else "does not exist"),
                fix="apply the profile's views.sql to the source database",
            )
        fields = [Column(name=n, type=t) for n, t in types.items() if n not in feed.own_columns]
        columns = tuple(column for column in fields if column.name not in feed.theirs)
        theirs = tuple(column for column in fields if column.name in feed.theirs)
        queries = _read_sql(feed, types), _present_sql(feed, types), _children_sql(feed, types)
        return cls(feed, types[feed.key], columns, theirs, *queries)

    async def read(
        self, conn: AsyncConnection[Any], keys: Collection[str], hash_key: bytes
    ) -> dict[str, list[ViewRow]]:
        """Read the rows of some keys; keys that aren't in the view are left out. One round trip.

        Args:
            conn: to the source, in UTC.
            keys: as text.
            hash_key: secret bytes, for `ViewRow.row_hash`.

        Raises:
            psycopg.Error: whatever the view raises; `DataError` when a row's values are at fault.
        """
        rows: dict[str, list[ViewRow]] = {}
        possible = self._possible(keys)
        if not possible:
            return rows
        cursor = await conn.execute(self._read, {"keys": possible, "hash_key": hash_key})
        for key, event_id, parent_id, fields, row_hash in await cursor.fetchall():
            row = ViewRow(key=key, event_id=event_id, parent_id=parent_id, fields=fields, row_hash=row_hash)
            rows.setdefault(key, []).append(row)
        return rows

    async def present(self, conn: AsyncConnection[Any], keys: Collection[str]) -> frozenset[str]:
        """Tell which of some keys are in the view."""
        possible = self._possible(keys)
        if not possible:
            return frozenset()
        cursor = await conn.execute(self._present, {"keys": possible})
        return frozenset(row[0] for row in await cursor.fetchall())

    async def children(self, conn: AsyncConnection[Any], parent_ids: Collection[str]) -> list[tuple[str, str, str]]:
        """Give (parent id, key, record id) of the rows that hang on some parents; none for a feed that needs none."""
        if self._children is None or not parent_ids:
            return []
        cursor = await conn.execute(self._children, {"parent_ids": list(parent_ids)})
        return await cursor.fetchall()

    def _possible(self, keys: Collection[str]) -> list[str]:
        return possible_keys(self.key_type, keys)


@dataclass(slots=True)
class View:
    """A feed's view, looked up when it is first needed and again after it has failed: it may be gone for a while."""

    feed: Feed
    _truth: Truth | None = None

    async def open(self, conn: AsyncConnection[Any]) -> Truth:
        """Give the view as it was last found.

        Raises:
            ProfileError: as `Truth.open`.
        """
        if self._truth is None:
            self._truth = await Truth.open(conn, self.feed)
        return self._truth

    def forget(self) -> None:
        """Look it up again next time."""
        self._truth = None


def _column(name: str | None) -> sql.Composable:
    return sql.SQL("null") if name is None else sql.SQL("v.{}::text").format(sql.Identifier(name))


def _read_sql(feed: Feed, types: Mapping[str, str]) -> sql.Composed:
    # offset 0 keeps the planner from computing the row once for each of the expressions above it.
    return sql.SQL(
        "select {key}, {once}, {parent}, to_jsonb(v) - {own}::text[], {row_hash}"
        " from (select * from {view} where {key_column} = any(%(keys)s::{type}[]) offset 0) as v"
    ).format(
        key=_column(feed.key),
        once=_column(feed.once),
        parent=_column(feed.parent),
        own=sql.Literal(sorted(feed.own_columns | feed.theirs)),
        row_hash=row_hash_sql("v"),
        view=view_identifier(feed),
        key_column=sql.Identifier(feed.key),
        type=sql.SQL(_type_name(types[feed.key])),
    )


def _present_sql(feed: Feed, types: Mapping[str, str]) -> sql.Composed:
    return sql.SQL("select distinct {key} from {view} as v where v.{key_column} = any(%(keys)s::{type}[])").format(
        key=_column(feed.key),
        view=view_identifier(feed),
        key_column=sql.Identifier(feed.key),
        type=sql.SQL(_type_name(types[feed.key])),
    )


def _children_sql(feed: Feed, types: Mapping[str, str]) -> sql.Composed | None:
    if feed.parent is None:
        return None
    return sql.SQL(
        "select distinct {parent_text}, {key}, {record}"
        " from {view} as v where v.{parent} = any(%(parent_ids)s::{type}[])"
    ).format(
        parent_text=_column(feed.parent),
        key=_column(feed.key),
        record=_column(feed.once or feed.key),
        view=view_identifier(feed),
        parent=sql.Identifier(feed.parent),
        type=sql.SQL(_type_name(types[feed.parent])),
    )


def _type_name(name: str) -> Any:
    """Let a type name from the catalogue into SQL: `format_type` has quoted it where it needs to be."""
    return name
