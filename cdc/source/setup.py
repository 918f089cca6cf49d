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
from cdc.source.publication import Published, read_publication
from cdc.source.realtime_setup import plan_realtime
from cdc.source.slots import can_fail_over, create_slot_sql
from cdc.source.statements import Statement, as_text, relation, template
from cdc.source.views import plan_views

_PUBLISH: Final = sql.SQL("publish = 'insert, update, delete, truncate', publish_via_partition_root = true")


async def plan_setup(
    conn: AsyncConnection[Any],
    profile: Profile,
    *,
    publication: str,
    slot: str | None,
    with_views: bool = True,
    failover: bool = False,
) -> list[Statement]:
    """List what is missing in the source, in the order in which to run it.

    Args:
        conn: to the source.
        profile: the feeds.
        publication: its name.
        slot: to make if it is missing; None for one that once was there: capture makes it anew, with the gap on record.
        with_views: False leaves the views as they are.
        failover: let standbys keep a copy of a new slot.

    Raises:
        ProfileError: if a watched table has neither a primary key nor another identity to build on.
    """
    tables = [await read_table(conn, route) for route in build_routes(profile).values()]
    return [
        *await _plan_schema(conn),
        *[s for table in tables for s in plan_identity(table)],
        *await _plan_publication(conn, publication, tables),
        *(await _plan_views(conn, profile) if with_views else ()),
        *([] if slot is None else await _plan_slot(conn, slot, failover=failover)),
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
    now = await read_publication(conn, publication)
    want = {
        t.route.table: Published(None if t.published_columns is None else frozenset(t.published_columns), False)
        for t in tables
    }
    name, statements = sql.Identifier(publication), []
    if now is not None and not now.is_complete_kind:
        statements.append(
            Statement(
                as_text(template("alter publication {} set ({})"), name, _PUBLISH),
                "publish every kind of change, and changes of partitions as their table's",
            )
        )
    if now is None or now.tables != want:
        listing = sql.SQL(", ").join(_published(table) for table in tables)
        change = "alter publication {} set table {}" if now else "create publication {} for table {} with ({})"
        statements.append(
            Statement(
                as_text(template(change), name, listing, *([] if now else [_PUBLISH])),
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


async def _plan_slot(conn: AsyncConnection[Any], slot: str, *, failover: bool) -> list[Statement]:
    exists = await (await conn.execute("select 1 from pg_replication_slots where slot_name = %s", [slot])).fetchone()
    if exists:
        return []
    return [
        Statement(
            create_slot_sql(slot, failover=failover and await can_fail_over(conn)),
            f"make the replication slot {slot}",
        )
    ]
