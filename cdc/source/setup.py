"""What has to be made in the source database: publication, replica identities, views, slot.

`plan_setup` only reads and returns the statements that are missing, so that they can be shown before they run and
running it twice does nothing the second time. Only schema `cdc`, publications, slots and replica identities are
touched; no trigger, no column, no lock that an application would wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection, errors, sql

from cdc.errors import ProfileError, SourceError
from cdc.lsn import Lsn
from cdc.routing.feeds import Profile
from cdc.routing.router import Route, build_routes
from cdc.source.views import plan_views

_PUBLISH: Final = sql.SQL("publish = 'insert, update, delete, truncate', publish_via_partition_root = true")
_SLOT_SECONDS: Final = 60  # creating a slot waits for every transaction that is writing now


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing to run, and why."""

    sql: str
    why: str


@dataclass(frozen=True, slots=True)
class _Table:
    """A watched table as it is: its identity and what its key columns allow."""

    route: Route
    identity: str  # d, n, f or i
    identity_columns: frozenset[str]
    not_null: frozenset[str]

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


async def plan_setup(conn: AsyncConnection[Any], profile: Profile, *, publication: str, slot: str) -> list[Statement]:
    """List what is missing in the source, in the order in which to run it.

    Raises:
        ProfileError: if a watched table has neither a primary key nor another identity to build on.
    """
    tables = [await _read_table(conn, route) for route in build_routes(profile).values()]
    return [
        *await _plan_schema(conn),
        *[s for table in tables for s in _plan_identity(table)],
        *await _plan_publication(conn, publication, tables),
        *await _plan_views(conn, profile),
        *await _plan_slot(conn, slot),
    ]


async def run_setup(conn: AsyncConnection[Any], statements: Sequence[Statement]) -> None:
    """Run them, each on its own.

    Raises:
        SourceError: naming the statement that failed and the server's words.
    """
    for statement in statements:
        try:
            await conn.execute(f"set lock_timeout = '5s'; set statement_timeout = '{_SLOT_SECONDS}s'")
            await conn.execute(statement.sql)
        except errors.Error as error:
            await conn.rollback()
            words = error.diag.message_primary or type(error).__name__
            raise SourceError(
                f"set-up failed while it wanted to {statement.why}: {words}",
                fix=await _blockers(conn) or f"run it by hand and start again:\n{statement.sql}",
            ) from None
        finally:
            if not conn.closed:
                await conn.execute("set lock_timeout = 0; set statement_timeout = 0")


async def slot_start(conn: AsyncConnection[Any], slot: str) -> Lsn:
    """Give the position at which a slot begins."""
    row = await (
        await conn.execute("select confirmed_flush_lsn::text from pg_replication_slots where slot_name = %s", [slot])
    ).fetchone()
    if row is None or row[0] is None:
        raise SourceError(f"slot {slot} has no position", fix="run `cdc setup`")
    return Lsn.parse(row[0])


async def _plan_schema(conn: AsyncConnection[Any]) -> list[Statement]:
    row = await (await conn.execute("select to_regnamespace('cdc') is null")).fetchone()
    return [Statement("create schema if not exists cdc", "make the schema cdc")] if row and row[0] else []


async def _read_table(conn: AsyncConnection[Any], route: Route) -> _Table:
    row = await (
        await conn.execute(
            """
            select c.relreplident::text,
                   array(select a.attname::text from pg_index i join pg_attribute a
                           on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
                         where i.indrelid = c.oid and i.indimmediate  -- a deferrable key is no identity
                           and case when c.relreplident = 'i' then i.indisreplident else i.indisprimary end),
                   array(select a.attname::text from pg_attribute a
                         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attnotnull)
            from pg_class c where c.oid = %s::regclass
            """,
            [route.table],
        )
    ).fetchone()
    assert row is not None  # noqa: S101 - preflight has seen the table
    identity, identity_columns, not_null = row
    if not identity_columns and identity != "f":
        raise ProfileError(
            f"table {route.table} has no primary key that isn't deferrable, so its deletes can't be followed",
            fix=f"ALTER TABLE {route.table} REPLICA IDENTITY FULL;",
        )
    return _Table(route, identity, frozenset(identity_columns), frozenset(not_null))


def _plan_identity(table: _Table) -> list[Statement]:
    name = table.route.table
    match table.wanted_identity:
        case "index":
            columns = sorted({*table.identity_columns, *table.route.columns})
            index = f"cdc_identity_{name.partition('.')[2]}"[:63]
            return [
                Statement(
                    _text(
                        _template("create unique index concurrently if not exists {} on {} ({})"),
                        sql.Identifier(index),
                        _relation(name),
                        sql.SQL(", ").join(map(sql.Identifier, columns)),
                    ),
                    f"index {name} by identity and owner, so that a DELETE says whose row it was",
                ),
                Statement(
                    _text(
                        _template("alter table {} replica identity using index {}"),
                        _relation(name),
                        sql.Identifier(index),
                    ),
                    f"use that index as the replica identity of {name}",
                ),
            ]
        case "default":
            return [
                Statement(
                    _text(_template("alter table {} replica identity default"), _relation(name)),
                    f"let updates and deletes on {name} carry its primary key; without, Postgres refuses them",
                )
            ]
        case "full":
            return [
                Statement(
                    _text(_template("alter table {} replica identity full"), _relation(name)),
                    f"let DELETEs on {name} carry the whole old row, since its owner column may be NULL",
                )
            ]
        case _:
            return []


async def _plan_publication(conn: AsyncConnection[Any], publication: str, tables: Sequence[_Table]) -> list[Statement]:
    exists = await (
        await conn.execute(
            """
            select pubinsert and pubupdate and pubdelete and pubtruncate and pubviaroot
            from pg_publication where pubname = %s
            """,
            [publication],
        )
    ).fetchone()
    published = await (
        await conn.execute(
            """
            select n.nspname || '.' || c.relname, r.prattrs is not null,
                   array(select a.attname::text from pg_attribute a
                         where a.attrelid = c.oid and a.attnum = any(r.prattrs)),
                   r.prqual is not null
            from pg_publication p join pg_publication_rel r on r.prpubid = p.oid
            join pg_class c on c.oid = r.prrelid join pg_namespace n on n.oid = c.relnamespace
            where p.pubname = %s
            """,
            [publication],
        )
    ).fetchall()
    have = {name: (frozenset(columns) if listed else None, filtered) for name, listed, columns, filtered in published}
    want = {
        t.route.table: (None if t.published_columns is None else frozenset(t.published_columns), False) for t in tables
    }
    name, statements = sql.Identifier(publication), []
    if exists and not exists[0]:
        statements.append(
            Statement(
                _text(_template("alter publication {} set ({})"), name, _PUBLISH),
                "publish every kind of change, and changes of partitions as their table's",
            )
        )
    if not exists or have != want:
        listing = sql.SQL(", ").join(_published(table) for table in tables)
        template = "alter publication {} set table {}" if exists else "create publication {} for table {} with ({})"
        statements.append(
            Statement(
                _text(_template(template), name, listing, *([] if exists else [_PUBLISH])),
                "publish the watched tables, and of them only the columns that routing needs",
            )
        )
    return statements


def _published(table: _Table) -> sql.Composable:
    relation = _relation(table.route.table)
    if table.published_columns is None:
        return relation
    return sql.SQL("{} ({})").format(relation, sql.SQL(", ").join(map(sql.Identifier, table.published_columns)))


async def _plan_views(conn: AsyncConnection[Any], profile: Profile) -> list[Statement]:
    script = await plan_views(conn, profile)
    if script is None:
        return []
    why = f"make the views of profile {profile.name} ({profile.folder / 'views.sql'})"
    return [Statement(f"begin;\n{script}\ncommit;", why)]


async def _plan_slot(conn: AsyncConnection[Any], slot: str) -> list[Statement]:
    exists = await (await conn.execute("select 1 from pg_replication_slots where slot_name = %s", [slot])).fetchone()
    if exists:
        return []
    return [
        Statement(
            _text(_template("select pg_create_logical_replication_slot({}, 'pgoutput')"), sql.Literal(slot)),
            f"make the replication slot {slot}",
        )
    ]


async def _blockers(conn: AsyncConnection[Any]) -> str | None:
    """Name transactions that have been open for a while: they are what slot creation and ALTER TABLE wait for."""
    if conn.closed:
        return None
    rows = await (
        await conn.execute(
            """
            select pid, extract(epoch from now() - xact_start)::int from pg_stat_activity
            where backend_xid is not null and pid <> pg_backend_pid() and xact_start < now() - interval '2 seconds'
            order by xact_start limit 5
            """
        )
    ).fetchall()
    if not rows:
        return None
    open_for = ", ".join(f"pid {pid} for {seconds} s" for pid, seconds in rows)
    return f"end the transactions that are open ({open_for}): SELECT pg_terminate_backend({rows[0][0]});"


def _template(text: str) -> sql.SQL:
    """Mark a template of ours as SQL; only identifiers and literals are put into it."""
    return sql.SQL(text)


def _text(template: sql.SQL, *parts: sql.Composable) -> str:
    return template.format(*parts).as_string(None)


def _relation(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))
