"""Runs named jobs by the clock, each once, however many processes there are.

A process that finds a job due claims it in the state database; the others find it claimed. A process that dies leaves a
claim that isn't renewed, and another one takes the job over. What was due while nothing ran is done once, late.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection

from cdc.errors import CdcError
from cdc.runtime.plans import Plan
from cdc.state import jobs
from cdc.state.database import Pool
from cdc.state.jobs import Outcome, Request
from cdc.waiting import wait_at_most

log = structlog.get_logger()

LOOK_SECONDS: Final = 15.0
LEASE_SECONDS: Final = 90.0
_RENEW_SHARE: Final = 3

Work = Callable[[], Awaitable[Mapping[str, object]]]
"""Does the job, and gives counts and codes for the record. It is cancelled at a stop."""
Clock = Callable[[AsyncConnection[Any]], Awaitable[datetime]]
"""Gives the time that all processes go by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to be done by the clock.

    Attributes:
        name: its name, everywhere.
        plan: when.
        work: what.
        tries: how often it may fail for one moment of its plan; between two tries a pause that doubles, from a minute.
        quiet: an ordinary end isn't worth a line in the log.
    """

    name: str
    plan: Plan
    work: Work
    tries: int = 5
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended."""

    outcome: Outcome
    detail: Mapping[str, object]


class Scheduler:
    """The jobs of one process.

    Args:
        state: pool on the state database.
        all_jobs: with names of their own.
        actor: this process, for the record.
        clock: the database's unless a test has another one.
    """

    def __init__(self, state: Pool, all_jobs: Sequence[Job], actor: str, *, clock: Clock = jobs.database_time) -> None:
        self._state = state
        self._jobs = {job.name: job for job in all_jobs}
        self._actor = actor
        self._clock = clock
        self._running: dict[str, asyncio.Task[Ending]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Run what is due until `stop` is set; what is under way then is cancelled and given back."""
        try:
            while not stop.is_set():
                try:
                    await self.look()
                except psycopg.Error as error:  # the database comes back
                    log.warning("schedule_interrupted", error=type(error).__name__)
                await wait_at_most(stop, LOOK_SECONDS)
        finally:
            for task in self._running.values():
                task.cancel()
            await self.settled()

    async def look(self) -> list[str]:
        """Begin what is due, each job in a task of its own. Returns what was begun."""
        begun = []
        async with self._state.connection() as conn:
            now = await self._clock(conn)
            for job in self._jobs.values():
                if job.name in self._running:
                    continue
                run_id = await jobs.claim(conn, self._request(job, now), now)
                if run_id is not None:
                    self._begin(job, run_id)
                    begun.append(job.name)
        return begun

    async def run_now(self, name: str) -> Ending | None:
        """Run a job whatever its plan says, to its end; None if a process is at it already."""
        job = self._jobs[name]
        async with self._state.connection() as conn:
            now = await self._clock(conn)
            run_id = await jobs.claim(conn, self._request(job, now, forced=True), now)
        return None if run_id is None else await self._do(job, run_id)

    async def settled(self) -> None:
        """Wait until nothing that was begun is under way."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _request(self, job: Job, now: datetime, *, forced: bool = False) -> Request:
        return Request(
            name=job.name,
            due_at=job.plan.last(now),
            actor=self._actor,
            lease_seconds=LEASE_SECONDS,
            tries=job.tries,
            waits_at_first=job.plan.waits_at_first,
            forced=forced,
        )

    def _begin(self, job: Job, run_id: int) -> None:
        task = asyncio.create_task(self._do(job, run_id), name=f"job {job.name}")
        self._running[job.name] = task
        task.add_done_callback(lambda _: self._running.pop(job.name))

    async def _do(self, job: Job, run_id: int) -> Ending:
        """Run a job under its lease, and put on record how it ended."""
        work: asyncio.Task[Mapping[str, object]] = asyncio.ensure_future(_awaited(job.work))
        lease = asyncio.create_task(self._keep(run_id))
        ending = Ending("stopped", {})
        try:
            await asyncio.wait({work, lease}, return_when=asyncio.FIRST_COMPLETED)
            ending = _ending(job.name, work) if work.done() else Ending("died", {"why": "its lease ran out"})
        finally:
            for task in (work, lease):
                task.cancel()
            await asyncio.gather(work, lease, return_exceptions=True)
            await self._note(job, run_id, ending)
        return ending

    async def _keep(self, run_id: int) -> None:
        """Renew the lease; ends when it is lost."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / _RENEW_SHARE)
            try:
                async with self._state.connection() as conn:
                    if not await jobs.renew(conn, run_id, await self._clock(conn), LEASE_SECONDS):
                        return
            except psycopg.Error as error:
                log.warning("job_lease_not_renewed", error=type(error).__name__)

    async def _note(self, job: Job, run_id: int, ending: Ending) -> None:
        say = log.warning if ending.outcome in {"failed", "died"} else log.debug if job.quiet else log.info
        say("job_ended", job=job.name, outcome=ending.outcome, **ending.detail)
        try:
            async with self._state.connection() as conn:
                await jobs.end(conn, run_id, await self._clock(conn), ending.outcome, ending.detail)
        except psycopg.Error as error:  # its lease will say so
            log.warning("job_end_not_noted", job=job.name, error=type(error).__name__)


async def _awaited(work: Work) -> Mapping[str, object]:
    return await work()


def _ending(name: str, work: asyncio.Task[Mapping[str, object]]) -> Ending:
    """Say how the work ended; what nobody expected too, since one job must not end the others."""
    if work.cancelled():
        return Ending("stopped", {})
    error = work.exception()
    match error:
        case None:
            return Ending("done", work.result())
        case CdcError():
            return Ending("failed", {"error": error.message})
        case psycopg.Error():
            return Ending("failed", {"error": type(error).__name__, "sqlstate": error.sqlstate})
        case _:
            # Its own words may hold a value; where it was raised doesn't.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            log.error("job_broken", job=name, error=type(error).__name__, at=f"{frame.filename}:{frame.lineno}")
            return Ending("failed", {"error": type(error).__name__})
