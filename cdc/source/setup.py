"""What has to be made in the source database: publication, replica identities, views, slot.

`plan_setup` only reads and returns the statements that are missing, so that they can be shown before they run and
running it twice does nothing the second time. Only schema `cdc`, publications, slots and replica identities are
touched; no trigger, no column. Indexes are built concurrently, which blocks nobody. A replica identity needs the
table's exclusive lock for a moment: it is asked for in short tries, since readers queue behind whoever waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection, sql

from cdc.errors import SourceError
from cdc.lsn import Lsn
from cdc.routing.feeds import Profile
from cdc.routing.router import build_routes
from cdc.source.identity import WatchedTable, plan_identity, read_table
from cdc.source.realtime_setup import plan_realtime
from cdc.source.statements import Statement, as_text, relation, template
from cdc.source.views import plan_views

_PUBLISH: Final = sql.SQL("publish = 'insert, update, delete, truncate', publish_via_partition_root = true")


async def plan_setup(
    conn: AsyncConnection[Any], profile: Profile, *, publication: str, slot: str, with_views: bool = True
) -> list[Statement]:
    """List what is missing in the source, in the order in which to run it.

    Args:
        conn: to the source.
        profile: the feeds.
        publication: its name.
        slot: its name.
        with_views: False leaves the views as they are.

    Raises:
        ProfileError: if a watched table has neither a primary key nor another identity to build on.
    """
    tables = [await read_table(conn, route) for route in build_routes(profile).values()]
    return [
        *await _plan_schema(conn),
        *[s for table in tables for s in plan_identity(table)],
        *await _plan_publication(conn, publication, tables),
        *(await _plan_views(conn, profile) if with_views else ()),
        *await _plan_slot(conn, slot),
    ]


async def plan_realtime_setup(conn: AsyncConnection[Any], profile: Profile) -> list[Statement]:
    """List what is missing in the source for the transport without a slot, in the order in which to run it.

    Raises:
        ProfileError: if a watched table has neither a primary key nor another identity to build on.
    """
    routes = build_routes(profile)
    tables = [await read_table(conn, route) for route in routes.values()]
    return [
        *await _plan_schema(conn),
        *[s for table in tables for s in plan_identity(table)],
        *await _plan_views(conn, profile),
        *await plan_realtime(conn, routes),
    ]


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


async def _plan_publication(
    conn: AsyncConnection[Any], publication: str, tables: Sequence[WatchedTable]
) -> list[Statement]:
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
                as_text(template("alter publication {} set ({})"), name, _PUBLISH),
                "publish every kind of change, and changes of partitions as their table's",
            )
        )
    if not exists or have != want:
        listing = sql.SQL(", ").join(_published(table) for table in tables)
        change = "alter publication {} set table {}" if exists else "create publication {} for table {} with ({})"
        statements.append(
            Statement(
                as_text(template(change), name, listing, *([] if exists else [_PUBLISH])),
                "publish the watched tables, and of them only the columns that routing needs",
            )
        )
    return statements


def _published(table: WatchedTable) -> sql.Composable:
    name = relation(table.route.table)
    if table.published_columns is None:
        return name
    return sql.SQL("{} ({})").format(name, sql.SQL(", ").join(map(sql.Identifier, table.published_columns)))


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
            as_text(template("select pg_create_logical_replication_slot({}, 'pgoutput')"), sql.Literal(slot)),
            f"make the replication slot {slot}",
        )
    ]
