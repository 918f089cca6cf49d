"""The transport without a slot: its parts, and the sweeps that make it safe."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import psycopg
import structlog

from cdc.errors import ProfileError
from cdc.repair.sweep import Sweep, sweep_all
from cdc.routing.feeds import Lane, Profile
from cdc.routing.router import build_routes
from cdc.runtime.connections import Connections
from cdc.runtime.environment import Environment
from cdc.settings import Settings
from cdc.source.realtime import Realtime
from cdc.source.realtime_key import RealtimeKey
from cdc.source.realtime_session import RealtimeConfig
from cdc.state.doorbell import note_sweep
from cdc.waiting import wait_at_most, wait_for_any

log = structlog.get_logger()

SHARE: Final = 0.1
"""Of the time that may go into sweeping."""
_PARKED_SECONDS: Final = 300.0
_AGAIN_SECONDS: Final = 5.0


def build_doorbell(
    environment: Environment, settings: Settings, profile: Profile, connections: Connections
) -> tuple[Realtime, DoorbellSweeper]:
    """Make the transport and its sweeper."""
    secret = settings.supabase_service_role_key
    key = RealtimeKey(None if secret is None else secret.get_secret_value(), settings.supabase_service_role_key_file)
    realtime = Realtime(
        RealtimeConfig(
            source_dsn=environment.source_dsn,
            state_dsn=environment.state_dsn,
            pipeline=settings.cdc_slot,
            url=settings.supabase_url or "",
            key=key,
            routes=build_routes(profile),
            lane_seconds={Lane.ROLLUP: settings.cdc_rollup_seconds},
            canary_seconds=settings.cdc_realtime_canary_seconds,
        )
    )
    return realtime, DoorbellSweeper(
        connections, profile, settings.cdc_slot, realtime, every_seconds=settings.cdc_realtime_sweep_seconds
    )


class DoorbellSweeper:
    """Sweeps when the bell has doubts, and every minute or so whatever it says.

    A sweep costs the database time in proportion to what the views hold, so the pause after it is at least nine times
    as long as it took: however large the views and however shaky the line, no more than a tenth of the time is spent.

    Parked keys fail on data that may have changed unheard. They are tried again after a doubt, but not more often than
    every five minutes: each try costs a credit.

    Args:
        connections: open.
        profile: whose feeds.
        pipeline: its name.
        bell: says that something may have been missed, and whether this process is the one that rings.
        every_seconds: between two sweeps at the most, if they are quick.

    Attributes:
        swept: keys that sweeps of this process marked.
        sweeps: how many were made.
    """

    def __init__(
        self, connections: Connections, profile: Profile, pipeline: str, bell: Realtime, *, every_seconds: float
    ) -> None:
        self._connections = connections
        self._profile = profile
        self._pipeline = pipeline
        self._bell = bell
        self._every_seconds = every_seconds
        self._is_sweeping = False
        self._owes_parked = True
        self._last_end: float | None = None
        self._last_seconds = 0.0
        self._parked_at: float | None = None
        self.swept = 0
        self.sweeps = 0

    @property
    def is_owed(self) -> bool:
        """True while something that changed unheard may not have been marked yet."""
        return self._is_sweeping or self._bell.sweep_due.is_set()

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until `stop` is set."""
        while not stop.is_set():
            await self._wait(stop)
            if stop.is_set():
                return
            if not self._bell.is_active:
                await wait_at_most(stop, 1.0)  # whoever rings sweeps
            elif not await self._sweep():
                await wait_at_most(stop, _AGAIN_SECONDS)

    async def _wait(self, stop: asyncio.Event) -> None:
        """Wait for the timer, or for a doubt; and in any case until enough time has passed since the last sweep."""
        rest = self._last_seconds * (1 / SHARE - 1)
        await wait_for_any(stop, self._bell.sweep_due, seconds=self._left(max(rest, self._every_seconds)))
        await wait_at_most(stop, self._left(rest))

    def _left(self, seconds: float) -> float:
        """Say how long it is until so much time has passed since the last sweep."""
        return 0.0 if self._last_end is None else max(0.0, self._last_end + seconds - time.monotonic())

    async def _sweep(self) -> bool:
        """Sweep once. Returns False if it has to be done again."""
        self._is_sweeping = True
        self._owes_parked |= self._bell.sweep_due.is_set()
        self._bell.sweep_due.clear()  # first, so that a doubt that comes up meanwhile is owed a sweep of its own
        began, done = time.monotonic(), False
        try:
            sweeps = await self._sweep_everything()
            self._last_seconds = time.monotonic() - began
            say = log.info if any(sweep.marked for sweep in sweeps) else log.debug
            say("swept", seconds=round(self._last_seconds, 3), **{sweep.feed: sweep.marked for sweep in sweeps})
            done = True
        except psycopg.Error as error:
            log.warning("sweep_interrupted", error=type(error).__name__, code=error.sqlstate)
        except ProfileError as error:
            log.warning("sweep_failed", error=error.message, hint=error.fix)
        finally:
            self._last_end = time.monotonic()
            if not done:
                self._bell.sweep_due.set()
            self._is_sweeping = False
        return done

    async def _sweep_everything(self) -> list[Sweep]:
        connections, began = self._connections, time.monotonic()
        with_parked = self._owes_parked and (self._parked_at is None or began > self._parked_at + _PARKED_SECONDS)
        async with connections.source.connection() as source, connections.state.connection() as state:
            sweeps = await sweep_all(
                source, state, self._profile, connections.hash_key, with_parked=with_parked, overlooked_only=True
            )
            await note_sweep(state, self._pipeline, time.monotonic() - began)
        if with_parked:
            self._owes_parked, self._parked_at = False, began
        self.swept += sum(sweep.marked for sweep in sweeps)
        self.sweeps += 1
        return sweeps
