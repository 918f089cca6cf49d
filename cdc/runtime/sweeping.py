"""When everything is compared: once after the stream began anew, and then once a day.

The daily sweep is what notices that a child turned thirteen, that a row changed in a table that nobody watches, and
whatever else no change announced.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

import psycopg
import structlog

from cdc.errors import ProfileError
from cdc.repair.sweep import Sweep, sweep_all
from cdc.routing.feeds import Profile
from cdc.routing.windows import seconds_until_window_ends
from cdc.runtime.connections import Connections
from cdc.source.capture import Capture
from cdc.state.broken import Broken, mark_broken
from cdc.state.gaps import begin_sweep, mark_swept
from cdc.waiting import wait_at_most
from sinks.reasons import Reason

log = structlog.get_logger()

_AGAIN_SECONDS: Final = 5.0


class Sweeper:
    """Sweeps when capture asks for it and when the clock does.

    Args:
        connections: open.
        profile: whose feeds.
        slot: whose position says that a sweep is owed.
        capture: sets `sweep_due` when the stream begins anew.
        window_seconds: length of the clock's window at whose end everything is swept; 0 for never.

    Attributes:
        swept: keys that sweeps of this process marked; part of what one call per change would have cost.
    """

    def __init__(
        self, connections: Connections, profile: Profile, slot: str, capture: Capture, window_seconds: float
    ) -> None:
        self._connections = connections
        self._profile = profile
        self._slot = slot
        self._capture = capture
        self._window_seconds = window_seconds
        self._is_sweeping = False
        self.swept = 0

    @property
    def is_owed(self) -> bool:
        """True while something that changed unheard may not have been marked yet."""
        return self._is_sweeping or self._capture.sweep_due.is_set()

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until `stop` is set."""
        due = self._capture.sweep_due
        while not stop.is_set():
            if not due.is_set():
                await self._wait(stop)
            if stop.is_set() or not (due.is_set() or self._capture.stats.state == "capturing"):
                continue  # a process that stands by leaves the clock's sweep to the one that captures
            if not await self._sweep(thorough=due.is_set()):
                await wait_at_most(stop, _AGAIN_SECONDS)

    async def _wait(self, stop: asyncio.Event) -> None:
        """Wait for a stop, for capture, or for the end of the window."""
        left = seconds_until_window_ends(datetime.now(UTC), self._window_seconds) or None
        waits = [asyncio.ensure_future(event.wait()) for event in (stop, self._capture.sweep_due)]
        try:
            await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _sweep(self, *, thorough: bool) -> bool:
        """Sweep once. Returns False if it has to be done again.

        Args:
            thorough: changes went by unheard, so what is parked may hold other data by now.
        """
        self._is_sweeping = True
        self._capture.sweep_due.clear()  # first, so that a gap that comes up meanwhile is owed a sweep of its own
        done = False
        try:
            sweeps = await self._sweep_everything(thorough=thorough)
            log.info("swept", **{sweep.feed: sweep.marked for sweep in sweeps})
            done = True
        except psycopg.Error as error:
            log.warning("sweep_interrupted", error=type(error).__name__, code=error.sqlstate)
        finally:
            if thorough and not done:
                self._capture.sweep_due.set()
            self._is_sweeping = False
        return done

    async def _sweep_everything(self, *, thorough: bool) -> list[Sweep]:
        connections = self._connections
        async with connections.source.connection() as source, connections.state.connection() as state:
            owed = await begin_sweep(state, self._slot)
            unreadable: dict[str, ProfileError] = {}
            sweeps = await sweep_all(
                source, state, self._profile, connections.hash_key, with_parked=thorough,
                doubtful=thorough and owed.ledger_doubtful, unreadable=unreadable,
            )  # fmt: skip
            for feed, error in unreadable.items():
                log.warning("sweep_failed", feed=feed, error=error.message, hint=error.fix)
            if thorough and unreadable:  # they are swept once they are mended
                words = {feed: error.message.partition(": ")[2] for feed, error in unreadable.items()}
                await mark_broken(state, {f: Broken(Reason.VIEW_UNREADABLE, w) for f, w in words.items()})
            if thorough:
                found = {sweep.feed: sweep.differences for sweep in sweeps}
                closed = await mark_swept(state, self._slot, owed.last_gap, found)
                if closed:
                    log.warning("gap_closed", gaps=closed, **found)
        self.swept += sum(sweep.marked for sweep in sweeps)
        return sweeps
