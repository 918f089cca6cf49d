"""One frozen picture of our slot: how far behind each position is, what it holds, and how long it will last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from cdc.lsn import Lsn
from cdc.watch.holders import Holders, read_holders
from cdc.watch.runway import Sample, runway_seconds, seconds_behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """A position, and how far it is behind the end of the server's WAL.

    Attributes:
        lsn: None if there is no such position now.
        bytes_behind: of WAL.
        seconds_behind: age of the oldest WAL that lies behind it; None if that is older than the samples.
    """

    lsn: str | None
    bytes_behind: int | None
    seconds_behind: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotHealth:
    """How our slot is.

    Attributes:
        at: the server's time.
        exists: there is a slot of our name.
        wal_status: reserved, extended, unreserved or lost.
        invalidation_reason: why the server gave it up (Postgres 17 or newer).
        active_pid: the server's process that reads it for somebody.
        failover: standbys keep a copy of it.
        end_lsn: of the server's WAL.
        received: what the reader has been sent and has taken; only while a stream runs.
        captured: our stored position.
        acknowledged: what the slot was told.
        retained_wal_bytes: WAL that it keeps on disk.
        safe_wal_bytes: WAL that may still be written before it is lost; None without a limit.
        limit_bytes: max_slot_wal_keep_size; None without a limit.
        runway_seconds: until it is lost at the present rate; None without a limit, or if it doesn't come nearer.
        holders: what holds WAL back beside it.
    """

    slot: str
    at: datetime
    exists: bool
    wal_status: str | None
    invalidation_reason: str | None
    active_pid: int | None
    failover: bool
    end_lsn: str
    received: Behind
    captured: Behind
    acknowledged: Behind
    retained_wal_bytes: int | None
    safe_wal_bytes: int | None
    limit_bytes: int | None
    runway_seconds: float | None
    holders: Holders = field(default_factory=Holders)


@dataclass(frozen=True, slots=True)
class _Row:
    at: datetime
    end_lsn: str
    limit_bytes: int | None
    slot_name: str | None
    wal_status: str | None
    safe_wal_size: int | None
    restart: str | None
    confirmed: str | None
    active_pid: int | None
    invalidation: str | None
    failover: bool
    received: str | None


async def _read_row(source: AsyncConnection[Any], slot: str) -> _Row:
    cursor = source.cursor(row_factory=class_row(_Row))
    await cursor.execute(
        """
        select clock_timestamp() as at, w.end_lsn::text,
               (select nullif(setting::bigint, -1) * 1048576 from pg_settings where name = 'max_slot_wal_keep_size')
                   as limit_bytes,
               s.slot_name::text, s.wal_status, s.safe_wal_size, s.restart_lsn::text as restart,
               s.confirmed_flush_lsn::text as confirmed, s.active_pid,
               to_jsonb(s) ->> 'invalidation_reason' as invalidation,
               coalesce((to_jsonb(s) ->> 'failover')::boolean, false) as failover, r.write_lsn::text as received
        from (select case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                          else pg_current_wal_lsn() end) as w (end_lsn)
        left join pg_replication_slots s on s.slot_name = %s
        left join pg_stat_replication r on r.pid = s.active_pid
        """,
        [slot],
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - an outer join of one row
    return row


async def read_slot_health(source: AsyncConnection[Any], state: AsyncConnection[Any] | None, slot: str) -> SlotHealth:
    """Look at a slot, its position and its samples; five small queries.

    Args:
        source: where the slot is.
        state: where position and samples are; None before the first set-up.
        slot: its name.
    """
    row = await _read_row(source, slot)
    position, samples = (None, ()) if state is None else await _read_stored(state, slot)

    def behind(lsn: str | None) -> Behind:
        if lsn is None:
            return Behind(lsn=None, bytes_behind=None, seconds_behind=None)
        there, end = Lsn.parse(lsn), Lsn.parse(row.end_lsn)
        seconds = seconds_behind(there, samples, row.at, end)
        return Behind(lsn=lsn, bytes_behind=max(0, end - there), seconds_behind=seconds)

    return SlotHealth(
        slot=slot,
        at=row.at,
        exists=row.slot_name is not None,
        wal_status=row.wal_status,
        invalidation_reason=row.invalidation,
        active_pid=row.active_pid,
        failover=row.failover,
        end_lsn=row.end_lsn,
        received=behind(row.received),
        captured=behind(position),
        acknowledged=behind(row.confirmed),
        retained_wal_bytes=_retained(row),
        safe_wal_bytes=row.safe_wal_size,
        limit_bytes=row.limit_bytes,
        runway_seconds=runway_seconds(samples, row.safe_wal_size),
        holders=await read_holders(source, slot),
    )


async def _read_stored(state: AsyncConnection[Any], slot: str) -> tuple[str | None, Sequence[Sample]]:
    row = await (await state.execute("select lsn::text from cdc.position where slot = %s", [slot])).fetchone()
    return None if row is None else row[0], await read_samples(state, slot)


def _retained(row: _Row) -> int | None:
    return None if row.restart is None else max(0, Lsn.parse(row.end_lsn) - Lsn.parse(row.restart))


async def read_samples(state: AsyncConnection[Any], slot: str) -> Sequence[Sample]:
    """Give the samples of the last day, oldest first."""
    rows = await (
        await state.execute(
            "select at, end_lsn::text, safe_wal_bytes from cdc.slot_sample where slot = %s order by at", [slot]
        )
    ).fetchall()
    return [Sample(at, Lsn.parse(end), safe) for at, end, safe in rows]


async def read_retained(state: AsyncConnection[Any], slot: str) -> Sequence[tuple[datetime, int]]:
    """Give the most WAL that the slot kept in each ten minutes of the last day, oldest first."""
    cursor = await state.execute(
        """
        select date_bin('10 minutes', at, timestamptz '2000-01-01 00:00+00') as begins_at, max(retained_wal_bytes)
        from cdc.slot_sample where slot = %s and at > now() - interval '24 hours' and retained_wal_bytes is not null
        group by 1 order by 1
        """,
        [slot],
    )
    return await cursor.fetchall()


async def take_sample(source: AsyncConnection[Any], state: AsyncConnection[Any], slot: str) -> None:
    """Write a sample down. A slot that isn't there leaves one too: the WAL goes on."""
    row = await _read_row(source, slot)
    await state.execute(
        """
        insert into cdc.slot_sample (slot, at, end_lsn, safe_wal_bytes, retained_wal_bytes)
        values (%s, %s, %s::pg_lsn, %s, %s) on conflict do nothing
        """,
        [slot, row.at, row.end_lsn, row.safe_wal_size, _retained(row)],
    )
