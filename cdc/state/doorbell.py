"""What a doorbell writes: dirty keys, and how it stands. No journal and no position: a bell has no LSN."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, LiteralString, Self

import psycopg
from psycopg import AsyncConnection

from cdc.connection import connect, is_transient
from cdc.errors import CdcError, ConfigError, SourceUnavailable, StateError
from cdc.routing.feeds import Lane
from cdc.routing.rings import Key
from cdc.routing.windows import seconds_until_window_ends
from cdc.state.capture import lock_capture
from cdc.state.outbox import Mark, mark

_MARKS_A_STATEMENT: Final = 2_000

_NOTE: LiteralString = """
insert into cdc.doorbell as d (pipeline, state, cause, joined_at, heard_at, latency_ms, rebuilds)
values (%(pipeline)s, %(state)s, %(cause)s, %(joined_at)s, %(heard_at)s, %(latency_ms)s, %(rebuilds)s)
on conflict (pipeline) do update set
    state = excluded.state, cause = coalesce(excluded.cause, d.cause),
    joined_at = coalesce(excluded.joined_at, d.joined_at), heard_at = coalesce(excluded.heard_at, d.heard_at),
    latency_ms = coalesce(excluded.latency_ms, d.latency_ms), rebuilds = excluded.rebuilds, updated_at = now()
"""


@dataclass(frozen=True, slots=True)
class Touch:
    """How a key was touched: how urgently, and since when it may be out of date."""

    lane: Lane
    dirty_at: datetime

    def join(self, other: Touch) -> Touch:
        """Put two touches of a key together: the more urgent lane, the earlier time."""
        lane = min(self.lane, other.lane, key=lambda lane: lane.patience)
        return Touch(lane, min(self.dirty_at, other.dirty_at))


def marks_of(touched: Mapping[Key, Touch], lane_seconds: Mapping[Lane, float]) -> list[Mark]:
    """Turn touched keys into marks, in the order in which everybody locks the outbox.

    Args:
        touched: by feed and key.
        lane_seconds: length of each lane's window.
    """
    now = datetime.now(UTC)
    due_in = {lane: seconds_until_window_ends(now, lane_seconds.get(lane, 0.0)) for lane in Lane}
    return [
        Mark(feed=feed, key=key, lane=touch.lane, dirty_at=touch.dirty_at, due_in_seconds=due_in[touch.lane])
        for (feed, key), touch in sorted(touched.items())
    ]


@dataclass(frozen=True, slots=True)
class DoorbellState:
    """A row of cdc.doorbell; what is None stays as it was."""

    state: str
    cause: str | None = None
    joined_at: datetime | None = None
    heard_at: datetime | None = None
    latency_ms: int | None = None
    rebuilds: int = 0


class DoorbellStore:
    """The one connection that marks what Realtime says. It holds the lock that capture from a slot holds as well.

    Args:
        conn: holds the advisory lock.
        pipeline: its name.
        lane_seconds: length of each lane's window.
    """

    def __init__(self, conn: AsyncConnection[Any], pipeline: str, lane_seconds: Mapping[Lane, float]) -> None:
        self._conn = conn
        self._pipeline = pipeline
        self._lane_seconds = lane_seconds
        self._free = asyncio.Lock()  # a note must not become part of a mark's transaction

    @classmethod
    async def open(cls, dsn: str, pipeline: str, lane_seconds: Mapping[Lane, float]) -> Self:
        """Connect and take the pipeline's lock.

        Raises:
            SlotInUse: if another process has it; try again in a second.
        """
        conn = await connect(dsn, purpose=f"capture {pipeline}")
        async with AsyncExitStack() as unless_locked:
            unless_locked.push_async_callback(conn.close)
            await lock_capture(conn, pipeline)
            unless_locked.pop_all()
        return cls(conn, pipeline, lane_seconds)

    async def close(self) -> None:
        """Let the lock go."""
        await self._conn.close()

    async def mark(self, touched: Mapping[Key, Touch]) -> None:
        """Make touched keys dirty; each statement is a transaction.

        Raises:
            SourceUnavailable: if the connection is lost; a sweep then finds what wasn't marked.
            StateError: if the state refuses.
        """
        marks = marks_of(touched, self._lane_seconds)
        try:
            for start in range(0, len(marks), _MARKS_A_STATEMENT):
                await self._mark(marks[start : start + _MARKS_A_STATEMENT])
        except psycopg.Error as error:
            raise _translate(error) from error

    async def _mark(self, marks: Sequence[Mark]) -> None:
        async with self._free, self._conn.transaction():
            await mark(self._conn, marks)

    async def note(self, state: DoorbellState) -> None:
        """Write down how the channel stands, for `cdc status`."""
        values = {"pipeline": self._pipeline} | {name: getattr(state, name) for name in state.__slots__}
        try:
            async with self._free:
                await self._conn.execute(_NOTE, values)
        except psycopg.Error as error:
            raise _translate(error) from error


async def note_sweep(conn: AsyncConnection[Any], pipeline: str, seconds: float) -> None:
    """Write down that everything was compared just now, and how long it took."""
    await conn.execute(
        "update cdc.doorbell set swept_at = now(), sweep_ms = %s where pipeline = %s", [round(seconds * 1000), pipeline]
    )


async def refuse_without_journal(conn: AsyncConnection[Any], pipeline: str) -> None:
    """Refuse what needs LSNs where the last thing that was heard came without one.

    Args:
        conn: to the state.
        pipeline: its name.

    Raises:
        ConfigError: if changes are heard through Realtime.
    """
    row = await (
        await conn.execute(
            """
            select 1 from cdc.doorbell d left join cdc.position p on p.slot = d.pipeline
            where d.pipeline = %s and d.joined_at is not null and d.updated_at > coalesce(p.captured_at, '-infinity')
            """,
            [pipeline],
        )
    ).fetchone()
    if row is not None:
        raise ConfigError(
            "there is no journal to replay from: changes are heard through Supabase Realtime, which has no LSNs",
            fix="use `cdc sweep`: it compares every record and needs no journal",
        )


def _translate(error: psycopg.Error) -> CdcError:
    words = error.diag.message_primary or type(error).__name__
    if is_transient(error):
        return SourceUnavailable(f"the state database was lost: {words}")
    return StateError(f"the state database refused a mark: {words}", fix="see `cdc status`")
