"""Capture, delivery and repair in one process, and the order in which they start and stop.

Start: the source is checked and set up by the caller; then everything runs side by side. Delivery waits until the
views are known to fit the CRM, capture doesn't: a CRM that is down at start costs the slot nothing. Stop: capture
stores and acknowledges what it has read, workers finish what is under way or give it back, connections close.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from typing import Any, Final, Literal

import psycopg
import structlog
from psycopg import AsyncConnection

from cdc.delivery.options import DeliveryOptions, times_within
from cdc.delivery.worker import Worker
from cdc.errors import ProfileError
from cdc.lsn import Lsn
from cdc.repair.sweep import Sweep, mark_swept, sweep_feed
from cdc.routing.feeds import Lane, Profile
from cdc.routing.router import build_routes
from cdc.runtime.connections import Connections
from cdc.runtime.environment import Environment, sink_specs
from cdc.runtime.fit import wait_until_fit
from cdc.runtime.heartbeat import beat
from cdc.runtime.housekeeping import keep_house
from cdc.runtime.idle import is_settled
from cdc.settings import Settings
from cdc.source.capture import Capture
from cdc.source.preflight import TransportName
from cdc.source.session import CaptureConfig
from cdc.state.outbox import make_due
from cdc.waiting import wait_at_most
from sinks.zoho.connect import build_sinks
from sinks.zoho.limits import daily_credits

log = structlog.get_logger()

_RESERVE: Final = 0.1  # of the credits, for people and other programs
_IDLE_LOOK_SECONDS: Final = 0.05
_SWEEP_AGAIN_SECONDS: Final = 5.0


class Pipeline:
    """What one process does.

    Args:
        connections: open.
        transport: how the slot is read; None for a process that only delivers (`cdc worker`).

    Attributes:
        swept: keys that the sweeps of this process marked; part of what one call per change would have cost.
    """

    def __init__(
        self,
        environment: Environment,
        settings: Settings,
        profile: Profile,
        connections: Connections,
        *,
        transport: TransportName | None,
    ) -> None:
        self._settings = settings
        self._profile = profile
        self._connections = connections
        self._sinks = build_sinks(connections.client, sink_specs(profile))
        self._id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.swept = 0
        self.worker = Worker(
            source=connections.source,
            state=connections.state,
            profile=profile,
            sinks=self._sinks,
            options=self._delivery_options(),
            credits_used={"zoho": connections.credits.used_24h},
        )
        self.capture: Capture | None = None
        if transport is not None:
            self.capture = Capture(
                CaptureConfig(
                    source_dsn=environment.source_dsn,
                    state_dsn=environment.state_dsn,
                    slot=settings.cdc_slot,
                    publication=settings.cdc_publication,
                    transport=transport,
                    routes=build_routes(profile),
                    lane_seconds={Lane.ROLLUP: settings.cdc_rollup_seconds},
                    group_changes=settings.cdc_group_changes,
                    poll_seconds=settings.cdc_poll_seconds,
                ),
            )

    def _delivery_options(self) -> DeliveryOptions:
        settings = self._settings
        limit = daily_credits(settings.zoho_edition, settings.zoho_users)
        return DeliveryOptions(
            hash_key=self._connections.hash_key,
            worker_id=self._id,
            **times_within(settings.cdc_lease_seconds),
            drain_seconds=settings.cdc_drain_seconds,
            rollup_seconds=settings.cdc_rollup_seconds,
            daily_seconds=settings.cdc_daily_seconds,
            credit_limits={"zoho": limit},
            credit_reserve=int(limit * _RESERVE),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set.

        Raises:
            CdcError: the first failure that can't be waited out. Everything else is stopped then.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                role: Literal["capture", "delivery"] = "delivery" if self.capture is None else "capture"
                tasks.create_task(beat(self._connections.state, self._id, role, stop), name="heartbeat")
                if self.capture is not None:
                    tasks.create_task(self.capture.run(stop), name="capture")
                    tasks.create_task(self._sweep_when_due(self.capture, stop), name="sweep")
                    tasks.create_task(keep_house(self._connections.state, self._settings, stop), name="housekeeping")
                if self._settings.zoho_sync_enabled:
                    tasks.create_task(self._deliver(stop), name="delivery")
                else:
                    log.warning("delivery_disabled", setting="ZOHO_SYNC_ENABLED")
        except ExceptionGroup as group:
            raise group.exceptions[0] from group.exceptions[0].__cause__

    async def _deliver(self, stop: asyncio.Event) -> None:
        await wait_until_fit(self._connections, self._profile, self._sinks, stop)
        if not stop.is_set():
            log.info("delivery_started", feeds=sorted(self._profile.feeds))
            await self.worker.run(stop)

    async def _sweep_when_due(self, capture: Capture, stop: asyncio.Event) -> None:
        """Compare everything once the stream has begun anew: on the first start, and after a gap."""
        while not stop.is_set():
            if not capture.sweep_due.is_set():
                await _wait_either(stop, capture.sweep_due)
                continue
            try:
                sweeps = await self.sweep()
                async with self._connections.state.connection() as conn:
                    await mark_swept(conn, self._settings.cdc_slot)
                capture.sweep_due.clear()
                log.info("swept", **{sweep.feed: sweep.marked for sweep in sweeps})
            except psycopg.OperationalError as error:
                log.warning("sweep_interrupted", error=type(error).__name__)
                await wait_at_most(stop, _SWEEP_AGAIN_SECONDS)
            except ProfileError as error:
                log.warning("sweep_failed", error=error.message, hint=error.fix)
                await wait_at_most(stop, _SWEEP_AGAIN_SECONDS)

    async def sweep(self) -> list[Sweep]:
        """Compare all feeds now; what others need comes first."""
        feeds = sorted(self._profile.feeds.values(), key=lambda feed: feed.needs is not None)
        async with self._connections.source.connection() as source, self._connections.state.connection() as state:
            sweeps = [await sweep_feed(source, state, feed, self._connections.hash_key) for feed in feeds]
        self.swept += sum(sweep.marked for sweep in sweeps)
        return sweeps

    async def wait_until_idle(self, *, urgent_only: bool = False, flush: bool = False) -> None:
        """Wait until all that is committed now is captured, and nothing is left that could be delivered.

        Args:
            urgent_only: it is enough that the lane `live` is empty.
            flush: don't let anything gather or wait for its day meanwhile.
        """
        async with self._connections.source.connection() as conn:
            target = Lsn.parse(await _scalar(conn, "select pg_current_wal_lsn()::text"))
        while True:
            if self.capture is None or (self.capture.has_captured(target) and not self.capture.sweep_due.is_set()):
                if await self._is_settled(urgent_only=urgent_only):
                    return
                if flush:
                    async with self._connections.state.connection() as conn:
                        await make_due(conn)
            await asyncio.sleep(_IDLE_LOOK_SECONDS)

    async def _is_settled(self, *, urgent_only: bool) -> bool:
        delivers = self._settings.zoho_sync_enabled
        async with self._connections.source.connection() as source, self._connections.state.connection() as state:
            return await is_settled(source, state, self._profile, delivers=delivers, urgent_only=urgent_only)


async def _scalar(conn: AsyncConnection[Any], query: str) -> Any:
    row = await (await conn.execute(query)).fetchone()
    return None if row is None else row[0]


async def _wait_either(first: asyncio.Event, second: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
