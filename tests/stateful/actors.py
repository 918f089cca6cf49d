"""The pipeline's own parts, one step at a time: a capture that may die anywhere, and workers beside each other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from unittest import mock

import cdc.delivery.pump
from cdc.delivery.batch import Batch
from cdc.delivery.line import Line
from cdc.delivery.options import DeliveryOptions
from cdc.delivery.pump import Pump
from cdc.delivery.stats import Stats
from cdc.errors import SourceUnavailable
from cdc.lsn import Lsn
from cdc.routing.feeds import Lane
from cdc.source.capture import Capture
from cdc.state.truth import View
from tests.stateful.crm import SteppedSink
from tests.stateful.gates import GATE, Gate, GatedPool, Killed
from tests.stateful.ground import HASH_KEY, SLOT, Ground, capture_config
from tests.support.waiting import until

LEASE, CALL = 3000.0, 1000.0
_CAPTURES = f"select 1 from pg_stat_activity where application_name like 'cdc % {SLOT}%'"


async def _ended(task: asyncio.Task[Any], *expected: type[BaseException]) -> None:
    with suppress(*expected):
        await task


class Capturer:
    """A capture process."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._config = capture_config(ground.database.dsn, ground.profile)
        self._gate = Gate()
        self._task: asyncio.Task[None] | None = None
        self._capture = Capture(self._config)

    async def step(self, steps: int) -> None:
        """Start it if it isn't running, and let it touch its databases so often."""
        for _ in range(steps):
            task = self._task = self._task or self._start()
            await self._gate.step(task)
            if task.done():
                await task  # it never ends by itself, so this raises what ended it

    def _start(self) -> asyncio.Task[None]:
        self._gate = Gate()
        self._capture = Capture(self._config)
        GATE.set(self._gate)
        task = asyncio.ensure_future(self._capture._join_and_capture(asyncio.Event()))
        GATE.set(None)
        return task

    async def catch_up(self, to: Lsn) -> None:
        """Let it come to a position, and acknowledge it."""

        async def is_there() -> bool:
            await self.step(1)
            return self._capture.has_captured(to) and self._gate.at == f"poll {SLOT}"

        await until(is_there, within=30, what="capture to catch up", interval=0)

    async def kill(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            await self._gate.kill(task)
            await _ended(task, Killed, SourceUnavailable)
            # Its lock is free once the server has noticed; until then a successor would stand by.
            await until(lambda: not self._ground.observer.execute(_CAPTURES).fetchall(), interval=0.0005)


@dataclass
class Flight:
    """A batch on its way, with the gate that it stands at."""

    task: asyncio.Task[None]
    gate: Gate
    batch: Batch

    @property
    def keys(self) -> list[str]:
        return [claim.key for claim in self.batch.claimed.claims]


@dataclass
class Crew:
    """The workers, and what they have in the air."""

    ground: Ground
    sinks: dict[str, SteppedSink]
    pumps: dict[tuple[int, str], Pump] = field(default_factory=dict)
    flights: list[Flight] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number in (0, 1):
            stats = Stats(chance=lambda: 0.0)
            for feed in self.ground.profile.feeds:
                self.pumps[number, feed] = Pump(self._line(number, feed, stats), _all_lanes)

    def _line(self, number: int, feed: str, stats: Stats) -> Line:
        ground, profile = self.ground, self.ground.profile
        needs = profile.feeds[feed].needs
        pools: Any = (GatedPool(ground.source, "source"), GatedPool(ground.state, "state"))
        return Line(
            feed=profile.feeds[feed],
            sink=self.sinks[feed],
            view=View(profile.feeds[feed]),
            parent=None if needs is None else View(profile.feeds[needs]),
            children=[View(child) for child in profile.dependents(feed)],
            source=pools[0],
            state=pools[1],
            options=DeliveryOptions(
                hash_key=HASH_KEY, worker_id=f"w{number}", lease_seconds=LEASE, call_seconds=CALL, settle_seconds=100
            ),
            stats=stats,
            clock=ground.loop.time,
            chance=lambda: 0.0,
        )

    async def turn(self, number: int, feed: str) -> Flight | None:
        """Let a worker look for work; what it claims stands at its first gate."""
        pump, gate = self.pumps[number, feed], Gate(is_open=True)
        before, made = set(pump._batches), list[Batch]()

        def note(**how: Any) -> Batch:
            made.append(Batch(**how))
            return made[-1]

        GATE.set(gate)
        with mock.patch.object(cdc.delivery.pump, "Batch", note):
            await pump._turn()
        gate.is_open = False
        GATE.set(None)
        started = [task for task in pump._batches if task not in before]
        if not started:
            return None
        [task], [batch] = started, made
        flight = Flight(task, gate, batch)
        await gate.step(task)
        self.flights.append(flight)
        return flight

    async def step(self, flight: Flight, steps: int) -> None:
        for _ in range(steps):
            if not flight.task.done():
                await flight.gate.step(flight.task)
        await self._gather([flight])

    async def to_call(self, flight: Flight) -> bool:
        """Let it come to its next call. Tells whether there is one."""
        while not flight.task.done() and flight.gate.at != "call":
            await flight.gate.step(flight.task)
        await self._gather([flight])
        return flight.gate.at == "call"

    async def finish(self, flight: Flight) -> None:
        await flight.gate.open(flight.task)
        await self._gather([flight])

    async def finish_all(self) -> None:
        for flight in list(self.flights):
            await self.finish(flight)

    async def stop(self, flight: Flight) -> None:
        """End it in good order, as a worker does that is told to stop and can't wait."""
        flight.gate.is_open = True
        flight.task.cancel()
        await asyncio.wait({flight.task})
        await self._gather([flight])

    async def kill(self, flight: Flight) -> None:
        await flight.gate.kill(flight.task)
        await self._gather([flight])

    async def _gather(self, flights: Sequence[Flight]) -> None:
        for flight in flights:
            if flight.task.done():
                self.flights.remove(flight)
                await _ended(flight.task, Killed, asyncio.CancelledError)

    async def pass_time(self, seconds: float, carried_out: Sequence[bool]) -> None:
        """Time passes for everybody: leases end, calls are given up, and those that are over are carried out or not."""
        self.ground.pass_time(seconds)
        by = timedelta(seconds=seconds)
        for flight in self.flights:
            claimed = flight.batch.claimed
            flight.batch.claimed = replace(claimed, at=claimed.at - by, until=claimed.until - by)
        now = self.ground.loop.time()
        for flight in self.flights:
            if flight.gate.at == "call" and flight.gate.deadline < now:
                await until(lambda: flight.gate.at != "call", what="the call to be given up", interval=0)  # noqa: B023
        for sink in self.sinks.values():
            sink.end_late(now, carried_out)


async def _all_lanes(_: str) -> Sequence[Lane]:
    return tuple(Lane)
