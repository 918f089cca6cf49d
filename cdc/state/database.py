"""The state database: a pool of connections, and the migrations that make its tables."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, errors
from psycopg_pool import AsyncConnectionPool

from cdc.connection import KEEPALIVES, configure, connect, translate
from cdc.errors import StateError
from cdc.resources import sql_dir

Pool = AsyncConnectionPool[AsyncConnection[Any]]

_BOOKKEEPING: Final = (
    "create table if not exists cdc.migration "
    "(version integer primary key, name text not null, applied_at timestamptz not null default now())"
)
IDLE_TRANSACTION_SECONDS: Final = 20
"""How long a transaction of a pooled connection may stand between two statements."""
_WAIT_SECONDS: Final = 5.0  # for a free connection; a stop while the server is away waits no longer than this
_LOCK: Final = "select pg_advisory_xact_lock(hashtextextended('cdc.migrations', 0))"


@dataclass(frozen=True, slots=True)
class Migration:
    """A numbered file under `sql/state/`."""

    version: int
    name: str
    sql: str


def shipped_migrations() -> list[Migration]:
    """Read the migrations that come with this program, in order."""
    found = []
    for path in sorted((sql_dir() / "state").glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", path.name)
        if match is None:
            raise StateError(f"{path} is not named like a migration (0001_name.sql)")
        found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    return found


async def pending_migrations(conn: AsyncConnection[Any]) -> list[Migration]:
    """List what `migrate` would apply.

    Raises:
        StateError: if the database is ahead of this program.
    """
    row = await (await conn.execute("select to_regclass('cdc.migration') is not null")).fetchone()
    applied: set[int] = set()
    if row is not None and row[0]:
        applied = {r[0] for r in await (await conn.execute("select version from cdc.migration")).fetchall()}
    shipped = shipped_migrations()
    ahead = applied - {m.version for m in shipped}
    if ahead:
        raise StateError(
            f"the cdc schema is at migration {max(ahead)}, which this program doesn't know",
            fix="upgrade optio-cdc on this machine",
        )
    return [m for m in shipped if m.version not in applied]


def migration_script(migrations: Sequence[Migration]) -> str:
    """Write what `migrate` does as SQL for psql, in one transaction; empty if there is nothing to do."""
    if not migrations:
        return ""
    parts = ["begin;", f"{_LOCK};", "create schema if not exists cdc;", f"{_BOOKKEEPING};"]
    for migration in migrations:
        parts.append(f"-- migration {migration.version:04d} {migration.name}\n{migration.sql.strip()}")
        parts.append(f"insert into cdc.migration (version, name) values ({migration.version}, '{migration.name}');")
    return "\n".join((*parts, "commit;", ""))


async def migrate(dsn: str) -> list[Migration]:
    """Bring the state schema up to date; safe to run from several processes at once.

    Returns:
        What was applied.
    """
    conn = await connect(dsn, purpose="migrate")
    try:
        async with conn.transaction():
            await conn.execute(_LOCK)
            await conn.execute("create schema if not exists cdc")
            await conn.execute(_BOOKKEEPING)
            pending = await pending_migrations(conn)
            for migration in pending:
                await conn.execute(migration.sql)
                await conn.execute(
                    "insert into cdc.migration (version, name) values (%s, %s)", [migration.version, migration.name]
                )
    except errors.InsufficientPrivilege as error:
        raise StateError(
            f"the state schema can't be made: {error.diag.message_primary}",
            fix="grant the role CREATE on the database, or name another one in CDC_STATE_DSN",
        ) from None
    finally:
        await conn.close()
    return pending


async def _configure_pooled(conn: AsyncConnection[Any]) -> None:
    """As every connection of ours, and with an end for a transaction whose process is stopped in the middle of it.

    It would hold its outbox rows for as long as it is stopped, and capture waits for them.
    """
    await configure(conn)
    await conn.execute(f"set idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_SECONDS}s'")


@asynccontextmanager
async def open_pool(dsn: str, *, purpose: str, size: int = 4) -> AsyncIterator[Pool]:
    """Open a pool of autocommit connections, in UTC.

    A transaction that stands idle for `IDLE_TRANSACTION_SECONDS` is ended by the server; one that has reason to
    (a sweep waits for the other database) lifts that for itself with `set local`.

    Args:
        dsn: where to.
        purpose: shown in pg_stat_activity.
        size: connections at most. Supabase's smallest size allows 60 for everybody.

    Raises:
        PreflightError: when another try can't help.
        SourceUnavailable: when it may.
    """
    await (await connect(dsn, purpose=purpose)).close()  # the pool itself would try for long and not say why
    pool: Pool = AsyncConnectionPool(
        dsn,
        min_size=1,
        max_size=size,
        open=False,
        timeout=_WAIT_SECONDS,
        configure=_configure_pooled,
        check=AsyncConnectionPool.check_connection,
        kwargs={"autocommit": True, "application_name": f"cdc {purpose}", **KEEPALIVES},
        name=purpose,
    )
    try:
        await pool.open(wait=True, timeout=15)
    except psycopg.Error as error:
        await pool.close()
        raise translate(error, dsn) from None
    try:
        yield pool
    finally:
        await pool.close()
