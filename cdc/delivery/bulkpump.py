"""Keeps one feed's bulk jobs going: takes over what another worker left, and opens a job when enough is due."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from cdc.connection import WAITABLE
from cdc.delivery.bulkjob import JobRun
from cdc.delivery.line import Line
from cdc.state import bulk
from cdc.state.backlog import Backlog, backlog
from cdc.state.bulk import Job, JobRequest
from cdc.waiting import wait_at_most
from sinks.base import BulkSink

_log = structlog.get_logger()
_LOOK_SECONDS = 0.25
_AFTER_TROUBLE_SECONDS = 1.0

Funds = Callable[[str], Awaitable[float]]
"""Credits that a sink family has left for the lane `bulk`."""


async def look(line: Line) -> Backlog:
    """Look at a feed's lane `bulk`, counting as far as a job takes."""
    async with line.state.connection() as state:
        return await backlog(
            state,
            line.feed.name,
            line.scopes,
            up_to=line.job_from or 0,
            retreat_seconds=line.options.bulk.retreat_seconds,
        )


def is_for_a_job(line: Line, found: Backlog) -> bool:
    """Tell whether what is due in the lane `bulk` is to wait for a job instead of going by ordinary calls."""
    if line.job_from is None or found.has_failed:
        return False
    return found.is_marking or found.due >= line.job_from


class BulkPump:
    """One feed's loop.

    Args:
        line: the feed's; it has bulk jobs.
        sink: makes them.
        funds: asked before each job.
    """

    def __init__(self, line: Line, sink: BulkSink, funds: Funds) -> None:
        self._line = line
        self._sink = sink
        self._funds = funds
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look again now."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Tend to jobs until `stop`; one that is under way then is left to the next worker."""
        while not stop.is_set():
            self._wake.clear()
            try:
                seconds = await self._turn(stop)
            except WAITABLE as error:
                _log.warning("bulk_jobs_unreachable", feed=self._line.feed.name, error=type(error).__name__)
                seconds = _AFTER_TROUBLE_SECONDS
            if seconds:
                await wait_at_most(stop, min(seconds, _LOOK_SECONDS))  # live changes wake us too, and often
                await wait_at_most(self._wake, seconds)

    async def _turn(self, stop: asyncio.Event) -> float:
        """Work on a job if there is one to be had. Returns seconds until the next look."""
        options = self._line.options
        async with self._line.state.connection() as state:
            job = await bulk.adopt(state, self._line.feed.name, options.worker_id, options.lease_seconds)
        is_new = job is None
        if job is None:
            if self._line.job_from is None:
                return options.idle_seconds
            found = await look(self._line)
            if found.is_marking:
                return _LOOK_SECONDS
            if found.is_open or found.is_paused or not is_for_a_job(self._line, found):
                return options.idle_seconds
            job = await self._open()
        if job is None:
            return options.budget_seconds
        await self._work(job, stop, is_new=is_new)
        return 0.0

    async def _open(self) -> Job | None:
        if self._line.job_from is None or not await self._may_spend(self._sink.job_credits):
            return None
        options = self._line.options
        request = JobRequest(
            feed=self._line.feed.name,
            worker=options.worker_id,
            limit=self._line.job_rows,
            at_least=self._line.job_from,
            lease_seconds=options.lease_seconds,
            claim_seconds=options.bulk.claim_seconds,
        )
        async with self._line.state.connection() as state:
            return await bulk.open_job(state, request)

    async def _may_spend(self, credits: int) -> bool:
        return await self._funds(self._line.family) >= credits

    async def _work(self, job: Job, stop: asyncio.Event, *, is_new: bool) -> None:
        """Work on a job; once `stop` is set, no longer than a drain may take."""
        run = asyncio.create_task(JobRun(self._line, self._sink, job, self._may_spend, is_new=is_new).run(stop))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((run, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not run.done():
                await asyncio.wait((run,), timeout=self._line.options.drain_seconds)
        finally:
            stopped.cancel()
            run.cancel()
            await asyncio.gather(run, stopped, return_exceptions=True)
        if not run.cancelled() and (error := run.exception()) is not None:
            raise error
