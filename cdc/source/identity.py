"""Replica identities: what lets an UPDATE or DELETE of a watched table carry all keys of its route.

An index counts only once its build is finished. `ALTER TABLE ... REPLICA IDENTITY USING INDEX` takes an invalid one
without a word, and every update of the published table is then refused. Source: PostgreSQL documentation, "CREATE
INDEX", section "Building Indexes Concurrently".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql

from cdc.errors import ProfileError
from cdc.routing.router import Route
from cdc.source.statements import Condition, Pace, Statement, as_text, relation, template


@dataclass(frozen=True, slots=True)
class WatchedTable:
    """A watched table as it is: its identity and what its key columns allow."""

    route: Route
    identity: str  # d, n, f or i; n too where the index it names can't be used
    identity_columns: frozenset[str]
    not_null: frozenset[str]
    index_usable: bool | None  # of the index that set-up makes; None if there is none

    @property
    def wanted_identity(self) -> str:
        """`keep`, `default`, `index` or `full`: what lets a DELETE carry all keys of the route."""
        if self.identity == "f" or set(self.route.columns) <= self.identity_columns:
            # Once it is published, Postgres would refuse the application's updates of a table with identity NOTHING.
            return "default" if self.identity == "n" else "keep"
        return (
            "index" if set(self.route.columns) <= self.not_null and self.identity_columns <= self.not_null else "full"
        )

    @property
    def published_columns(self) -> tuple[str, ...] | None:
        """Columns to publish; None for all, where Postgres allows no list (identity FULL)."""
        if self.identity == "f" or self.wanted_identity == "full":
            return None
        return tuple(dict.fromkeys((*self.route.columns, *sorted(self.identity_columns))))


async def read_table(conn: AsyncConnection[Any], route: Route) -> WatchedTable:
    """Look at a watched table.

    Raises:
        ProfileError: if it has neither a primary key nor another identity to build on.
    """
    row = await (
        await conn.execute(
            """
            select case when c.relreplident = 'i' and not exists (
                            select from pg_index i where i.indrelid = c.oid and i.indisreplident
                              and i.indisvalid and i.indisready) then 'n' else c.relreplident::text end,
                   array(select a.attname::text from pg_index i join pg_attribute a
                           on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
                         where i.indrelid = c.oid and i.indimmediate  -- a deferrable key is no identity
                           and i.indisvalid and i.indisready  -- nor is what a broken-off build left behind
                           and case when c.relreplident = 'i' and exists (
                                   select from pg_index r where r.indrelid = c.oid and r.indisreplident
                                     and r.indisvalid and r.indisready)
                               then i.indisreplident else i.indisprimary end),
                   array(select a.attname::text from pg_attribute a
                         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attnotnull),
                   (select i.indisvalid and i.indisready from pg_index i join pg_class x on x.oid = i.indexrelid
                    where i.indrelid = c.oid and x.relname = %s)
            from pg_class c where c.oid = %s::regclass
            """,
            [_index_name(route.table), route.table],
        )
    ).fetchone()
    assert row is not None  # noqa: S101 - preflight has seen the table
    identity, identity_columns, not_null, usable = row
    if not identity_columns and identity != "f":
        raise ProfileError(
            f"table {route.table} has no primary key that isn't deferrable, so its deletes can't be followed",
            fix=f"ALTER TABLE {route.table} REPLICA IDENTITY FULL;",
        )
    return WatchedTable(route, identity, frozenset(identity_columns), frozenset(not_null), usable)


def plan_identity(table: WatchedTable) -> list[Statement]:
    """List what gives a table the identity it needs; an index is finished before it is used."""
    name = table.route.table
    match table.wanted_identity:
        case "index":
            return [*_restore(table), *_plan_index(table), _use_index(table)]
        case "default":
            return [_alter(name, "default", f"let updates and deletes on {name} carry its primary key")]
        case "full":
            why = f"let DELETEs on {name} carry the whole old row, since its owner column may be NULL"
            return [_alter(name, "full", why)]
        case _:
            return []


def _restore(table: WatchedTable) -> list[Statement]:
    """While the index is built, a published table without an identity would refuse the application's updates."""
    if table.identity != "n":
        return []
    name = table.route.table
    return [_alter(name, "default", f"let updates of {name} go on while its index is built")]


def _plan_index(table: WatchedTable) -> list[Statement]:
    name = table.route.table
    index = _index_name(name)
    if table.index_usable:
        return []
    columns = sorted({*table.identity_columns, *table.route.columns})
    create = Statement(
        as_text(
            template("create unique index concurrently if not exists {} on {} ({})"),
            sql.Identifier(index),
            relation(name),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
        ),
        f"index {name} by identity and owner, so that a DELETE says whose row it was",
        pace=Pace.CONCURRENT,
    )
    if table.index_usable is None:
        return [create]
    schema = name.partition(".")[0]
    drop = Statement(
        as_text(template("drop index concurrently if exists {}"), sql.Identifier(schema, index)),
        f"remove the index of {name} whose build was broken off",
        pace=Pace.CONCURRENT,
        given=Condition(
            _text(
                "select not exists (select from pg_stat_progress_create_index where index_relid = to_regclass({}))",
                f'"{schema}"."{index}"',
            ),
            "another process is building that index now",
        ),
    )
    return [drop, create]


def _use_index(table: WatchedTable) -> Statement:
    name = table.route.table
    index = _index_name(name)
    return Statement(
        as_text(template("alter table {} replica identity using index {}"), relation(name), sql.Identifier(index)),
        f"use that index as the replica identity of {name}",
        pace=Pace.BRIEF_LOCK,
        given=Condition(
            # Postgres would take one whose build was broken off, and then refuse the application's updates.
            _text(
                "select exists (select from pg_index where indexrelid = to_regclass({}) and indisvalid and indisready)",
                f'"{name.partition(".")[0]}"."{index}"',
            ),
            "the index isn't finished; start again",
        ),
    )


def _alter(name: str, identity: LiteralString, why: str) -> Statement:
    return Statement(
        as_text(template("alter table {} replica identity " + identity), relation(name)), why, pace=Pace.BRIEF_LOCK
    )


def _index_name(table: str) -> str:
    return f"cdc_identity_{table.partition('.')[2]}"[:63]


def _text(query: LiteralString, value: str) -> str:
    return as_text(template(query), sql.Literal(value))
