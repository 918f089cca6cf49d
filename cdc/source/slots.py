"""Replication slots: what the server says of ours, and whether it still joins up with our position.

Postgres moves a start position that it can't serve forward without a word, so the comparison is ours to make, before
the first row is read. Sources: PostgreSQL documentation, "pg_replication_slots" and "START_REPLICATION".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from cdc.lsn import Lsn


@dataclass(frozen=True, slots=True)
class SlotView:
    """A row of pg_replication_slots, and where the server's WAL is now.

    `wal_status` is reserved, extended, unreserved or lost. LSNs are None where the server has none.
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

    @property
    def confirmed_lsn(self) -> Lsn | None:
        """What was acknowledged. On Postgres 15 it may go back when the server restarts."""
        return None if self.confirmed is None else Lsn.parse(self.confirmed)

    @property
    def current_lsn(self) -> Lsn:
        """The end of the server's WAL."""
        return Lsn.parse(self.current)

    @property
    def lag_bytes(self) -> int:
        """WAL between what was acknowledged and the end."""
        return max(0, self.current_lsn - (self.confirmed_lsn or self.current_lsn))


@dataclass(frozen=True, slots=True)
class SystemIdentity:
    """Which cluster, and which line of its history."""

    system_id: str
    timeline: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Our position, as the state keeps it."""

    system_id: str
    timeline: int
    lsn: Lsn


async def read_slot(conn: AsyncConnection[Any], name: str) -> SlotView | None:
    """Look at a slot; None if there is none of that name."""
    cursor = conn.cursor(row_factory=class_row(SlotView))
    await cursor.execute(
        """
        select slot_name::text, plugin::text, database::text, active_pid, wal_status, safe_wal_size,
               restart_lsn::text as restart, confirmed_flush_lsn::text as confirmed, case when pg_is_in_recovery()
               then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end::text as current
        from pg_replication_slots where slot_name = %s
        """,
        [name],
    )
    return await cursor.fetchone()


async def read_current_lsn(conn: AsyncConnection[Any]) -> Lsn:
    """Give the end of the server's WAL."""
    row = await (await conn.execute("select pg_current_wal_lsn()::text")).fetchone()
    assert row is not None  # noqa: S101 - a select without FROM gives a row
    return Lsn.parse(row[0])


async def read_identity(conn: AsyncConnection[Any]) -> SystemIdentity:
    """Ask for the cluster's identity in ordinary SQL, as IDENTIFY_SYSTEM gives it."""
    cursor = await conn.execute(
        "select system_identifier::text, (select timeline_id from pg_control_checkpoint()) from pg_control_system()"
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - a function in FROM always gives a row
    return SystemIdentity(str(row[0]), int(row[1]))


def find_gap(position: Checkpoint, system: SystemIdentity, slot: SlotView | None, current: Lsn) -> str | None:
    """Say why the stream can't go on from our position; None when it can.

    Args:
        position: where capture stands.
        system: the cluster we are connected to.
        slot: our slot there, if any.
        current: end of the server's WAL.
    """
    if system.system_id != position.system_id:
        return "the database is another cluster than before (upgraded, moved or restored)"
    if current < position.lsn:
        return "the database is older than our position (restored from a backup)"
    if system.timeline != position.timeline and slot is None:
        return "the database failed over to a server without our slot"
    if slot is None:
        return "the slot was dropped"
    if system.timeline != position.timeline:  # the slot came along, but may stand behind what we never read
        return "the database failed over: changes between the fork and our position can't be told from those we have"
    if slot.wal_status == "lost" or slot.confirmed_lsn is None:
        return "the slot was invalidated: the server removed WAL that had not been read (max_slot_wal_keep_size)"
    if slot.confirmed_lsn > position.lsn:
        return "the slot was advanced or made anew by somebody else"
    return None
