"""What capture writes: outbox, journal and position, in one statement.

Invariants. The three commit together. The slot is acknowledged after that, up to the position and never beyond. One
process at a time may do it: the connection that commits holds an advisory lock, so a process that lost its connection
can't write a position any more, and its successor reads the true one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Final, LiteralString, Self

import psycopg
from psycopg import AsyncConnection

from cdc.connection import connect, is_transient
from cdc.errors import CdcError, SlotInUse, SourceUnavailable, StateError
from cdc.lsn import Lsn
from cdc.routing.feeds import Lane
from cdc.routing.groups import Group, Progress
from cdc.routing.windows import seconds_until_window_ends
from cdc.state.broken import Broken, mark_broken
from cdc.state.lineage import Lineage, read_lineage
from cdc.state.outbox import CHANNEL, MARK_SEEN_SQL, plain_array, text_array
from cdc.wire.journal import compress
from cdc.wire.messages import time_of
from sinks.reasons import Reason

_COMPRESS_ASIDE: Final = 250_000  # bytes from which compression would hold up the event loop for over a millisecond

_MOVE: LiteralString = """
    update cdc.position
    set lsn = %(lsn)s::pg_lsn, open_lsn = %(open_lsn)s::pg_lsn, open_changes = %(open_changes)s,
        committed_at = coalesce(%(committed_at)s::timestamptz, committed_at), captured_at = now()
    where slot = %(slot)s
"""
_RECORD: LiteralString = f"""
with moved as ({_MOVE} returning 1),
written as (
    insert into cdc.journal (slot, first_lsn, last_lsn, first_time, last_time, changes, relations, body)
    values (%(slot)s, %(first_lsn)s::pg_lsn, %(last_lsn)s::pg_lsn, %(first_time)s, %(last_time)s, %(changes)s,
            %(relations)s::jsonb, %(body)s)
    returning 1
),
marked as ({MARK_SEEN_SQL} returning 1),
notified as materialized (select pg_notify('{CHANNEL}', feed) from unnest(%(notified)s::text[]) as feed)
select (select count(*) from moved), (select count(*) from notified)
"""
# Keys of rows that were truncated away aren't in the stream; the ledger knows which were ever delivered, the outbox
# which are being delivered for the first time: their row was read before, so they must be read again.
_TRUNCATED: LiteralString = """
insert into cdc.outbox as o (feed, key, lane, due_at, dirty_at, first_lsn, last_lsn)
select feed, key, 'live', now(), %(last_time)s::timestamptz, %(last_lsn)s::pg_lsn, %(last_lsn)s::pg_lsn
from (
    select feed, key from cdc.ledger where feed = any(%(truncated)s) and state <> 'withdrawn'
    union select feed, key from cdc.outbox where feed = any(%(truncated)s)
) as known
order by feed collate "C", key collate "C"
on conflict (feed, key) do update
set due_at = least(o.due_at, excluded.due_at), generation = excluded.generation, last_lsn = excluded.last_lsn,
    parked_at = null, reason = null, detail = null
"""


SILENT_SECONDS: Final = 10
"""Without a word from us for so long, the server ends the session that holds the lock."""
_WORD_SECONDS: Final = 2.0

Wait = Callable[[AsyncConnection[Any]], Awaitable[bool]]


async def take_turn(conn: AsyncConnection[Any], slot: str) -> bool:
    """Try to take the slot's lock on this connection."""
    row = await (
        await conn.execute("select pg_try_advisory_lock(hashtextextended('cdc.capture.' || %s, 0))", [slot])
    ).fetchone()
    return bool(row and row[0])


async def lock_capture(conn: AsyncConnection[Any], slot: str) -> None:
    """Take the lock that lets one process capture, however it does it. It lasts as long as the connection.

    Raises:
        SlotInUse: if another process has it; try again in a second.
    """
    if not await take_turn(conn, slot):
        raise SlotInUse(f"another process captures from slot {slot}")


class CaptureStore:
    """The one connection that writes positions.

    Args:
        conn: holds the advisory lock of the slot; whoever writes a position writes it here.
        lineage: where that connection leads.
        slot: whose position it is.
        lane_seconds: length of each lane's window.
    """

    def __init__(
        self, conn: AsyncConnection[Any], lineage: Lineage, slot: str, lane_seconds: Mapping[Lane, float]
    ) -> None:
        self.conn = conn
        self.lineage = lineage
        self.slot = slot
        self._lane_seconds = lane_seconds

    @classmethod
    async def open(cls, dsn: str, slot: str, lane_seconds: Mapping[Lane, float], *, wait: Wait | None = None) -> Self:
        """Connect and take the slot's lock.

        Args:
            dsn: of the state.
            slot: whose position it is.
            lane_seconds: length of each lane's window.
            wait: waits for the lock on the connection; False says that the wait was broken off.

        Raises:
            SlotInUse: if another process has it.
        """
        conn = await connect(dsn, purpose=f"capture {slot}")
        async with AsyncExitStack() as unless_locked:  # a connection left behind would keep the lock, and everybody out
            unless_locked.push_async_callback(conn.close)
            if wait is None:
                await lock_capture(conn, slot)
            elif not await wait(conn):
                raise SlotInUse(f"another process captures from slot {slot}")
            lineage = await read_lineage(conn)
            if lineage.timeline is None:
                raise SourceUnavailable("the state database is a standby", fix="point CDC_STATE_DSN at the primary")
            silent = f"'{SILENT_SECONDS}s'"
            await conn.execute(
                f"set idle_session_timeout = {silent}; set idle_in_transaction_session_timeout = {silent}".encode()
            )
            unless_locked.pop_all()
        return cls(conn, lineage, slot, lane_seconds)

    async def keep_alive(self) -> None:
        """Say a word now and then on the connection that holds the lock, so that nobody takes us for stopped.

        Raises:
            SourceUnavailable: as soon as the connection, and with it the turn, is lost.
        """
        while True:
            await asyncio.sleep(_WORD_SECONDS)
            try:
                await self.conn.execute("select 1")
            except psycopg.Error as error:
                raise SourceUnavailable("the turn to capture was lost with its connection") from error

    async def close(self) -> None:
        """Let the lock go."""
        await self.conn.close()

    async def record(self, group: Group) -> None:
        """Make a group durable.

        Raises:
            SourceUnavailable: if the connection is lost; whether the group is durable then shows when it is read
                again.
            StateError: if the position is gone.
        """
        lsns = list(group.transactions)
        times = group.transactions.values()  # a clock may go back, so the first commit need not be the earliest
        body = (
            await asyncio.to_thread(compress, [group.body])
            if len(group.body) > _COMPRESS_ASIDE
            else compress([group.body])
        )
        params = {
            **self._moved(group.progress),
            **self._marked(group),
            "first_lsn": str(Lsn(lsns[0])),
            "last_lsn": str(Lsn(lsns[-1])),
            "first_time": time_of(min(times)),
            "last_time": time_of(max(times)),
            "changes": group.changes,
            "relations": json.dumps({n: {"table": r.table, "columns": r.columns} for n, r in group.relations.items()}),
            "body": body,
            "truncated": sorted(group.truncated),
            "notified": sorted({feed for feed, _ in group.dirty} | group.truncated),
        }
        try:
            if group.truncated or group.deaf:
                async with self.conn.transaction():
                    await self.conn.execute(_TRUNCATED, params)
                    await self._execute_record(params)
                    deaf = {feed: Broken(Reason.KEY_NOT_CAPTURED, words) for feed, words in group.deaf.items()}
                    await mark_broken(self.conn, deaf)
            else:
                await self._execute_record(params)
        except psycopg.Error as error:
            raise _translate(error) from error

    async def _execute_record(self, params: Mapping[str, Any]) -> None:
        row = await (await self.conn.execute(_RECORD, params)).fetchone()
        if row is None or row[0] != 1:
            raise StateError(f"the position of slot {self.slot} is gone", fix="run `cdc setup`")

    async def advance(self, progress: Progress) -> None:
        """Store a position that has nothing of ours before it."""
        try:
            await self.conn.execute(_MOVE, self._moved(progress))
        except psycopg.Error as error:
            raise _translate(error) from error

    def _moved(self, progress: Progress) -> dict[str, Any]:
        return {
            "slot": self.slot,
            "lsn": str(progress.lsn),
            "open_lsn": None if progress.open_lsn is None else str(progress.open_lsn),
            "open_changes": progress.open_changes,
            "committed_at": None if progress.commit_time is None else time_of(progress.commit_time),
        }

    def _marked(self, group: Group) -> dict[str, str | None]:
        """Give MARK_SEEN_SQL its arrays; written column by column, since a group marks thousands of keys."""
        now = datetime.now(UTC)
        due_in = {lane: str(seconds_until_window_ends(now, self._lane_seconds.get(lane, 0.0))) for lane in Lane}
        marks = group.dirty.values()
        lsns = {lsn for mark in marks for lsn in (mark.first_lsn, mark.last_lsn)}
        texts = {lsn: str(Lsn(lsn)) for lsn in lsns}
        times = {lsn: time_of(group.transactions[lsn]).isoformat() for lsn in lsns}
        return {
            "feeds": text_array([feed for feed, _ in group.dirty]),
            "keys": text_array([key for _, key in group.dirty]),
            "lanes": plain_array([mark.lane for mark in marks]),
            "due_in": plain_array([due_in[mark.lane] for mark in marks]),
            "dirty_at": text_array([times[mark.first_lsn] for mark in marks]),
            "first_lsns": plain_array([texts[mark.first_lsn] for mark in marks]),
            "last_lsns": plain_array([texts[mark.last_lsn] for mark in marks]),
            "forced": plain_array(["f"] * len(marks)),
            "cause": None,
        }


def _translate(error: psycopg.Error) -> CdcError:
    words = error.diag.message_primary or type(error).__name__
    if is_transient(error):
        return SourceUnavailable(f"the state database was lost: {words}")
    return StateError(f"the state database refused a group: {words}", fix="see `cdc status`; nothing was acknowledged")
