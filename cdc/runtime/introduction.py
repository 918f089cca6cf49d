"""What a database is like, in the words of somebody who meets it for the first time. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from cdc.connection import Route, connect, parse_dsn, route_of, unverified
from cdc.source.poolers import check_sessions
from cdc.source.preflight import MINIMUM_VERSION

_ASK = """
select current_user::text, current_database()::text, current_setting('server_version'),
       current_setting('server_version_num')::int, current_setting('wal_level'),
       r.rolreplication or r.rolsuper, r.rolbypassrls or r.rolsuper
from pg_roles r where r.rolname = current_user
"""


@dataclass(frozen=True, slots=True)
class Introduction:
    """A database that answered.

    Attributes:
        lines: what is so, and what it means.
        problems: what would keep the pipeline from working, each with its remedy.
    """

    lines: tuple[str, ...]
    problems: tuple[str, ...]


async def introduce(dsn: str) -> Introduction:
    """Connect, and say what is there.

    Raises:
        ConfigError: if another try can't help: a wrong password, a pooler that carries no session.
        SourceUnavailable: if nobody answers now.
    """
    await check_sessions(dsn)
    conn = await connect(dsn, purpose="init")
    try:
        row = await (await conn.execute(_ASK)).fetchone()
    finally:
        await conn.close()
    assert row is not None  # noqa: S101 - everybody has a row in pg_roles
    role, database, version, number, wal_level, may_replicate, sees_all = row
    lines = [
        f"connected to {_where(dsn)} as {role}, database {database}, Postgres {version}",
        _route_in_words(route_of(dsn)),
    ]
    problems = []
    if number < MINIMUM_VERSION:
        problems.append("Postgres 15 or newer is needed. Supabase: dashboard, Infrastructure, upgrade.")
    if wal_level == "logical":
        lines.append("wal_level is logical: the server keeps a readable diary of every change, which is what we follow")
    else:
        problems.append(
            f"wal_level is {wal_level}: the server's diary of changes can't be read row by row. "
            "ALTER SYSTEM SET wal_level = 'logical'; then restart the server. Supabase has it already."
        )
    if may_replicate:
        lines.append(f"{role} may follow that diary (the REPLICATION right)")
    else:
        problems.append(
            f'{role} may not follow that diary. ALTER ROLE "{role}" REPLICATION; or, on Supabase, use postgres'
        )
    if not sees_all:
        lines.append(
            f"{role} is subject to row-level security (no BYPASSRLS); whether that hides anything is checked next"
        )
    advice = unverified(dsn)
    if advice is not None:
        lines.append(f"note: {advice}, with the certificate of docs/quickstart.md")
    return Introduction(tuple(lines), tuple(problems))


def _where(dsn: str) -> str:
    parts = parse_dsn(dsn)
    return f"{parts.get('host') or 'this machine'}:{parts.get('port') or 5432}"


def _route_in_words(route: Route) -> str:
    if route is Route.SESSION_POOLER:
        return (
            "this is Supabase's session pooler: changes are fetched by asking every half second (transport poll). The "
            "direct address would have them pushed, if this machine has IPv6"
        )
    return "this looks like a direct address: the server can push changes as they happen (transport stream)"
