"""Poolers between us and Postgres: which ones will do.

Capture lives on sessions: an advisory lock, a cursor, LISTEN. A pooler in session mode gives each connection a session
of its own and will do for `poll`; in transaction mode it gives each transaction whichever session is free. Supabase's
is known by its port; one of somebody's own is found out here, by watching which server process answers.

Sources: Supabase documentation, "Connect to your database"; PgBouncer documentation, "SQL feature map for pooling
modes", `server_reset_query`, `server_round_robin`.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Final, LiteralString

import psycopg
from psycopg import AsyncConnection

from cdc.connection import Route, connect, route_of, translate
from cdc.errors import PreflightError, SourceUnavailable

_PROBE_SECONDS: Final = 30.0
_ROUNDS: Final = 3  # pairs of them
_WAYS_OUT: Final = (
    "use the direct host (db.<ref>.supabase.co:5432), or the session pooler "
    "(<region>.pooler.supabase.com:5432) with CDC_TRANSPORT=poll"
)

Backend = tuple[int, object]
"""A server process: its id, and when it began."""


def refuse_transaction_pooler(dsn: str, setting: str = "DATABASE_URL") -> None:
    """Refuse an address that gives each statement another session.

    Args:
        dsn: where it leads to is looked at.
        setting: where it was set.

    Raises:
        PreflightError: for port 6543 of a Supabase host.
    """
    if route_of(dsn) is Route.TRANSACTION_POOLER:
        raise _transaction_mode(setting, "port 6543")


async def check_sessions(dsn: str, setting: str = "DATABASE_URL") -> None:
    """See whether each connection has a session of its own, and a clean one. Changes nothing.

    Args:
        dsn: where to.
        setting: where it was set.

    Raises:
        PreflightError: if a pooler shares sessions out, or hands them on as they were left.
        SourceUnavailable: if the server can't be reached, or has no room for two connections.
    """
    refuse_transaction_pooler(dsn, setting)
    try:
        async with asyncio.timeout(_PROBE_SECONDS), AsyncExitStack() as stack:
            one, other = [await _open(stack, dsn) for _ in range(2)]
            if await _share_sessions(one, other):
                raise _transaction_mode(setting, "two connections were given one session in turns")
            for conn in (one, other):
                await conn.execute("select set_config('cdc.left_behind', 'yes', false)")
                await conn.close()
            heir = await _open(stack, dsn)
            row = await (await heir.execute("select current_setting('cdc.left_behind', true)")).fetchone()
    except TimeoutError:
        raise SourceUnavailable(
            f"{setting}: the server gave no answer while two connections were tried", fix="see whether its pool is full"
        ) from None
    except psycopg.Error as error:
        raise translate(error, dsn) from None
    if row is not None and row[0] == "yes":
        raise PreflightError(
            f"{setting} leads to a pooler that hands sessions on as they were left: a lock of a process that is gone "
            "would stay, and nobody could capture",
            fix="set server_reset_query = DISCARD ALL in the pooler's configuration",
        )


async def _open(stack: AsyncExitStack, dsn: str) -> AsyncConnection[Any]:
    conn = await connect(dsn, purpose="preflight sessions")
    stack.push_async_callback(conn.close)
    return conn


async def _share_sessions(one: AsyncConnection[Any], other: AsyncConnection[Any]) -> bool:
    """Provoke a change of sessions, and watch for it.

    A pooler gives out the session that was returned last (PgBouncer by default) or the one that waited longest
    (`server_round_robin`). Both connections hold one in a transaction and return them in either order, so in one of
    two rounds the first connection gets another than it had. Others who ask through the same pool can undo that, so
    there are some rounds more: none of our connections may ever be answered by another process than at first.
    """
    theirs = {conn: await _backend(conn) for conn in (one, other)}
    if theirs[one] == theirs[other]:
        return True
    for returning in ((one, other), (other, one)) * _ROUNDS:
        for conn in (one, other):
            if await _backend(conn, "begin; ") != theirs[conn]:
                return True
        for conn in returning:
            await conn.execute("commit")
        if await _backend(one) != theirs[one]:
            return True
    return False


async def _backend(conn: AsyncConnection[Any], before: LiteralString = "") -> Backend:
    cursor = await conn.execute(
        before + "select pid, backend_start from pg_stat_get_activity(pg_backend_pid())", prepare=False
    )
    while cursor.nextset():
        pass
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - it runs, so it is there
    return int(row[0]), row[1]


def _transaction_mode(setting: str, sign: str) -> PreflightError:
    return PreflightError(
        f"{setting} leads to a pooler in transaction mode ({sign}), which carries neither replication nor sessions",
        fix=_WAYS_OUT,
    )
