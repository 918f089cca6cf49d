"""Standing by: waiting for one's turn to capture, and making sure that the predecessor is really gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from psycopg import AsyncConnection, errors

from cdc.source.stream import SENDER_TIMEOUT_SECONDS
from cdc.state.turn import end_silent_holder, take_turn
from cdc.waiting import wait_at_most

log = structlog.get_logger()

_LOOK_SECONDS: Final = 0.25
_JUDGE_SECONDS: Final = 1.0
_LEAVE_SECONDS: Final = 2.0
"""How long a predecessor that stops in good order may take to let go of the slot."""
_GONE_SECONDS: Final = SENDER_TIMEOUT_SECONDS + 5.0
"""After so long the server has let go of a slot whose reader is silent."""


class Standby:
    """One wait for the turn.

    Args:
        slot: whose turn.
        stop: ends the wait.
        on_wait: called when there is somebody before us.

    Attributes:
        inherited: the turn was somebody else's before.
    """

    def __init__(self, slot: str, stop: asyncio.Event, on_wait: Callable[[], None]) -> None:
        self._slot = slot
        self._stop = stop
        self._on_wait = on_wait
        self.inherited = False

    async def wait(self, conn: AsyncConnection[Any]) -> bool:
        """Wait on a state connection until the turn is taken on it. Returns False if `stop` came first."""
        judged_at = time.monotonic()
        while not await take_turn(conn, self._slot):
            if not self.inherited:
                self._on_wait()
            self.inherited = True
            if time.monotonic() - judged_at >= _JUDGE_SECONDS:
                judged_at = time.monotonic()
                await self._judge(conn)
            await wait_at_most(self._stop, _LOOK_SECONDS)
            if self._stop.is_set():
                return False
        return True

    async def _judge(self, conn: AsyncConnection[Any]) -> None:
        try:
            pid = await end_silent_holder(conn, self._slot)
        except errors.InsufficientPrivilege:
            log.warning(
                "capture_silent", slot=self._slot, problem="its connection is another role's and can't be ended"
            )
            return
        if pid is not None:
            log.warning("capture_silent_ended", slot=self._slot, pid=pid)

    async def free_slot(self, source: AsyncConnection[Any]) -> None:
        """Wait until the predecessor has let go of the slot.

        The server ends a stream whose reader is silent. A reader by SQL is ended here, if it is of our own role and
        purpose, and if the turn was inherited: one that we never waited for may be another pipeline with a state of
        its own.
        """
        if not self.inherited:
            return
        asked_at, ended = time.monotonic(), False
        while (reader := await _reader(source, self._slot)) is not None and not self._stop.is_set():
            waited = time.monotonic() - asked_at
            pid, may_end = reader
            if waited > _LEAVE_SECONDS and may_end and not ended:
                ended = True
                await source.execute("select pg_terminate_backend(%s)", [pid])
                log.warning("slot_reader_ended", slot=self._slot, pid=pid)
            elif waited > _GONE_SECONDS:
                return  # opening the slot says what is wrong
            await wait_at_most(self._stop, _LOOK_SECONDS)


async def _reader(source: AsyncConnection[Any], slot: str) -> tuple[int, bool] | None:
    """Give who reads the slot, and whether it is one of ours that reads by SQL."""
    row = await (
        await source.execute(
            """
            select s.active_pid, coalesce(a.usename = current_user and a.application_name = %s, false)
            from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid
            where s.slot_name = %s and s.active_pid is not null
            """,
            [f"cdc poll {slot}", slot],
        )
    ).fetchone()
    return None if row is None else (int(row[0]), bool(row[1]))
