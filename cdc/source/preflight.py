"""Everything that must be true of the source before anything is changed there.

Each check knows what is wrong and how to put it right. All of them only read. The first failure stops the start with
exit code 2, so that a half-made set-up never happens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog
from psycopg import AsyncConnection, errors

from cdc.connection import Route as DsnRoute
from cdc.connection import connect, route_of, unverified
from cdc.errors import CdcError, PreflightError, SourceUnavailable
from cdc.routing.feeds import Profile
from cdc.routing.router import build_routes
from cdc.source.poolers import check_sessions
from cdc.source.realtime_setup import check_realtime
from cdc.source.slots import read_slot
from cdc.source.tables import table_problems
from cdc.source.views import plan_views

log = structlog.get_logger()

MINIMUM_VERSION: Final = 150000  # column lists in publications

TransportName = Literal["stream", "poll", "realtime"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """What preflight found.

    Attributes:
        transport: the one to use.
        why: one sentence for the log.
        server_version: as `server_version_num`.
        notes: what to know beforehand; nothing that stops a start.
    """

    transport: TransportName
    why: str
    server_version: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """What the checks look at.

    Attributes:
        conn: to the source.
        profile: what is watched.
        slot: name of the slot.
        role: whom the connection acts as.
    """

    conn: AsyncConnection[Any]
    profile: Profile
    slot: str
    role: str


async def check_source(
    dsn: str,
    profile: Profile,
    *,
    slot: str,
    wanted: Literal["auto", "stream", "poll", "realtime"],
    has_realtime: bool = False,
) -> Readiness:
    """Check the source and choose the transport. Changes nothing.

    Args:
        dsn: of the source.
        profile: what is watched.
        slot: name of the slot.
        wanted: as set. `auto` takes `realtime` only where no slot can be had.
        has_realtime: Supabase Realtime is configured.

    Raises:
        PreflightError: naming the cause and the fix.
        ProfileError: if the profile names a table or column that isn't there.
        SourceUnavailable: if the server can't be reached now.
    """
    advice = unverified(dsn)
    if advice is not None:
        log.warning("source_not_verified", advice=advice)
    await check_sessions(dsn)
    conn = await connect(dsn, purpose="preflight")
    try:
        row = await (
            await conn.execute("select current_user::text, current_setting('server_version_num')::int")
        ).fetchone()
        assert row is not None  # noqa: S101 - a select without FROM gives a row
        role, version = str(row[0]), int(row[1])
        if version < MINIMUM_VERSION:
            raise PreflightError(
                f"the server is Postgres {version // 10000}; publications with column lists need 15 or newer",
                fix="upgrade the project (Supabase dashboard, Infrastructure)",
            )
        subject = Subject(conn, profile, slot, role)
        no_slot = await _why_no_slot(subject, wanted, has_realtime=has_realtime)
        for check in _CHECKS:
            await check(subject)
        if no_slot is not None:
            notes = await check_realtime(conn, build_routes(profile), slot)
            return Readiness("realtime", no_slot, version, tuple(notes))
    finally:
        await conn.close()
    transport, why = await choose_transport(dsn, wanted)
    return Readiness(transport, why, version)


async def _why_no_slot(s: Subject, wanted: str, *, has_realtime: bool) -> str | None:
    """Say why the source is heard through Realtime; None if a slot is read.

    Raises:
        PreflightError: if no slot can be had and there is nothing else.
    """
    if wanted == "realtime":
        return "CDC_TRANSPORT asks for it"
    try:
        for check in _SLOT_CHECKS:
            await check(s)
    except PreflightError as error:
        if wanted != "auto" or not has_realtime:
            raise
        return f"no slot can be had ({error.message}); Realtime rings, and sweeps find what it drops"
    return None


async def choose_transport(dsn: str, wanted: str) -> tuple[TransportName, str]:
    """Choose between the ways to read the slot, and say why. Opens a replication connection to see whether it works.

    Raises:
        CdcError: if `stream` is wanted and can't be had.
    """
    if wanted == "poll":
        return "poll", "CDC_TRANSPORT asks for it"
    if route_of(dsn) is DsnRoute.SESSION_POOLER:
        if wanted == "stream":
            raise PreflightError(
                "CDC_TRANSPORT=stream can't work here: the session pooler doesn't carry the replication protocol",
                fix="use the direct host (db.<ref>.supabase.co:5432), or set CDC_TRANSPORT=poll",
            )
        return "poll", "the session pooler doesn't carry the replication protocol; the same slot is read by SQL"
    try:
        await _try_replication(dsn)
    except CdcError as error:
        if wanted == "stream":
            raise
        return "poll", f"a replication connection isn't to be had ({error.message}); the same slot is read by SQL"
    return "stream", "a replication connection works"


async def _try_replication(dsn: str) -> None:
    conn = await connect(dsn, purpose="preflight replication", replication=True)
    try:
        await conn.execute("IDENTIFY_SYSTEM")
    except errors.SyntaxError:
        raise PreflightError(
            "the server took IDENTIFY_SYSTEM for SQL: a pooler stands between us and Postgres",
            fix="use the direct host, or set CDC_TRANSPORT=poll",
        ) from None
    except errors.Error as error:
        raise SourceUnavailable(f"the replication connection failed: {type(error).__name__}") from None
    finally:
        await conn.close()


async def check_wal_level(s: Subject) -> None:
    """See whether the server writes what decoding needs."""
    level = await _scalar(s.conn, "show wal_level")
    if level != "logical":
        raise PreflightError(
            f"wal_level is {level}; changes can only be read with logical",
            fix="ALTER SYSTEM SET wal_level = 'logical';  -- then restart the server",
        )


async def check_replication_right(s: Subject) -> None:
    """See whether the role may read a slot."""
    may = await _scalar(s.conn, "select rolreplication or rolsuper from pg_roles where rolname = current_user")
    if not may:
        raise PreflightError(
            f"role {s.role} lacks the REPLICATION attribute",
            fix=f'ALTER ROLE "{s.role}" REPLICATION;  -- on Supabase before Postgres 17: use the role postgres instead',
        )


async def check_free_slot(s: Subject) -> None:
    """See whether our slot is ours, or can be made."""
    slot = await read_slot(s.conn, s.slot)
    if slot is not None:
        database = await _scalar(s.conn, "select current_database()")
        if slot.plugin != "pgoutput" or slot.database != database:
            raise PreflightError(
                f"slot {s.slot} exists already, for plugin {slot.plugin} in database {slot.database}",
                fix="set CDC_SLOT to another name, or drop that slot if nothing uses it",
            )
        return
    used = await (await s.conn.execute("select slot_name::text, active from pg_replication_slots")).fetchall()
    allowed = int(await _scalar(s.conn, "show max_replication_slots"))
    if len(used) >= allowed:
        idle = [name for name, active in used if not active]
        fix = (
            f"drop one that nothing uses: SELECT pg_drop_replication_slot('{idle[0]}');  -- inactive: {', '.join(idle)}"
        )
        raise PreflightError(
            f"no free replication slot: all {allowed} of max_replication_slots are taken",
            fix=fix if idle else "raise max_replication_slots (on Supabase: supabase postgres-config update)",
        )


async def _check_tables(s: Subject) -> None:
    for problem in await table_problems(s.conn, s.profile, s.role):
        raise problem


async def check_row_security(s: Subject) -> None:
    """Logical decoding ignores row-level security, the views don't: an empty view would look like success."""
    hidden = await (
        await s.conn.execute(
            """
            select c.oid::regclass::text
            from pg_class c join pg_roles r on r.rolname = current_user
            where c.oid = any(select to_regclass(t) from unnest(%s::text[]) t)
              and c.relrowsecurity and not r.rolbypassrls and not r.rolsuper
              and (c.relforcerowsecurity or not pg_has_role(current_user, c.relowner, 'usage'))
            order by 1
            """,
            [list(build_routes(s.profile))],
        )
    ).fetchall()
    if hidden:
        raise PreflightError(
            f"row-level security hides rows of {', '.join(row[0] for row in hidden)} from role {s.role}",
            fix=f'ALTER ROLE "{s.role}" BYPASSRLS;  -- on Supabase the role postgres has it already',
        )


async def check_schema_right(s: Subject) -> None:
    """See whether the role may make what set-up makes."""
    may = await _scalar(
        s.conn,
        """
        select case when to_regnamespace('cdc') is null then has_database_privilege(current_database(), 'create')
                    else has_schema_privilege('cdc', 'create') end
        """,
    )
    # Where somebody else has made the views, set-up has nothing to make and needs no right to.
    sees = await _scalar(s.conn, "select has_schema_privilege(to_regnamespace('cdc')::oid, 'usage')")
    if not may and not (sees and await plan_views(s.conn, s.profile) is None):
        raise PreflightError(
            f"role {s.role} may not make the schema cdc or its views",
            fix=f'as the database owner: CREATE SCHEMA cdc AUTHORIZATION "{s.role}";',
        )


async def _scalar(conn: AsyncConnection[Any], sql: str) -> Any:
    row = await (await conn.execute(sql)).fetchone()
    return None if row is None else row[0]


_SLOT_CHECKS: Final[tuple[Callable[[Subject], Awaitable[None]], ...]] = (
    check_wal_level,
    check_replication_right,
    check_free_slot,
)
_CHECKS: Final[tuple[Callable[[Subject], Awaitable[None]], ...]] = (
    _check_tables,
    check_row_security,
    check_schema_right,
)
