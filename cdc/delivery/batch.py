"""One claimed batch of one feed, from the view to the recorded outcome.

Until the first call a batch may be broken off, and its keys are given back. From then on the answers are what counts:
they are recorded even while the worker is being stopped.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from psycopg import AsyncConnection
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential

from cdc.connection import WAITABLE
from cdc.delivery.batching import into_calls
from cdc.delivery.calls import Answers, call
from cdc.delivery.conclude import Case, Conclusion, Context, conclude
from cdc.delivery.line import Line
from cdc.delivery.planner import Planned
from cdc.delivery.policy import Scope, call_policy, pause_seconds
from cdc.delivery.prepare import Prepared, prepare
from cdc.errors import SourceUnavailable
from cdc.routing.feeds import Lane
from cdc.state import control, ledger
from cdc.state.claims import Claimed
from cdc.state.control import Probe
from cdc.state.outbox import Mark
from cdc.state.settle import Settlement, settle
from cdc.state.synclog import Status
from sinks.base import Action
from sinks.errors import SinkError

_log = structlog.get_logger()
_AFTER_TROUBLE_SECONDS = 2.0
"""How long keys rest when a database failed under their batch, or made it too late for a call."""


@dataclass(slots=True, kw_only=True)
class Batch:
    """One claim on its way.

    Attributes:
        started: the clock before the claim was asked for; the lease is counted from here, so ours ends first.
        probes: paused scopes that this batch is to try.
    """

    line: Line
    claimed: Claimed
    started: float
    probes: Sequence[Probe] = ()
    prepared: Prepared = field(default_factory=lambda: Prepared({}))
    answers: Answers = field(default_factory=Answers)
    release_seconds: float = 0.0

    async def process(self) -> None:
        """Carry the batch through. However it ends, what is known by then is recorded, and the rest given back."""
        try:
            await self._deliver()
        finally:
            await to_the_end(self.finish())

    async def _deliver(self) -> None:
        try:
            self.prepared = await prepare(self.line, self.claimed)
            if self.prepared.sendable():
                await self.line.fit()
                await self._call()
        except SinkError as error:
            self.answers.failure = error
        except WAITABLE as error:
            self.release_seconds = _AFTER_TROUBLE_SECONDS
            _log.warning("batch_broken_off", feed=self.line.feed.name, error=type(error).__name__, code=error.sqlstate)
        except SourceUnavailable as error:
            self.release_seconds = _AFTER_TROUBLE_SECONDS
            _log.warning("batch_broken_off", feed=self.line.feed.name, error=error.message)

    async def _call(self) -> None:
        sink, options = self.line.sink, self.line.options
        for group in into_calls(self.prepared.sendable(), sink.batch_size, _action):
            if self._seconds_left() < options.call_seconds + options.settle_seconds:
                self.release_seconds = _AFTER_TROUBLE_SECONDS
                _log.warning("lease_too_short", feed=self.line.feed.name, unsent=len(group))
                return
            operations = [planned.operation for planned in group]
            await call(sink, operations, self.answers, options.call_seconds, clock=self.line.clock)
            if self.answers.failure is not None:
                return

    def _seconds_left(self) -> float:
        return self.started + self.line.options.lease_seconds - self.line.clock()

    # -- after the calls -------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Record everything; tried again while the lease lasts, since a lost answer costs a look-up later."""
        concluded = self._conclude()
        record = AsyncRetrying(
            retry=retry_if_exception_type(WAITABLE),
            wait=wait_exponential(multiplier=0.1, max=2),
            stop=stop_after_delay(max(0.0, self._seconds_left())),
            reraise=True,
        )
        try:
            settled: bool = await record(self._record, concluded)
        except WAITABLE as error:
            _log.error("batch_not_recorded", feed=self.line.feed.name, error=type(error).__name__, code=error.sqlstate)
            return
        self._report(concluded, settled=settled)

    def _conclude(self) -> Conclusion:
        options = self.line.options
        context = Context(
            feed=self.line.feed,
            now=self.claimed.at,
            jitter=self.line.chance(),
            lane_seconds={Lane.ROLLUP: options.rollup_seconds, Lane.DAILY: options.daily_seconds},
            release_seconds=self.release_seconds,
            reserved=self.prepared.reserved,
            judged=self.prepared.judged,
            loop_time=asyncio.get_running_loop().time(),
        )
        cases = [self.prepared.cases.get(claim.key) or Case(claim=claim) for claim in self.claimed.claims]
        return conclude(context, cases, self.answers)

    async def _record(self, concluded: Conclusion) -> bool:
        """Pause first, so that no worker takes what is released here before it knows; then settle."""
        line = self.line
        children = [child.feed for child in line.children]
        async with line.state.connection() as state:
            paused = await self._pause(state, concluded)
            orphans = await ledger.dependent_keys(state, [feed.name for feed in children], concluded.bereaved)
            settlement = Settlement(
                feed=line.feed.name,
                worker=line.options.worker_id,
                claimed_at=self.claimed.at,
                claimed_until=self.claimed.until,
                verdicts=concluded.verdicts,
                ledger=concluded.ledger_change(line.feed, children),
                log=concluded.log,
                marks=self._marks(concluded, orphans),
            )
            settled = await settle(state, settlement)
            await self._settle_probes(state, paused)
        return settled

    def _marks(self, concluded: Conclusion, orphans: Sequence[tuple[str, str]]) -> list[Mark]:
        """Ring for what hangs on records that came, went or were away, and for parents that the sink has lost."""
        at = self.claimed.at
        lanes = {claim.key: claim.lane for claim in self.claimed.claims}
        marks: dict[tuple[str, str], Mark] = {}
        for record_id in concluded.created:
            lane = lanes.get(record_id, Lane.LIVE)  # the children of a backfilled contact are backfill too
            for feed, key in self.prepared.children.get(record_id, ()):
                marks[feed, key] = Mark(feed=feed, key=key, lane=lane, dirty_at=at)
        for feed, key in (*self.prepared.overlooked, *orphans):
            marks[feed, key] = Mark(feed=feed, key=key, lane=Lane.LIVE, dirty_at=at)
        if self.line.feed.needs is not None:
            for key in concluded.lost_parents:
                mark = Mark(feed=self.line.feed.needs, key=key, lane=Lane.LIVE, dirty_at=at, forced=True)
                marks[mark.feed, key] = mark
        return list(marks.values())

    async def _pause(self, state: AsyncConnection[Any], concluded: Conclusion) -> str | None:
        """Pause what the failure concerns. Returns the scope, or None if nothing failed."""
        failure = self.answers.failure
        if failure is not None:
            reason, detail, retry_after = failure.reason, failure.detail, failure.retry_after
        elif concluded.pausing is not None:
            reason, detail, retry_after = concluded.pausing.reason, concluded.pausing.detail, None
        else:
            return None
        policy = call_policy(reason)
        scope = self.line.family if policy.scope is Scope.FAMILY else self.line.feed.name
        if policy.scope is Scope.FEED:
            self.line.look_again()
        seen = next((probe.failures for probe in self.probes if probe.scope == scope), 0)
        seconds = pause_seconds(policy, seen, self.line.chance(), retry_after)
        if await control.pause(state, scope, seconds, reason.name, detail, seen=seen):
            _log.warning("paused", scope=scope, reason=reason.name, detail=detail, seconds=round(seconds, 1))
        return scope

    async def _settle_probes(self, state: AsyncConnection[Any], paused: str | None) -> None:
        """Open what was probed and answered; give back the right to probe what wasn't reached."""
        others = [probe for probe in self.probes if probe.scope != paused]
        if not others:
            return
        if self.answers.calls and (paused is None or self.answers.outcomes):
            await control.probe_succeeded(state, others)
            _log.info("resumed", scopes=[probe.scope for probe in others])
        else:
            await control.probe_unused(state, others)

    def _report(self, concluded: Conclusion, *, settled: bool) -> None:
        feed, stats = self.line.feed.name, self.line.stats
        elapsed = self.line.clock() - self.started
        effects, fates = Counter(concluded.effects), Counter(v.fate.value for v in concluded.verdicts)
        stats.calls[feed] += self.answers.calls
        stats.operations.update({(feed, effect): n for effect, n in effects.items()})
        stats.keys.update({(feed, fate): n for fate, n in fates.items()})
        if self.answers.failure is not None:
            stats.failed_calls[feed, self.answers.failure.reason.name] += 1
        for line in concluded.log:
            # What a sweep or a person marked has no commit to count from.
            if line.status is Status.SUCCESS and line.dirty_at is not None and line.lsn is not None:
                waited = (self.claimed.at - line.dirty_at).total_seconds()
                stats.add_latency(max(0.0, (waited + elapsed) * 1000))
        _log.info(
            "batch" if settled else "batch_lease_lost",
            feed=feed,
            keys=len(concluded.verdicts),
            calls=self.answers.calls,
            **{f"ops_{name}": n for name, n in sorted(effects.items())},
            **{f"keys_{name}": n for name, n in sorted(fates.items())},
            took_ms=round(elapsed * 1000, 1),
        )


def _action(planned: Planned) -> Action:
    return planned.operation.action


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await work that a cancellation must not tear; it is passed on afterwards."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
