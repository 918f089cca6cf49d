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

import structlog
from psycopg import AsyncConnection

from cdc.delivery.options import BulkOptions, DeliveryOptions, times_within
from cdc.delivery.worker import Worker
from cdc.lsn import Lsn
from cdc.routing.feeds import Lane, Profile
from cdc.routing.router import build_routes
from cdc.runtime.alerting import make_alerting
from cdc.runtime.connections import Connections
from cdc.runtime.counting import Counting
from cdc.runtime.doorbell import DoorbellSweeper, build_doorbell
from cdc.runtime.environment import Environment, sink_specs
from cdc.runtime.fit import wait_until_fit
from cdc.runtime.heartbeat import beat
from cdc.runtime.idle import is_settled
from cdc.runtime.jobs import Parts, build_jobs
from cdc.runtime.limits import credit_limit
from cdc.runtime.lookout import make_lookout
from cdc.runtime.schedule import Scheduler
from cdc.runtime.supervision import Pulse, ServiceManager, supervise
from cdc.runtime.sweeping import Sweeper
from cdc.runtime.watching import Watch
from cdc.settings import Settings
from cdc.source.capture import Capture
from cdc.source.preflight import TransportName
from cdc.source.realtime import Realtime
from cdc.source.session import CaptureConfig
from cdc.state.outbox import make_due
from sinks.zoho.connect import build_sinks, bulk_sinks

log = structlog.get_logger()

CREDIT_RESERVE: Final = 0.1
"""Share of the credits that is left to people and other programs."""
_IDLE_LOOK_SECONDS: Final = 0.05


class Pipeline:
    """What one process does.

    Args:
        connections: open.
        transport: how changes are heard of; None for a process that only delivers (`cdc worker`).
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
        self._environment = environment
        self._settings = settings
        self._profile = profile
        self._connections = connections
        self._sinks = build_sinks(connections.client, sink_specs(profile))
        self._id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.worker = Worker(
            source=connections.source,
            state=connections.state,
            profile=profile,
            sinks=self._sinks,
            options=self._delivery_options(),
            credits_used={"zoho": connections.credits.used_24h},
            bulk_sinks=bulk_sinks(connections.client, self._sinks),
        )
        self.capture: Capture | Realtime | None = None
        self._sweeper: Sweeper | DoorbellSweeper | None = None
        self._watch: Watch | None = None
        if transport == "realtime":
            self.capture, self._sweeper = build_doorbell(environment, settings, profile, connections)
        elif transport is not None:
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
                    slot_failover=settings.cdc_slot_failover,
                ),
            )
            self._sweeper = Sweeper(connections, profile, settings.cdc_slot, self.capture)
            self._watch = Watch(connections, profile, settings.cdc_slot, settings.cdc_publication, self.capture)
        lookout = make_lookout(environment, settings, connections)
        self._alerting = make_alerting(settings, connections.state, self._id, lookout.look)
        connections.meters.registry.register(Counting(self._captured, self.worker.stats))

    def _captured(self) -> tuple[int, int]:
        """Changes and keys that this process has captured."""
        stats = None if self.capture is None else self.capture.stats
        return (0, 0) if stats is None else (stats.changes, stats.keys)

    @property
    def swept(self) -> int:
        """Keys that the sweeps of this process marked; part of what one call per change would have cost."""
        return 0 if self._sweeper is None else self._sweeper.swept

    def _delivery_options(self) -> DeliveryOptions:
        settings = self._settings
        limit = credit_limit(settings)
        return DeliveryOptions(
            hash_key=self._connections.hash_key,
            worker_id=self._id,
            **times_within(settings.cdc_lease_seconds),
            drain_seconds=settings.cdc_drain_seconds,
            rollup_seconds=settings.cdc_rollup_seconds,
            daily_seconds=settings.cdc_daily_seconds,
            credit_limits={"zoho": limit},
            credit_reserve=int(limit * CREDIT_RESERVE),
            bulk=BulkOptions(rows=settings.cdc_bulk_rows, job_from=settings.cdc_bulk_from),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set.

        Raises:
            CdcError: the first failure that can't be waited out. Everything else is stopped then.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                manager = ServiceManager.found()
                if manager is not None:
                    tasks.create_task(supervise(manager, self._pulse, stop), name="supervision")
                role: Literal["capture", "delivery"] = "delivery" if self.capture is None else "capture"
                tasks.create_task(beat(self._connections.state, self._id, role, stop), name="heartbeat")
                tasks.create_task(self._alerting.run(stop), name="alerts")
                if self.capture is not None and self._sweeper is not None:
                    tasks.create_task(self.capture.run(stop), name="capture")
                    tasks.create_task(self._sweeper.run(stop), name="sweep")
                    if self._watch is not None:
                        tasks.create_task(self._watch.run(stop), name="watch")
                    jobs = build_jobs(Parts(self._environment, self._settings, self._profile, self._connections))
                    schedule = Scheduler(self._connections.state, jobs, self._id)
                    tasks.create_task(schedule.run(stop), name="schedule")
                if self._settings.zoho_sync_enabled:
                    tasks.create_task(self._deliver(stop), name="delivery")
                else:
                    log.warning("delivery_disabled", setting="ZOHO_SYNC_ENABLED")
        except ExceptionGroup as group:
            raise group.exceptions[0] from group.exceptions[0].__cause__

    def _pulse(self) -> Pulse:
        state = "no capture" if self.capture is None else f"capture {self.capture.stats.state}"
        captured = self.capture.still_seconds if isinstance(self.capture, Capture) else 0.0
        return Pulse(
            words=f"{state}; {sum(self.worker.stats.keys.values())} keys settled since the start",
            is_ready=self.capture is None or self.capture.stats.state != "starting",
            still_seconds=max(captured, self.worker.still_seconds),
        )

    async def _deliver(self, stop: asyncio.Event) -> None:
        await wait_until_fit(self._connections, self._profile, self._sinks, stop)
        if not stop.is_set():
            log.info("delivery_started", feeds=sorted(self._profile.feeds))
            await self.worker.run(stop)

    async def wait_until_idle(self, *, urgent_only: bool = False, flush: bool = False) -> None:
        """Wait until all that is committed now is captured, and nothing is left that could be delivered.

        Args:
            urgent_only: it is enough that the lane `live` is empty.
            flush: don't let anything gather or wait for its day meanwhile.
        """
        async with self._connections.source.connection() as conn:
            target = Lsn.parse(await _scalar(conn, "select pg_current_wal_lsn()::text"))
        if isinstance(self.capture, Realtime):
            self.capture.ask_for_sweep("idle")  # nothing but a sweep that begins now tells that all was heard
        while True:
            if self._is_captured(target):
                if await self._is_settled(urgent_only=urgent_only):
                    return
                if flush:
                    async with self._connections.state.connection() as conn:
                        await make_due(conn)
            await asyncio.sleep(_IDLE_LOOK_SECONDS)

    def _is_captured(self, target: Lsn) -> bool:
        """True when all before `target` is in the outbox; always for a process that doesn't capture."""
        if self.capture is None or self._sweeper is None:
            return True
        if self.capture.stats.state == "blocked":
            return True  # a person has yet to decide; nothing more will come
        return self.capture.has_captured(target) and not self._sweeper.is_owed

    async def _is_settled(self, *, urgent_only: bool) -> bool:
        delivers = self._settings.zoho_sync_enabled
        async with self._connections.source.connection() as source, self._connections.state.connection() as state:
            return await is_settled(source, state, self._profile, delivers=delivers, urgent_only=urgent_only)


async def _scalar(conn: AsyncConnection[Any], query: str) -> Any:
    row = await (await conn.execute(query)).fetchone()
    return None if row is None else row[0]
