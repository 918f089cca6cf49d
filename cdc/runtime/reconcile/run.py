"""One comparison from beginning to end, and one plan carried out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cdc.errors import ConfigError
from cdc.repair.reconcile.differences import FIXABLE, Difference, Kind
from cdc.repair.reconcile.gates import Situation, closed_gates
from cdc.repair.reconcile.plan import Plan, plan_of, sealed
from cdc.repair.reconcile.report import FeedReport, Report
from cdc.routing.feeds import Profile
from cdc.runtime.reconcile.barrier import BARRIER_SECONDS
from cdc.runtime.reconcile.files import write_reports
from cdc.runtime.reconcile.fixing import DELIVERY_SECONDS, Fixed, put_right, without_flapping
from cdc.runtime.reconcile.scan import FeedResult, compare_feed
from cdc.runtime.reconcile.site import Site, mapping_of
from cdc.state import reconciles
from cdc.state.reconciles import ReconcileRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        feeds: which; all of the profile if empty.
        fix: put right what may be, if the gates allow it.
        out: where dated folders with reports go; None for no files.
        reveal: let the file of differences hold people's values.
        requested_by: who asks.
        barrier_seconds: how long capture is waited for.
        delivery_seconds: how long delivery of what was put right is waited for.
    """

    feeds: Sequence[str] = ()
    fix: bool = False
    out: Path | None = None
    reveal: bool = False
    requested_by: str = "cdc reconcile"
    barrier_seconds: float = BARRIER_SECONDS
    delivery_seconds: float = DELIVERY_SECONDS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        folder: where the reports are; None if none were written.
        open: records that differ now, as far as is known.
    """

    report: Report
    folder: Path | None
    open: int


def chosen_feeds(profile: Profile, names: Sequence[str]) -> list[str]:
    """Give the feeds that are to be compared; what others need comes first.

    Raises:
        ConfigError: if the profile hasn't one of them.
    """
    profile.check_feeds(sorted(names))
    feeds = [feed for feed in profile.feeds.values() if not names or feed.name in names]
    if not any(feed.external_id for feed in feeds):
        raise ConfigError(
            f"{', '.join(names) or 'no feed'} can't be compared with the CRM: its records bear no id of ours there",
            fix="`cdc sweep` compares it with what was last sent",
        )
    return [feed.name for feed in sorted(feeds, key=lambda feed: feed.needs is not None)]


async def reconcile(site: Site, request: Request) -> Outcome:
    """Compare source, ledger and CRM; report, and put right what may be.

    Raises:
        StateError: if another process is at it.
        ProfileError: if a view can't be read.
        psycopg.Error: if a database fails; nothing was put right then.
    """
    async with site.connections.state.connection() as guard, reconciles.alone(guard, site.slot):
        return await _Run(site, request).run()


class _Run:
    """One comparison."""

    def __init__(self, site: Site, request: Request) -> None:
        self._site = site
        self._request = request
        self._feeds = chosen_feeds(site.profile, request.feeds)
        self._started_at = datetime.now(UTC)
        self._began = time.monotonic()
        self._fixed = Fixed()

    async def run(self) -> Outcome:
        site = self._site
        credits_before = await site.credits_left()
        async with site.connections.source.connection() as source:
            mapping = await mapping_of(source, site.profile)
        results = [
            await compare_feed(site, site.profile.feeds[name], barrier_seconds=self._request.barrier_seconds)
            for name in self._feeds
        ]
        differences = await self._marked_off(results)
        fixable = [one for one in differences if one.is_fixable]
        is_complete = all(result.is_complete for result in results if result.is_scannable)
        credits = self._fix_credits(fixable)
        async with site.connections.state.connection() as state:
            before = await reconciles.last_run(state, site.slot)
        closed = await self._closed_gates(results, fixable, is_complete, credits, credits_before, mapping)
        plan = plan_of(
            fixable, made_at=self._started_at, slot=site.slot, mapping=mapping, held_back=tuple(closed), credits=credits
        )
        if self._request.fix and not closed:
            self._fixed = await put_right(site, plan.fixes, delivery_seconds=self._request.delivery_seconds)
            plan = plan.model_copy(update={"fixes": ()})
        elif not is_complete:
            plan = plan.model_copy(update={"fixes": ()})  # a partial scan never leads to a fix
        run = self._run_record(results, is_complete, closed, credits_before, credits, mapping)
        async with site.connections.state.connection() as state:
            await reconciles.record_run(state, run)
        report = self._report(run, before, results, differences, plan)
        text = sealed(plan, site.connections.hash_key) if plan.fixes else None
        out = self._request.out
        folder = None if out is None else write_reports(out, report, text, reveal=self._request.reveal)
        return Outcome(report, folder, self._open(run))

    async def _marked_off(self, results: Sequence[FeedResult]) -> list[Difference]:
        """Give what differs, with those that flap called so."""
        kept = [one for result in results if result.comparison is not None for one in result.comparison.kept]
        fixable = await without_flapping(self._site, [one for one in kept if one.is_fixable])
        return [*fixable, *(one for one in kept if not one.is_fixable)]

    def _fix_credits(self, fixable: Sequence[Difference]) -> int:
        """Say what putting records right costs: two looks at each, and the calls that send them."""
        total = 0
        for name, scanner in self._site.scanners.items():
            count = sum(one.feed == name for one in fixable)
            if count:
                columns = len(self._site.fitted.get(name, ()))
                total += 2 * scanner.find_credits(count, columns) + scanner.write_credits(count)
        return total

    async def _closed_gates(
        self,
        results: Sequence[FeedResult],
        fixable: Sequence[Difference],
        is_complete: bool,
        credits: int,
        credits_before: int,
        mapping: str,
    ) -> list[str]:
        site = self._site
        families = {name: site.profile.feeds[name].sink.partition(".")[0] for name in self._feeds}
        counted = [result.feed for result in results if result.counts is not None]
        async with site.connections.state.connection() as state:
            last = await reconciles.last_complete(state, site.slot, counted)
            obstacles = await reconciles.obstacles(state, site.slot, families, last.started_at if last else None)
        unkept = sum(_unkept(result) for result in results)
        situation = Situation(
            is_complete=is_complete,
            is_caught_up=all(result.is_caught_up for result in results if result.is_scannable),
            compared=_compared(results),
            fixes=len(fixable) + unkept,
            credits=credits,
            credits_left=credits_before - self._site.meter.spent.total(),
            crm_counts=_crm_counts(results),
            last=last,
            mapping=mapping,
            obstacles=obstacles,
        )
        return closed_gates(situation) if fixable else []

    def _run_record(
        self,
        results: Sequence[FeedResult],
        is_complete: bool,
        closed: Sequence[str],
        credits_before: int,
        credits: int,
        mapping: str,
    ) -> ReconcileRun:
        differing = sum(r.comparison.differing for r in results if r.comparison is not None)
        is_caught_up = all(r.is_caught_up for r in results if r.is_scannable)
        barriers = [r.barrier.lsn for r in results if r.barrier is not None]
        run = ReconcileRun(
            slot=self._site.slot,
            kind="fix" if self._request.fix else "report",
            requested_by=self._request.requested_by,
            started_at=self._started_at,
            verdict="",
            complete=is_complete,
            barrier_lsn=barriers[0] if barriers and is_caught_up else None,
            compared=_compared(results),
            differing=differing,
            fixed=len(self._fixed.marked),
            remaining=len(self._fixed.remaining),
            counts={r.feed: _counts(r) for r in results if r.comparison is not None},
            crm_counts=_crm_counts(results),
            credits_before=credits_before,
            credits_planned=sum(r.credits_planned for r in results) + (credits if self._request.fix else 0),
            credits_used=self._site.meter.spent.total(),
            mapping=mapping,
            held_back=tuple(closed) if self._request.fix else (),
        )
        return _with_verdict(run, self._open(run))

    def _open(self, run: ReconcileRun) -> int:
        return max(0, run.differing - (run.fixed - run.remaining) - self._fixed.agreed)

    def _report(
        self,
        run: ReconcileRun,
        before: ReconcileRun | None,
        results: Sequence[FeedResult],
        differences: Sequence[Difference],
        plan: Plan,
    ) -> Report:
        return Report(
            run=run,
            before=before,
            feeds=[_feed_report(result) for result in results],
            differences=differences,
            merges=[one for result in results for one in result.merges],
            spent=dict(self._site.meter.spent),
            seconds=time.monotonic() - self._began,
            marked=frozenset((fix.feed, fix.record_id) for fix in self._fixed.marked),
            left=self._fixed.left,
            remaining=self._fixed.remaining,
            planned=len(plan.fixes),
        )


def _with_verdict(run: ReconcileRun, open_: int) -> ReconcileRun:
    if not run.complete:
        verdict = "incomplete"
    elif not run.differing:
        verdict = "clean"
    elif not open_:
        verdict = "fixed"
    else:
        verdict = "held" if run.held_back else "differs"
    return replace(run, verdict=verdict)


def _compared(results: Sequence[FeedResult]) -> int:
    return sum(r.comparison.compared for r in results if r.comparison is not None)


def _crm_counts(results: Sequence[FeedResult]) -> dict[str, int]:
    return {r.feed: r.counts[1] for r in results if r.counts is not None}


def _counts(result: FeedResult) -> dict[str, int]:
    counts = {} if result.comparison is None else result.comparison.counts
    return {kind.value: count for kind, count in sorted(counts.items()) if count}


def _unkept(result: FeedResult) -> int:
    """Say how many records that may be put right were counted and not kept."""
    if result.comparison is None:
        return 0
    kept = sum(one.kind in FIXABLE for one in result.comparison.kept)
    return sum(result.comparison.counts[kind] for kind in FIXABLE) - kept


def _feed_report(result: FeedResult) -> FeedReport:
    found = result.comparison
    return FeedReport(
        feed=result.feed,
        compared=0 if found is None else found.compared,
        crm_count=None if result.counts is None else result.counts[1],
        is_complete=result.is_complete,
        note=result.note,
        counts={kind: 0 if found is None else found.counts[kind] for kind in Kind},
        fields={} if found is None else dict(found.fields),
        theirs={} if found is None else dict(found.theirs),
    )
