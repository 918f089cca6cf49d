"""Replication slots: what the server says of ours, and making one.

Columns that newer servers have are read through JSON, so one query serves them all. Sources: PostgreSQL documentation,
"pg_replication_slots", "CREATE_REPLICATION_SLOT" and "Replication Slot Synchronization".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row

from cdc.connection import connect
from cdc.errors import CdcError
from cdc.lsn import Lsn

log = structlog.get_logger()

FAILOVER_VERSION: Final = 170000  # `failover => true`
_WORTH_A_WORD_SECONDS: Final = 3.0
_AGAIN_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class SlotView:
    """A row of pg_replication_slots, and where the server's WAL is now.

    `wal_status` is reserved, extended, unreserved or lost. LSNs are None where the server has none.

    Attributes:
        invalidation: why the server gave it up (Postgres 17 or newer): wal_removed, idle_timeout and others.
        failover: standbys keep a copy of it (Postgres 17 or newer).
        synced: it came here as such a copy.
    """

    slot_name: str
    plugin: str | None
    database: str | None
    active_pid: int | None
    wal_status: str | None
    safe_wal_size: int | None
    restart: str | None
    confirmed: str | None
    current: str
    invalidation: str | None = None
    failover: bool = False
    synced: bool = False

    @property
    def confirmed_lsn(self) -> Lsn | None:
        """What was acknowledged. On Postgres 15 it may go back when the server restarts."""
        return None if self.confirmed is None else Lsn.parse(self.confirmed)

    @property
    def restart_lsn(self) -> Lsn | None:
        """Where the server begins to decode; a new slot's lies where the WAL ended when it was made."""
        return None if self.restart is None else Lsn.parse(self.restart)

    @property
    def current_lsn(self) -> Lsn:
        """The end of the server's WAL."""
        return Lsn.parse(self.current)

    @property
    def lag_bytes(self) -> int:
        """WAL between what was acknowledged and the end."""
        return max(0, self.current_lsn - (self.confirmed_lsn or self.current_lsn))

    @property
    def is_lost(self) -> bool:
        """True when the server gave it up."""
        return self.wal_status == "lost" or self.confirmed is None


async def read_slot(conn: AsyncConnection[Any], name: str) -> SlotView | None:
    """Look at a slot; None if there is none of that name."""
    cursor = conn.cursor(row_factory=class_row(SlotView))
    await cursor.execute(
        """
        select slot_name::text, plugin::text, database::text, active_pid, wal_status, safe_wal_size,
               restart_lsn::text as restart, confirmed_flush_lsn::text as confirmed, case when pg_is_in_recovery()
               then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end::text as current,
               to_jsonb(s) ->> 'invalidation_reason' as invalidation,
               coalesce((to_jsonb(s) ->> 'failover')::boolean, false) as failover,
               coalesce((to_jsonb(s) ->> 'synced')::boolean, false) as synced
        from pg_replication_slots s where slot_name = %s
        """,
        [name],
    )
    return await cursor.fetchone()


async def read_current_lsn(conn: AsyncConnection[Any]) -> Lsn:
    """Give the end of the server's WAL."""
    row = await (await conn.execute("select pg_current_wal_lsn()::text")).fetchone()
    assert row is not None  # noqa: S101 - a select without FROM gives a row
    return Lsn.parse(row[0])


def create_slot_sql(slot: str, *, failover: bool) -> str:
    """Write the statement that makes our slot.

    Args:
        slot: its name.
        failover: let standbys that synchronise slots keep a copy; Postgres 17 or newer.
    """
    more = sql.SQL(", failover => true") if failover else sql.SQL("")
    text = sql.SQL("select pg_create_logical_replication_slot({}, 'pgoutput'{})")
    return text.format(sql.Literal(slot), more).as_string(None)


async def can_fail_over(conn: AsyncConnection[Any]) -> bool:
    """Tell whether the server knows slots that standbys keep a copy of."""
    return conn.info.server_version >= FAILOVER_VERSION


async def create_slot(conn: AsyncConnection[Any], slot: str, *, failover: bool) -> None:
    """Make our slot. It waits for every transaction that is writing now, and says for which.

    A cancellation cancels it on the server too, which then leaves no slot behind.

    Args:
        conn: to the source.
        slot: its name.
        failover: as in `create_slot_sql`; ignored where the server doesn't know it.
    """
    statement = create_slot_sql(slot, failover=failover and await can_fail_over(conn))
    async with saying_what_it_waits_for(conn, f"make the replication slot {slot}"):
        await conn.execute(statement.encode())


@asynccontextmanager
async def saying_what_it_waits_for(conn: AsyncConnection[Any], what: str) -> AsyncIterator[None]:
    """While a statement of this connection takes long, name the transactions that are open before it."""
    dsn = make_conninfo(conn.info.dsn, password=conn.info.password or None)
    saying = asyncio.create_task(_say_blockers(dsn, what), name="what a slot waits for")
    try:
        yield
    finally:
        saying.cancel()
        with suppress(asyncio.CancelledError):
            await saying


async def _say_blockers(dsn: str, what: str) -> None:
    await asyncio.sleep(_WORTH_A_WORD_SECONDS)
    while True:
        with suppress(CdcError, psycopg.Error):
            conn = await connect(dsn, purpose="blockers")
            try:
                for pid, seconds in await read_writers(conn):
                    log.warning("waiting_for_a_transaction", to=what, pid=pid, open_seconds=seconds)
            finally:
                await conn.close()
        await asyncio.sleep(_AGAIN_SECONDS)


async def read_writers(conn: AsyncConnection[Any]) -> list[tuple[int, int]]:
    """Give (pid, age in seconds) of transactions that write and have been open for a while, oldest first."""
    cursor = await conn.execute(
        """
        select pid, extract(epoch from now() - xact_start)::int from pg_stat_activity
        where backend_xid is not null and pid <> pg_backend_pid() and xact_start < now() - interval '2 seconds'
        order by xact_start limit 5
        """
    )
    return await cursor.fetchall()
