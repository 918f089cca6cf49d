"""When everything is compared: once after the stream began anew, and then every night.

The nightly sweep (a job of the schedule) is what notices that a child turned thirteen, that a row changed in a table
that nobody watches, and whatever else no change announced.
"""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg
import structlog

from cdc.errors import ProfileError
from cdc.repair.sweep import Sweep, sweep_all
from cdc.routing.feeds import Profile
from cdc.runtime.connections import Connections
from cdc.source.capture import Capture
from cdc.state.broken import Broken, mark_broken
from cdc.state.gaps import begin_sweep, mark_swept
from cdc.state.position import check_footing
from cdc.waiting import unless, wait_at_most, wait_for_any
from sinks.reasons import Reason

log = structlog.get_logger()

_AGAIN_SECONDS: Final = 5.0


async def sweep_nightly(connections: Connections, profile: Profile) -> dict[str, int]:
    """Compare everything once, as the schedule asks; says how many keys were marked, by feed.

    Raises:
        SourceUnavailable: if a database is another one than capture has joined up with.
        ProfileError: if views can't be read; the other feeds have been swept by then.
    """
    unreadable: dict[str, ProfileError] = {}
    async with connections.source.connection() as source, connections.state.connection() as state:
        await check_footing(source, state)
        sweeps = await sweep_all(source, state, profile, connections.hash_key, unreadable=unreadable)
    marked = {sweep.feed: sweep.marked for sweep in sweeps}
    log.info("swept", **marked)
    if unreadable:
        raise ProfileError("; ".join(error.message for error in unreadable.values()), fix=Reason.VIEW_UNREADABLE.hint)
    return marked


class Sweeper:
    """Sweeps when capture asks for it.

    Args:
        connections: open.
        profile: whose feeds.
        slot: whose position says that a sweep is owed.
        capture: sets `sweep_due` when the stream begins anew.

    Attributes:
        swept: keys that sweeps of this process marked; part of what one call per change would have cost.
    """

    def __init__(self, connections: Connections, profile: Profile, slot: str, capture: Capture) -> None:
        self._connections = connections
        self._profile = profile
        self._slot = slot
        self._capture = capture
        self._is_sweeping = False
        self.swept = 0

    @property
    def is_owed(self) -> bool:
        """True while something that changed unheard may not have been marked yet."""
        return self._is_sweeping or self._capture.sweep_due.is_set()

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until `stop` is set; a sweep that is under way then is left to the next start, which owes it."""
        due = self._capture.sweep_due
        while not stop.is_set():
            await wait_for_any(stop, due)
            if due.is_set() and not stop.is_set() and not await unless(stop, self._sweep()):
                await wait_at_most(stop, _AGAIN_SECONDS)

    async def _sweep(self) -> bool:
        """Sweep once. Returns False if it has to be done again."""
        self._is_sweeping = True
        self._capture.sweep_due.clear()  # first, so that a gap that comes up meanwhile is owed a sweep of its own
        done = False
        try:
            sweeps = await self._sweep_everything()
            log.info("swept", **{sweep.feed: sweep.marked for sweep in sweeps})
            done = True
        except psycopg.Error as error:
            log.warning("sweep_interrupted", error=type(error).__name__, code=error.sqlstate)
        finally:
            if not done:
                self._capture.sweep_due.set()
            self._is_sweeping = False
        return done

    async def _sweep_everything(self) -> list[Sweep]:
        """Compare all. Changes went by unheard, so what is parked may hold other data by now."""
        connections = self._connections
        async with connections.source.connection() as source, connections.state.connection() as state:
            owed = await begin_sweep(state, self._slot)
            unreadable: dict[str, ProfileError] = {}
            sweeps = await sweep_all(
                source, state, self._profile, connections.hash_key, with_parked=True,
                doubtful=owed.ledger_doubtful, unreadable=unreadable,
            )  # fmt: skip
            for feed, error in unreadable.items():
                log.warning("sweep_failed", feed=feed, error=error.message, hint=error.fix)
            if unreadable:  # they are swept once they are mended
                words = {feed: error.message.partition(": ")[2] for feed, error in unreadable.items()}
                await mark_broken(state, {f: Broken(Reason.VIEW_UNREADABLE, w) for f, w in words.items()})
            found = {sweep.feed: sweep.differences for sweep in sweeps}
            closed = await mark_swept(state, self._slot, owed.last_gap, found)
            if closed:
                log.warning("gap_closed", gaps=closed, **found)
        self.swept += sum(sweep.marked for sweep in sweeps)
        return sweeps
