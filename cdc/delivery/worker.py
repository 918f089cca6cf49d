"""The delivery worker. Any number of them, on any number of machines, may share one outbox."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from types import MappingProxyType

import structlog

from cdc.connection import WAITABLE
from cdc.delivery.budget import LANE_SHARE, credits_left, lanes_within
from cdc.delivery.bulkpump import BulkPump
from cdc.delivery.line import Line
from cdc.delivery.options import DeliveryOptions
from cdc.delivery.pricing import Tariff, pays_from
from cdc.delivery.pump import Pump
from cdc.delivery.stats import Stats
from cdc.errors import ProfileError
from cdc.routing.feeds import Feed, Lane, Profile
from cdc.state.database import Pool
from cdc.state.outbox import listen
from cdc.state.truth import View
from cdc.waiting import lease_seconds
from sinks.base import BulkSink, Sink

_log = structlog.get_logger()
_RECONNECT_SECONDS = 1.0

CreditsUsed = Callable[[], Awaitable[int]]
"""Says how many credits all workers have spent in the last 24 hours."""


class Worker:
    """Delivers all feeds of a profile.

    Args:
        source: pool on the source database; autocommit, UTC.
        state: pool on the state database; autocommit, UTC. One connection of it is kept for notifications.
        profile: the feeds.
        sinks: by feed; or by the name in feeds.toml, such as `zoho.contacts`, where one sink serves several feeds.
        options: settings.
        credits_used: by sink family, for those that `options.credit_limits` names.
        bulk_sinks: by feed, for those whose sink takes bulk jobs.
        clock: seconds that never go back.
        chance: from 0 to 1, for jitter.
    """

    def __init__(
        self,
        *,
        source: Pool,
        state: Pool,
        profile: Profile,
        sinks: Mapping[str, Sink],
        options: DeliveryOptions,
        credits_used: Mapping[str, CreditsUsed] = MappingProxyType({}),
        bulk_sinks: Mapping[str, BulkSink] = MappingProxyType({}),
        clock: Callable[[], float] = lease_seconds,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.stats = Stats(chance=chance)
        self._source = source
        self._state = state
        self._profile = profile
        self._sinks = sinks
        self._options = options
        self._clock = clock
        self._chance = chance
        self._budgets = {
            family: _Budget(used, options.credit_limits[family], options, clock)
            for family, used in credits_used.items()
            if family in options.credit_limits
        }
        self._bulk_sinks = bulk_sinks
        self._pumps: list[Pump] = []
        self._bulk_pumps: list[BulkPump] = []

    @property
    def still_seconds(self) -> float:
        """For how long a feed's loop hasn't taken a turn. A call that hangs doesn't keep it from turning."""
        turns = [pump.turned_at for pump in self._pumps if pump.turned_at is not None]
        return self._clock() - min(turns) if turns else 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set, then finish what is under way, for `drain_seconds` at most.

        Raises:
            ProfileError: at the start, if a feed's sink isn't given.
        """
        lines = self._lines()
        self._pumps = [Pump(line, self._lanes) for line in lines]
        self._bulk_pumps = [BulkPump(line, line.bulk, self._funds) for line in lines if line.bulk is not None]
        drain_seconds = 0.0
        try:
            async with asyncio.TaskGroup() as group:
                listener = group.create_task(self._listen(), name="outbox-listen")
                stopper = group.create_task(self._wake_at(stop), name="delivery-stop")
                pumps = [group.create_task(pump.run(stop), name="pump") for pump in self._pumps]
                pumps += [group.create_task(pump.run(stop), name="bulk pump") for pump in self._bulk_pumps]
                await asyncio.gather(*pumps)
                stopped_at = await stopper
                listener.cancel()
            # A bulk job has been waited for meanwhile, and batches have gone on: one drain is for both.
            drain_seconds = max(0.0, self._options.drain_seconds - (self._clock() - stopped_at))
        finally:
            await asyncio.gather(*(pump.drain(drain_seconds) for pump in self._pumps))

    def _lines(self) -> list[Line]:
        feeds = self._profile.feeds
        views = {name: View(feed) for name, feed in feeds.items()}
        lines = []
        for name, feed in feeds.items():
            sink = self._sinks.get(name) or self._sinks.get(feed.sink)
            if sink is None:
                raise ProfileError(
                    f"feed {name}: there is no sink {feed.sink!r}",
                    fix=f"use one of: {', '.join(sorted(self._sinks))}",
                )
            lines.append(
                Line(
                    feed=feed,
                    sink=sink,
                    view=views[name],
                    parent=None if feed.needs is None else views[feed.needs],
                    children=[views[child.name] for child in self._profile.dependents(name)],
                    source=self._source,
                    state=self._state,
                    options=self._options,
                    stats=self.stats,
                    clock=self._clock,
                    chance=self._chance,
                    bulk=self._bulk_sinks.get(name),
                    job_from=self._job_from(feed),
                )
            )
        return lines

    def _job_from(self, feed: Feed) -> int | None:
        """Say from how many records on a bulk job is made; None for never."""
        sink, wanted = self._bulk_sinks.get(feed.name), self._options.bulk.job_from
        if sink is None or wanted == 0:
            return None
        limit = self._options.credit_limits.get(feed.sink.partition(".")[0])
        if credits_left(Lane.BULK, 0, limit, self._options.credit_reserve) < sink.job_credits:
            return None  # the lane's whole share doesn't pay for one
        rows = min(sink.job_rows, self._options.bulk.rows or sink.job_rows)
        tariff = Tariff(records_credits=sink.records_credits, job_credits=sink.job_credits, job_rows=rows)
        found = pays_from(tariff) if wanted is None else wanted
        return None if found is None or found > rows else found

    async def _funds(self, family: str) -> float:
        budget = self._budgets.get(family)
        return math.inf if budget is None else await budget.left(Lane.BULK)

    async def _lanes(self, family: str) -> Collection[Lane]:
        budget = self._budgets.get(family)
        return LANE_SHARE.keys() if budget is None else await budget.lanes()

    async def _listen(self) -> None:
        """Wake the pumps at every mark. While the line is down they look by themselves now and then."""
        while True:
            try:
                async with self._state.connection() as state:
                    try:
                        await listen(state)
                        self._wake_all()
                        async for heard in state.notifies():
                            self._wake_for(heard.payload)
                    finally:
                        with suppress(*WAITABLE):
                            await state.execute("unlisten *")
            except WAITABLE as error:
                _log.warning("outbox_not_heard", error=type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _wake_at(self, stop: asyncio.Event) -> float:
        """Wake all at the stop. Returns when that was."""
        await stop.wait()
        self._wake_all()
        return self._clock()

    def _wake_for(self, feed: str) -> None:
        """Wake whom a mark concerns. Capture names the feed, and marks nothing that could go in a bulk job."""
        if not feed:
            self._wake_all()
        for pump in self._pumps:
            if pump.feed == feed:
                pump.wake()

    def _wake_all(self) -> None:
        pumps: list[Pump | BulkPump] = [*self._pumps, *self._bulk_pumps]
        for pump in pumps:
            pump.wake()


class _Budget:
    """The lanes that a family may spend on, asked for anew every few seconds."""

    def __init__(
        self, used: CreditsUsed, daily_limit: int, options: DeliveryOptions, clock: Callable[[], float]
    ) -> None:
        self._used = used
        self._daily_limit = daily_limit
        self._reserve = options.credit_reserve
        self._seconds = options.budget_seconds
        self._clock = clock
        self._asked_at: float | None = None
        self._allowed: frozenset[Lane] | None = None

    async def left(self, lane: Lane) -> float:
        """Give the credits that a lane may spend, by what is spent this moment."""
        return credits_left(lane, await self._used(), self._daily_limit, self._reserve)

    async def lanes(self) -> frozenset[Lane]:
        if self._allowed is None or self._asked_at is None or self._clock() - self._asked_at >= self._seconds:
            self._asked_at = self._clock()
            before = self._allowed
            self._allowed = lanes_within(await self._used(), self._daily_limit, self._reserve)
            if self._allowed != before:
                _log.info("lanes_within_budget", lanes=sorted(self._allowed))
        return self._allowed
