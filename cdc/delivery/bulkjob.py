"""One bulk job, from the keys it claimed to its recorded outcomes, whoever began it.

Each step is on record before it is taken, and a worker takes a step only while the job is its own. After a kill the
next worker goes on from the step on record: a file that hadn't left is made anew, a job whose id is known is only
polled, and one whose start was never answered is started again, since nobody can ask whether it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import MappingProxyType

import structlog

from cdc.connection import WAITABLE
from cdc.delivery.batch import to_the_end
from cdc.delivery.bulkfile import Packing
from cdc.delivery.bulksettle import Totals, portions, settle_portion
from cdc.delivery.line import Line
from cdc.delivery.policy import Response, Scope, call_policy, pause_seconds
from cdc.errors import SourceUnavailable
from cdc.state import bulk, bulkitems, control
from cdc.state.bulk import Job, JobStep
from cdc.waiting import wait_at_most
from sinks.base import BulkSink, JobState
from sinks.errors import SinkError
from sinks.reasons import Reason

_log = structlog.get_logger()
_AFTER_TROUBLE_SECONDS = 1.0
_READINGS = 3
"""How often a result that can't be read is fetched before the job counts as failed."""

MaySpend = Callable[[int], Awaitable[bool]]
"""Says whether the lane `bulk` may spend so many credits now."""


class JobRun:
    """A worker's work on one job.

    Args:
        line: the feed's.
        sink: makes the jobs.
        job: as it was opened or adopted.
        may_spend: asked before each start.
        is_new: opened just now; a file that somebody else was packing is of no use.
    """

    def __init__(self, line: Line, sink: BulkSink, job: Job, may_spend: MaySpend, *, is_new: bool) -> None:
        self._worker = line.options.worker_id
        # Batches of the job act in its name, since that is who holds the keys.
        self._line = replace(line, options=replace(line.options, worker_id=job.holder))
        self._sink = sink
        self._job = job
        self._may_spend = may_spend
        self._is_new = is_new
        self._stop = asyncio.Event()
        self._claims_left = line.options.bulk.claim_seconds
        self._held_until = line.clock() + line.options.lease_seconds
        self._pause = line.options.bulk.poll_seconds
        self._unread = 0
        self._steps = MappingProxyType(
            {
                JobStep.PACKING: self._pack,
                JobStep.UPLOADED: self._start,
                JobStep.STARTING: self._start,
                JobStep.RUNNING: self._poll,
            }
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work on the job until it has ended, `stop` is set, or somebody else has it."""
        self._stop = stop
        work = asyncio.create_task(self._work(), name="bulk job")
        tend = asyncio.create_task(self._tend(), name="bulk job lease")
        try:
            await asyncio.wait((work, tend), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, tend):
                task.cancel()
            await asyncio.gather(work, tend, return_exceptions=True)
            await to_the_end(self._let_go())
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error

    async def _tend(self) -> None:
        """Keep the job ours; return once it isn't."""
        lease = self._line.options.lease_seconds
        while True:
            await asyncio.sleep(lease / 3)
            asked = self._line.clock()
            try:
                async with self._line.state.connection() as state:
                    left = await bulk.extend(state, self._job, self._worker, lease)
            except WAITABLE:
                left = self._claims_left if asked < self._held_until else None
            else:
                self._held_until = asked + lease
            if left is None:
                _log.warning("bulk_job_lost", feed=self._job.feed, job=self._job.id)
                return
            self._claims_left = left

    async def _let_go(self) -> None:
        """Leave the job to whoever looks next, at once."""
        try:
            async with self._line.state.connection() as state:
                await bulk.extend(state, self._job, self._worker, 0.0)
        except WAITABLE as error:
            _log.warning("bulk_job_not_released", job=self._job.id, error=type(error).__name__)

    async def _work(self) -> None:
        _log.info("bulk_job", feed=self._job.feed, job=self._job.id, state=self._job.state.value, new=self._is_new)
        while True:
            step = self._steps[self._job.state]
            try:
                more = await step()
            except (*WAITABLE, SourceUnavailable) as error:
                _log.warning("bulk_job_interrupted", job=self._job.id, error=type(error).__name__)
                more = True
                await self._wait(_AFTER_TROUBLE_SECONDS)
                if self._job.state is JobStep.PACKING:
                    more = await self._end(JobStep.DROPPED, detail="a database failed under it")
            if not more or (self._stop.is_set() and self._job.state is not JobStep.PACKING):
                return

    # -- the steps; each tells whether there is another one ----------------------------------------------------------

    async def _pack(self) -> bool:
        if not self._is_new:
            return await self._end(JobStep.DROPPED, detail="its worker ended while the file was made")
        try:
            return await self._pack_and_upload()
        except SinkError as error:
            if not _passes(error):
                return await self._end(JobStep.FAILED, error.reason, error.detail)
            await self._pause_family(error)
            return await self._end(JobStep.DROPPED, error.reason, error.detail)

    async def _pack_and_upload(self) -> bool:
        packing = await Packing.begin(self._line, self._sink, self._job)
        try:
            after: str | None = ""
            while after is not None:
                if self._stop.is_set():
                    return await self._end(JobStep.DROPPED, detail="stopped")
                after = await packing.portion(after)
            return await self._upload(packing)
        finally:
            packing.file.close()

    async def _upload(self, packing: Packing) -> bool:
        async with self._line.state.connection() as state:
            await bulk.release(state, self._job, packing.surplus)
        if len(packing.keys) < (self._line.job_from or 1):
            await packing.send_all_singly()
            return await self._end(JobStep.DROPPED, detail="too few records differ for a job")
        async with self._line.state.connection() as state:
            await bulkitems.write_intents(state, self._job)
        file_id = await self._sink.upload(packing.file.close())
        return await self._advance(
            JobStep.UPLOADED, columns=packing.columns, records=len(packing.keys), file_id=file_id
        )

    async def _start(self) -> bool:
        options = self._line.options
        if self._job.starts >= options.bulk.starts:
            return await self._end(JobStep.FAILED, Reason.OUTCOME_UNKNOWN, f"{self._job.starts} starts unanswered")
        try:
            await self._line.fit()
        except SinkError as error:
            if not _passes(error):
                return await self._end(JobStep.FAILED, error.reason, error.detail)
            await self._wait(options.budget_seconds)
            return True
        if not await self._may_spend(self._sink.job_credits):
            await self._wait(options.budget_seconds)
            return True
        if self._held_until - self._line.clock() < options.call_seconds:
            await self._wait(_AFTER_TROUBLE_SECONDS)
            return True
        if not await self._advance(JobStep.STARTING):
            return False
        if self._job.starts > 1:
            _log.warning("bulk_job_started_again", feed=self._job.feed, job=self._job.id, starts=self._job.starts)
        try:
            crm_job_id = await self._sink.start(self._job.file_id or "", self._job.columns)
        except SinkError as error:
            return await self._not_started(error)
        return await self._advance(JobStep.RUNNING, crm_job_id=crm_job_id)

    async def _not_started(self, error: SinkError) -> bool:
        _log.warning("bulk_job_not_started", job=self._job.id, reason=error.reason.name, detail=error.detail)
        if error.maybe_applied:
            await self._wait(self._line.options.call_seconds)  # the call may still be carried out until then
            return True
        if not _passes(error):
            return await self._end(JobStep.FAILED, error.reason, error.detail)
        await self._pause_family(error)
        return await self._end(JobStep.DROPPED if self._job.starts == 1 else JobStep.FAILED, error.reason, error.detail)

    async def _poll(self) -> bool:
        if self._claims_left < self._line.options.lease_seconds:
            # Its keys are about to be anybody's. What they hold is in doubt, so it is all sent again.
            return await self._end(JobStep.FAILED, Reason.OUTCOME_UNKNOWN, "the job did not end in time")
        try:
            progress = await self._sink.progress(self._job.crm_job_id or "")
            if progress.state is JobState.FAILED:
                return await self._end(JobStep.FAILED, Reason.REQUEST_REFUSED, f"the job is {progress.detail}")
            if progress.state is JobState.COMPLETED and progress.result is not None:
                return await self._settle(progress.result)
        except SinkError as error:
            self._unread += error.reason is Reason.BAD_ANSWER
            if error.reason is Reason.RECORD_GONE or self._unread >= _READINGS:
                return await self._end(JobStep.FAILED, error.reason, error.detail)
            _log.warning("bulk_job_not_seen", job=self._job.id, reason=error.reason.name, detail=error.detail)
        await self._wait(self._pause)
        self._pause = min(self._pause * 1.5, max(self._pause, self._line.options.bulk.poll_longest))
        return True

    async def _settle(self, result: str) -> bool:
        await self._line.fit()
        totals = Totals()
        for outcomes in portions(await self._sink.outcomes(result), self._line.options.bulk.portion):
            if self._stop.is_set():
                return True  # what is left is settled by whoever takes over
            await settle_portion(self._line, self._job, outcomes)
            for outcome in outcomes:
                totals.count(outcome)
        return await self._end(JobStep.DONE, totals=totals)

    # -- what the steps share ----------------------------------------------------------------------------------------

    async def _advance(
        self,
        state: JobStep,
        *,
        columns: tuple[str, ...] | None = None,
        records: int | None = None,
        file_id: str | None = None,
        crm_job_id: str | None = None,
    ) -> bool:
        async with self._line.state.connection() as conn:
            job = await bulk.advance(
                conn, self._job, self._worker, state,
                columns=columns, records=records, file_id=file_id, crm_job_id=crm_job_id,
            )  # fmt: skip
        if job is None:
            return False
        self._job = job
        _log.info("bulk_job", feed=job.feed, job=job.id, state=job.state.value, records=job.records)
        return True

    async def _end(
        self, state: JobStep, reason: Reason | None = None, detail: str = "", *, totals: Totals | None = None
    ) -> bool:
        counted = None if totals is None else (totals.created, totals.updated, totals.refused)
        name = None if reason is None else reason.name
        async with self._line.state.connection() as conn:
            await bulk.end(conn, self._job, self._worker, state, totals=counted, reason=name, detail=detail)
        _log.info(
            "bulk_job_ended", feed=self._job.feed, job=self._job.id, state=state.value, reason=name, detail=detail,
            totals=counted,
        )  # fmt: skip
        return False

    async def _pause_family(self, error: SinkError) -> None:
        seconds = pause_seconds(call_policy(error.reason), 0, self._line.chance(), error.retry_after)
        async with self._line.state.connection() as conn:
            await control.pause(conn, self._line.family, seconds, error.reason.name, error.detail, seen=0)

    async def _wait(self, seconds: float) -> None:
        await wait_at_most(self._stop, seconds)


def _passes(error: SinkError) -> bool:
    """Tell whether a failure is one that time or a person heals, and not the file's fault or the feed's."""
    policy = call_policy(error.reason)
    return policy.response is Response.PAUSE and policy.scope is Scope.FAMILY
