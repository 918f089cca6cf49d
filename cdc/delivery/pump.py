"""Keeps one feed moving: claims what is due, starts a batch for it, and sleeps exactly until there is more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from cdc.connection import WAITABLE
from cdc.delivery.batch import Batch
from cdc.delivery.batching import URGENCY, InFlight, Limits, Take, bulk_take, urgent_take
from cdc.delivery.bulkpump import is_for_a_job, look
from cdc.delivery.line import Line
from cdc.routing.feeds import Lane
from cdc.state import control
from cdc.state.claims import Claimed, ClaimRequest, Due, claim, next_due
from cdc.state.control import Probe
from cdc.waiting import wait_at_most

_log = structlog.get_logger()
_AFTER_TROUBLE_SECONDS = 1.0
_TAKEN_SECONDS = 0.25
"""How soon to look again for keys that are due and can't be claimed: another worker has them locked."""
_TICK_SECONDS = 0.005

Lanes = Callable[[str], Awaitable[Collection[Lane]]]
"""Which lanes a sink family may spend credits on now."""


class Pump:
    """One feed's loop.

    Args:
        line: the feed's.
        lanes: asked before each claim.

    Attributes:
        turned_at: when the loop last took a turn, on the line's clock; None before the first.
    """

    def __init__(self, line: Line, lanes: Lanes) -> None:
        self._line = line
        self._lanes = lanes
        self._limits = Limits(batch_size=line.sink.batch_size, parallel=line.options.parallel)
        self._wake = asyncio.Event()
        self._batches: dict[asyncio.Task[None], bool] = {}
        self._error: BaseException | None = None
        self.turned_at: float | None = None

    @property
    def feed(self) -> str:
        """Its feed's name."""
        return self._line.feed.name

    def wake(self) -> None:
        """Look again now: keys were marked, or a batch has ended."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`; batches that are under way then are left to `drain`.

        Raises:
            Exception: whatever a batch didn't expect; a worker that goes on after that would hide it.
        """
        while not stop.is_set():
            if self._error is not None:
                raise self._error
            self._wake.clear()
            self.turned_at = self._line.clock()
            try:
                seconds = await self._turn()
            except WAITABLE as error:
                _log.warning("outbox_unreachable", feed=self._line.feed.name, error=type(error).__name__)
                seconds = _AFTER_TROUBLE_SECONDS
            await self._sleep(seconds)

    async def drain(self, seconds: float) -> None:
        """Wait for the batches under way; cancel those that take longer. They give their keys back."""
        if not self._batches:
            return
        _, late = await asyncio.wait(self._batches, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            _log.warning("drain_cut_short", feed=self._line.feed.name, batches=len(late))
            await asyncio.wait(late)

    async def _turn(self) -> float:
        """Start what may start. Returns seconds until the next look, at most."""
        lanes = await self._lanes(self._line.family)
        take = urgent_take(self._in_flight(), self._limits, lanes)
        started = await self._start(take)
        if take is not None and started:
            # With room left in the batch there was nothing more to take, and its way shouldn't be crossed by our look.
            return 0.0 if started >= take.limit else _TAKEN_SECONDS
        take = bulk_take(self._in_flight(), self._limits, lanes)
        waits = take is not None and await self._waits_for_a_job()
        if not waits and await self._start(take):
            return 0.0
        due = await self._next_due(lanes)
        if due.paused:
            seconds = await self._probe(due, lanes)  # one small batch of the lane bulk will do to see whether it works
        else:
            seconds = self._until_due(await self._next_due(frozenset(lanes) - {Lane.BULK}) if waits else due)
        all_lanes = len(lanes) == len(URGENCY) and not waits
        return seconds if all_lanes else min(seconds, self._line.options.budget_seconds)

    async def _waits_for_a_job(self) -> bool:
        return self._line.job_from is not None and is_for_a_job(self._line, await look(self._line))

    async def _next_due(self, lanes: Collection[Lane]) -> Due:
        async with self._line.state.connection() as state:
            return await next_due(state, self._request(Take(_ordered(lanes), 1, 1)))

    def _until_due(self, due: Due) -> float:
        if due.in_seconds is None or (due.in_seconds == 0 and self._batches):
            return self._line.options.idle_seconds  # the end of a batch wakes us
        return max(due.in_seconds, _TICK_SECONDS) if due.in_seconds else _TAKEN_SECONDS

    async def _start(self, take: Take | None) -> int:
        """Claim, and start a batch for what was claimed. Returns how many keys that were."""
        if take is None:
            return 0
        started = self._line.clock()
        async with self._line.state.connection() as state:
            claimed = await claim(state, self._request(take))
        if claimed is None:
            return 0
        self._spawn(claimed, started, bulk=take.lanes == (Lane.BULK,))
        return len(claimed.claims)

    async def _probe(self, due: Due, lanes: Collection[Lane]) -> float:
        """Try a paused scope with one batch, if its pause has ended and there is something to send."""
        if due.probe_in_seconds is None or due.in_seconds is None:
            return self._line.options.idle_seconds
        wait = max(due.probe_in_seconds, due.in_seconds)
        if wait > 0 or self._batches or not lanes:
            return max(wait, _TAKEN_SECONDS)
        take = Take(_ordered(lanes), self._limits.batch_size, 1)
        started = self._line.clock()
        async with self._line.state.connection() as state:
            probes = await control.take_probe(state, self._line.scopes, self._line.options.lease_seconds)
            if not probes:
                return _TAKEN_SECONDS
            claimed = await claim(state, self._request(take, probing=True))
            if claimed is None:
                await control.probe_unused(state, probes)
                return _TAKEN_SECONDS
        self._spawn(claimed, started, probes=probes)
        return self._line.options.idle_seconds

    def _request(self, take: Take, *, probing: bool = False) -> ClaimRequest:
        options = self._line.options
        return ClaimRequest(
            feed=self._line.feed.name,
            worker=options.worker_id,
            scopes=self._line.scopes,
            lanes=take.lanes,
            limit=take.limit,
            at_least=take.at_least,
            lease_seconds=options.lease_seconds,
            probing=probing,
        )

    def _spawn(self, claimed: Claimed, started: float, *, bulk: bool = False, probes: Sequence[Probe] = ()) -> None:
        batch = Batch(line=self._line, claimed=claimed, started=started, probes=probes)
        task = asyncio.create_task(batch.process(), name=f"batch {self._line.feed.name}")
        self._batches[task] = bulk
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._batches[task]
        self._wake.set()
        if not task.cancelled():
            self._error = self._error or task.exception()

    def _in_flight(self) -> InFlight:
        bulk = sum(self._batches.values())
        return InFlight(urgent=len(self._batches) - bulk, bulk=bulk)

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            await wait_at_most(self._wake, min(seconds, self._line.options.idle_seconds))


def _ordered(lanes: Collection[Lane]) -> tuple[Lane, ...]:
    return tuple(lane for lane in URGENCY if lane in lanes)
