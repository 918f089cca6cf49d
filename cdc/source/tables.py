"""Watched tables: are they there, with their key columns, and may we read them?"""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection

from cdc.errors import CdcError, PreflightError, ProfileError
from cdc.routing.feeds import Profile
from cdc.routing.router import Route, build_routes


async def table_problems(conn: AsyncConnection[Any], profile: Profile, role: str) -> list[CdcError]:
    """List what keeps watched tables from being followed and read: one problem for each table at most.

    Args:
        conn: to the source.
        profile: the feeds.
        role: whom the connection acts as.
    """
    routes = build_routes(profile)
    rows = await (
        await conn.execute(
            """
            select w.name, c.oid is not null,
                   array(select a.attname::text from pg_attribute a
                         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
                   coalesce(has_table_privilege(c.oid, 'select'), false), coalesce(c.relkind in ('r', 'p'), false)
            from unnest(%s::text[]) as w (name)
            left join pg_class c on c.oid = to_regclass(w.name)
            """,
            [list(routes)],
        )
    ).fetchall()
    found = [
        _table_problem(profile, role, routes[table], exists=exists and is_table, columns=columns, readable=readable)
        for table, exists, columns, readable, is_table in rows
    ]
    return [problem for problem in found if problem is not None]


def _table_problem(
    profile: Profile, role: str, route: Route, *, exists: bool, columns: list[str], readable: bool
) -> CdcError | None:
    feeds = ", ".join(sorted({target.feed for target in route.targets}))
    where = f"{profile.feeds_file}: feed {feeds}"
    if not exists:
        return ProfileError(f"{where}: watches table {route.table}, which doesn't exist in the database")
    missing = [column for column in route.columns if column not in columns]
    if missing:
        return ProfileError(f"{where}: key column {route.table}.{missing[0]} doesn't exist")
    if readable:
        return None
    return PreflightError(f"role {role} may not read {route.table}", fix=f'GRANT SELECT ON {route.table} TO "{role}";')
