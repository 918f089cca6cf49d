"""Waits until everything that a snapshot shows is in the outbox or delivered: only then can it be told apart.

An idle position follows the WAL in steps, so that it may stand just before the snapshot for ever. A message in the WAL
that nobody decodes makes the step due; it is no write to any table.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg
from psycopg import AsyncConnection

from cdc.runtime.connections import Connections
from cdc.source.session import IDLE_ADVANCE_BYTES

BARRIER_SECONDS: Final = 600.0
_LOOK_SECONDS: Final = 0.05
_NUDGE_SECONDS: Final = 5.0

# Without a slot there is no position; a sweep that began after the snapshot has marked all that the snapshot shows.
_PASSED_SQL: LiteralString = """
select exists (select from cdc.position where slot = %(slot)s and lsn >= %(lsn)s::pg_lsn)
    or exists (select from cdc.doorbell d where d.pipeline = %(slot)s
               and d.swept_at - make_interval(secs => d.sweep_ms / 1000.0) > %(at)s),
    exists (select from cdc.worker where role = 'capture' and seen_at > now() - interval '35 seconds')
"""


@dataclass(frozen=True, slots=True)
class Barrier:
    """A moment in the source.

    Attributes:
        lsn: everything that the snapshot shows committed before it.
        at: when the snapshot was there, as the state's clock has it.
    """

    lsn: str
    at: datetime


async def read_barrier(source: AsyncConnection[Any], state: AsyncConnection[Any]) -> Barrier:
    """Give the moment of a snapshot, which this makes if the transaction has none yet."""
    lsn = await (await source.execute("select pg_current_wal_insert_lsn()::text")).fetchone()
    at = await (await state.execute("select clock_timestamp()")).fetchone()
    assert lsn is not None  # noqa: S101 - a select without FROM gives a row
    assert at is not None  # noqa: S101 - the same
    return Barrier(lsn[0], at[0])


async def wait_until_captured(
    connections: Connections, slot: str, barrier: Barrier, seconds: float = BARRIER_SECONDS
) -> bool:
    """Wait until capture has passed a barrier. Returns False when the time is over, or when nobody captures."""
    deadline, nudge_at = time.monotonic() + seconds, 0.0
    while True:
        async with connections.state.connection() as state:
            cursor = await state.execute(_PASSED_SQL, {"slot": slot, "lsn": barrier.lsn, "at": barrier.at})
            row = await cursor.fetchone()
        has_passed, is_captured = row or (False, False)
        now = time.monotonic()
        if has_passed or not is_captured or now >= deadline:
            return bool(has_passed)
        if now >= nudge_at:
            nudge_at = now + _NUDGE_SECONDS
            await _nudge(connections)
        await asyncio.sleep(_LOOK_SECONDS)


async def _nudge(connections: Connections) -> None:
    with suppress(psycopg.Error):  # a role that may not do this waits for the next write of somebody else's
        async with connections.source.connection() as source:
            await source.execute(
                "select pg_logical_emit_message(false, 'optio-cdc', repeat('.', %s))", [IDLE_ADVANCE_BYTES + 1_024]
            )
