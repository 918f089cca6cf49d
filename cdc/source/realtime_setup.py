"""What Realtime needs in the source: tables in its publication, a canary, and a role that may read both.

The publication `supabase_realtime` belongs to the application as well. Tables are only added to it, and only by set-up.
Source: Supabase documentation, "Postgres Changes"; PostgreSQL documentation, "ALTER PUBLICATION".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from psycopg import AsyncConnection, sql

from cdc.errors import PreflightError
from cdc.routing.router import Route
from cdc.source.realtime_bell import CANARY_TABLE
from cdc.source.statements import Statement, as_text, relation, template

PUBLICATION: Final = "supabase_realtime"
READER: Final = "service_role"
"""The role that a secret key acts as. Elsewhere than on Supabase there may be none."""

_CANARY: Final = f"""
create table {CANARY_TABLE} (
    pipeline text primary key, beat text not null, at timestamptz not null default now()
);
comment on table {CANARY_TABLE} is
    'A row that is written by and by and must come back through Supabase Realtime; if it does not, the channel is deaf.'
"""


async def check_realtime(conn: AsyncConnection[Any], routes: Mapping[str, Route], slot: str) -> list[str]:
    """Check what Realtime needs; changes nothing.

    Returns:
        What to know: tables whose changes Realtime drops in part, and a slot that nobody reads any more.

    Raises:
        PreflightError: naming the cause and the fix.
    """
    await _check_publishes(conn)
    await _check_reader(conn, list(routes))
    return [*await _hidden_changes(conn, list(routes)), *await _idle_slot(conn, slot)]


async def plan_realtime(conn: AsyncConnection[Any], routes: Mapping[str, Route]) -> list[Statement]:
    """List what is missing: canary, rights, tables in the publication."""
    return [
        *await _plan_canary(conn),
        *await _plan_rights(conn),
        *await _plan_publication(conn, (*routes, CANARY_TABLE)),
    ]


async def _check_publishes(conn: AsyncConnection[Any]) -> None:
    row = await (
        await conn.execute(
            "select pubinsert and pubupdate and pubdelete from pg_publication where pubname = %s", [PUBLICATION]
        )
    ).fetchone()
    if row is not None and not row[0]:
        raise PreflightError(
            f"publication {PUBLICATION} leaves kinds of changes out",
            fix=f"ALTER PUBLICATION {PUBLICATION} SET (publish = 'insert, update, delete');",
        )


async def _check_reader(conn: AsyncConnection[Any], tables: list[str]) -> None:
    """Without SELECT the events come empty, with an error in them that the client drops."""
    rows = await (
        await conn.execute(
            """
            select t from pg_roles r, unnest(%s::text[]) as t
            where r.rolname = %s and not (has_table_privilege(r.oid, to_regclass(t)::oid, 'select')
                and has_schema_privilege(r.oid, split_part(t, '.', 1), 'usage'))
            order by 1
            """,
            [tables, READER],
        )
    ).fetchall()
    if rows:
        names = ", ".join(row[0] for row in rows)
        raise PreflightError(
            f"role {READER}, for which Realtime reads, may not read {names}",
            fix=f"GRANT SELECT ON {names} TO {READER};",
        )


async def _hidden_changes(conn: AsyncConnection[Any], tables: list[str]) -> list[str]:
    rows = await (
        await conn.execute(
            """
            select c.oid::regclass::text, c.relrowsecurity,
                   exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
            from pg_class c where c.oid = any(select to_regclass(t) from unnest(%s::text[]) as t) order by 1
            """,
            [tables],
        )
    ).fetchall()
    secured = [name for name, has_security, _ in rows if has_security]
    keyless = [name for name, _, has_key in rows if not has_key]
    notes = []
    if secured:
        notes.append(
            f"row-level security is on for {', '.join(secured)}: Realtime drops changes of rows that are gone or moved "
            "by the time it looks; the sweep finds them"
        )
    if keyless:
        notes.append(f"no primary key on {', '.join(keyless)}: Realtime says nothing of their rows; the sweep does")
    return notes


async def _idle_slot(conn: AsyncConnection[Any], slot: str) -> list[str]:
    row = await (
        await conn.execute("select 1 from pg_replication_slots where slot_name = %s and not active", [slot])
    ).fetchone()
    if row is None:
        return []
    return [f"slot {slot} is left over and holds WAL back: SELECT pg_drop_replication_slot('{slot}');"]


async def _plan_canary(conn: AsyncConnection[Any]) -> list[Statement]:
    row = await (await conn.execute("select to_regclass(%s) is null", [CANARY_TABLE])).fetchone()
    return [Statement(_CANARY.strip(), "make the canary's table")] if row and row[0] else []


async def _plan_rights(conn: AsyncConnection[Any]) -> list[Statement]:
    row = await (
        await conn.execute(
            """
            select coalesce(has_schema_privilege(r.oid, to_regnamespace('cdc')::oid, 'usage'), false),
                   coalesce(has_table_privilege(r.oid, to_regclass(%s)::oid, 'select'), false)
            from pg_roles r where r.rolname = %s
            """,
            [CANARY_TABLE, READER],
        )
    ).fetchone()
    if row is None:
        return []
    grants = (
        (row[0], f"grant usage on schema cdc to {READER}"),
        (row[1], f"grant select on {CANARY_TABLE} to {READER}"),
    )
    return [Statement(grant, "let Realtime read the canary") for has_it, grant in grants if not has_it]


async def _plan_publication(conn: AsyncConnection[Any], tables: tuple[str, ...]) -> list[Statement]:
    exists = await (
        await conn.execute("select puballtables from pg_publication where pubname = %s", [PUBLICATION])
    ).fetchone()
    rows = await (
        await conn.execute(
            "select schemaname || '.' || tablename from pg_publication_tables where pubname = %s", [PUBLICATION]
        )
    ).fetchall()
    missing = [table for table in tables if table not in {row[0] for row in rows}]
    if not missing or (exists and exists[0]):
        return []
    change = "alter publication {} add table {}" if exists else "create publication {} for table {}"
    listing = sql.SQL(", ").join(relation(table) for table in missing)
    return [
        Statement(
            as_text(template(change), sql.Identifier(PUBLICATION), listing),
            "let Realtime send the changes of the watched tables, and the canary",
        )
    ]
