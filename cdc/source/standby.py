"""Standing by: waiting for one's turn to capture.

The turn is an advisory lock on the connection that writes positions, and the slot itself. Both end with their
connection, so a dead process has neither. A process that is stopped (SIGSTOP, a paused container) keeps its
connections; there the server ends what is silent: the lock's session after `SILENT_SECONDS` (`idle_session_timeout`),
the stream after `SENDER_TIMEOUT_SECONDS` (`wal_sender_timeout`). When such a process goes on, it finds its connections
gone, and can't write a position any more. Source: PostgreSQL documentation, "Client Connection Defaults" and
"Replication".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from psycopg import AsyncConnection

from cdc.source.stream import SENDER_TIMEOUT_SECONDS
from cdc.state.capture import take_turn
from cdc.waiting import wait_at_most

log = structlog.get_logger()

_LOOK_SECONDS: Final = 0.25
_GONE_SECONDS: Final = SENDER_TIMEOUT_SECONDS + 5.0
"""After so long the server has let go of a slot whose reader is silent."""


class Standby:
    """One wait for the turn.

    Args:
        slot: whose turn.
        stop: ends the wait.
        on_wait: called when there is somebody before us.
    """

    def __init__(self, slot: str, stop: asyncio.Event, on_wait: Callable[[], None]) -> None:
        self._slot = slot
        self._stop = stop
        self._on_wait = on_wait
        self._inherited = False

    async def wait(self, conn: AsyncConnection[Any]) -> bool:
        """Wait on a state connection until the turn is taken on it. Returns False if `stop` came first."""
        while not await take_turn(conn, self._slot):
            if not self._inherited:
                self._on_wait()
            self._inherited = True
            await wait_at_most(self._stop, _LOOK_SECONDS)
            if self._stop.is_set():
                return False
        return True

    async def free_slot(self, source: AsyncConnection[Any]) -> None:
        """Wait until the predecessor has let go of the slot as well."""
        if not self._inherited:
            return
        patience = time.monotonic() + _GONE_SECONDS
        active = "select 1 from pg_replication_slots where slot_name = %s and active"
        while await (await source.execute(active, [self._slot])).fetchone() is not None:
            if self._stop.is_set() or time.monotonic() > patience:
                return  # opening the slot says what is wrong
            await wait_at_most(self._stop, _LOOK_SECONDS)
