"""What holds WAL back: open transactions, other slots, prepared transactions. Named, without a word of any query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import class_row

_WORTH_NAMING_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A session whose transaction has been open for a while: decoding begins before it, and new slots wait for it.

    Attributes:
        pid: of the session.
        open_seconds: since its transaction began.
        state: such as `idle in transaction`; None where the role may not see it.
        application: as the session calls itself.
        writes: it has written something; only such a one holds decoding back.
    """

    pid: int
    open_seconds: float
    state: str | None
    application: str | None
    writes: bool


@dataclass(frozen=True, slots=True)
class OtherSlot:
    """Another replication slot and the WAL that it keeps on the same disk."""

    name: str
    is_active: bool
    wal_status: str | None
    retained_wal_bytes: int | None


@dataclass(frozen=True, slots=True)
class PreparedTransaction:
    """A transaction that was prepared for a two-phase commit and never finished; pg_prepared_xacts has more of it."""

    transaction: str
    open_seconds: float
    database: str


@dataclass(frozen=True, slots=True)
class Holders:
    """All of them; the oldest, or largest, first."""

    transactions: tuple[OpenTransaction, ...] = ()
    slots: tuple[OtherSlot, ...] = ()
    prepared: tuple[PreparedTransaction, ...] = ()


async def read_holders(conn: AsyncConnection[Any], slot: str) -> Holders:
    """Look for what holds WAL back beside our slot.

    A role without pg_read_all_stats doesn't see other roles' transactions.
    """
    transactions = conn.cursor(row_factory=class_row(OpenTransaction))
    await transactions.execute(
        """
        select pid, extract(epoch from clock_timestamp() - xact_start)::float8 as open_seconds, state,
               nullif(application_name, '') as application, backend_xid is not null as writes
        from pg_stat_activity
        where xact_start < clock_timestamp() - make_interval(secs => %s) and pid <> pg_backend_pid()
          and backend_type = 'client backend'
        order by xact_start limit 5
        """,
        [_WORTH_NAMING_SECONDS],
    )
    slots = conn.cursor(row_factory=class_row(OtherSlot))
    await slots.execute(
        """
        select slot_name::text as name, active as is_active, wal_status,
               pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn()
                               end, restart_lsn)::bigint as retained_wal_bytes
        from pg_replication_slots where slot_name <> %s order by retained_wal_bytes desc nulls last limit 5
        """,
        [slot],
    )
    prepared = conn.cursor(row_factory=class_row(PreparedTransaction))
    await prepared.execute(
        """
        select transaction::text, extract(epoch from clock_timestamp() - prepared)::float8 as open_seconds,
               database::text
        from pg_prepared_xacts order by prepared limit 5
        """
    )
    return Holders(
        tuple(await transactions.fetchall()), tuple(await slots.fetchall()), tuple(await prepared.fetchall())
    )
