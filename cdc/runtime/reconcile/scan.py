"""Scans one feed's module and compares it: count, scan, count, snapshot, barrier, comparison."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from psycopg import AsyncConnection

from cdc.delivery.planner import field_hash
from cdc.errors import ProfileError
from cdc.repair.reconcile.classify import Measures
from cdc.repair.reconcile.compare import Comparer, Comparison
from cdc.repair.reconcile.differences import Difference, Kind
from cdc.repair.reconcile.duplicates import Candidate, MergePlan, merge_plan
from cdc.repair.reconcile.staging import Staging
from cdc.routing.feeds import Feed
from cdc.runtime.fit import read_columns
from cdc.runtime.reconcile.barrier import Barrier, read_barrier, wait_until_captured
from cdc.runtime.reconcile.site import Site
from cdc.state.truth import Truth
from sinks.errors import SinkError
from sinks.scan import Scannable

log = structlog.get_logger()

_MERGES_SHOWN = 50


@dataclass(slots=True)
class FeedResult:
    """What comparing one feed came to.

    Attributes:
        note: why there is no comparison, or why it isn't whole; empty if all is well.
        counts: the module's records before and after the scan.
        is_complete: the scan read everything, and the counts fit.
        is_caught_up: capture had passed the snapshot.
        merges: how its duplicates would be merged.
    """

    feed: str
    note: str = ""
    counts: tuple[int, int] | None = None
    scanned: int = 0
    is_scannable: bool = True
    is_complete: bool = False
    is_caught_up: bool = False
    barrier: Barrier | None = None
    comparison: Comparison | None = None
    credits_planned: int = 0
    merges: list[MergePlan] = field(default_factory=list)


def measures_for(site: Site, scanner: Scannable, columns: Sequence[str]) -> Measures:
    """Say how values of a feed are compared."""
    digest = partial(field_hash, site.connections.hash_key)
    return Measures(same=scanner.same, forms=scanner.forms, digest=digest, columns=frozenset(columns))


async def fit_feed(site: Site, feed: Feed, scanner: Scannable) -> list[str]:
    """Learn the module's fields, once; gives the columns that can be compared.

    Raises:
        ProfileError: if a column that is sent doesn't fit. One that is theirs is left out then.
        SinkError: if the CRM can't be asked.
    """
    if feed.name in site.fitted:
        return site.fitted[feed.name]
    site.meter.doing = "fields"
    async with site.connections.source.connection() as source:
        truth = await Truth.open(source, feed)
        columns = [*await read_columns(source, feed), *truth.theirs]
    misfits = {misfit.column: misfit for misfit in await scanner.fit(columns)}
    for name, misfit in misfits.items():
        if name not in feed.theirs:
            raise ProfileError(
                f"feed {feed.name}, column {name}: {misfit.reason.meaning} {misfit.detail}", fix=misfit.reason.hint
            )
    site.fitted[feed.name] = [column.name for column in columns if column.name not in misfits]
    return site.fitted[feed.name]


async def compare_feed(site: Site, feed: Feed, *, barrier_seconds: float) -> FeedResult:
    """Scan and compare one feed. Failures of the CRM end up in the result; then it isn't complete.

    Raises:
        ProfileError: if the view can't be read, or doesn't fit the CRM.
        psycopg.Error: if a database fails.
    """
    result = FeedResult(feed.name)
    scanner = site.scanners.get(feed.name)
    if scanner is None:
        result.note, result.is_scannable = "its module can't be asked by COQL, so only `cdc sweep` compares it", False
        return result
    async with site.connections.state.connection() as state, Staging.open(state) as staging:
        row = await (await state.execute("select clock_timestamp()")).fetchone()
        since: datetime = row[0]  # type: ignore[index]  # a select without FROM gives a row
        columns: list[str] = []
        try:
            columns = await fit_feed(site, feed, scanner)
            await _scan(site, scanner, columns, staging, result)
        except SinkError as error:
            result.note = f"the CRM failed during the scan: {error.reason.name} {error.detail}".strip()
            log.warning("reconcile_scan_failed", feed=feed.name, reason=error.reason.name, detail=error.detail)
            if result.counts is None:
                return result
        async with _snapshots(site, state, result, barrier_seconds) as source:
            await _check_counts(site, state, feed, since, result)
            measures = measures_for(site, scanner, columns)
            comparer = Comparer(
                source, state, feed, measures, staging,
                since=since, is_whole=result.is_complete, likeness=scanner.likeness,
                siblings=[name for name in _sharing(site, feed) if name != feed.name],
            )  # fmt: skip
            result.comparison = await comparer.run()
        if result.is_complete:
            await _ask_more(site, scanner, staging, state, result)
    return result


async def _scan(site: Site, scanner: Scannable, columns: Sequence[str], staging: Staging, result: FeedResult) -> None:
    site.meter.doing = "counts"
    before = await scanner.count()
    result.counts = (before, before)
    result.credits_planned = scanner.scan_credits(before, len(columns)) + 3  # and two counts, and the fields
    site.meter.doing = "scan"
    async for page in scanner.scan(columns, before):
        await staging.add(page)
        result.scanned = staging.rows
    site.meter.doing = "counts"
    result.counts = (before, await scanner.count())
    result.is_complete = True


@asynccontextmanager
async def _snapshots(
    site: Site, state: AsyncConnection[Any], result: FeedResult, barrier_seconds: float
) -> AsyncIterator[AsyncConnection[Any]]:
    """Give a source that shows one snapshot, with capture past it and then a snapshot of the state."""
    async with site.connections.source.connection() as source, source.transaction():
        await source.execute("set transaction isolation level repeatable read, read only")
        await source.execute("set local idle_in_transaction_session_timeout = 0")
        result.barrier = await read_barrier(source, state)
        result.is_caught_up = await wait_until_captured(site.connections, site.slot, result.barrier, barrier_seconds)
        async with state.transaction():
            await state.execute("set transaction isolation level repeatable read")
            await state.execute("set local idle_in_transaction_session_timeout = 0")
            yield source


def _sharing(site: Site, feed: Feed) -> list[str]:
    """Name the feeds whose records lie in the same module, this one among them."""
    return [name for name, other in site.profile.feeds.items() if other.sink == feed.sink]


async def _check_counts(
    site: Site, state: AsyncConnection[Any], feed: Feed, since: datetime, result: FeedResult
) -> None:
    """Take a scan for partial that read more or less than the counts say, but for what we made or withdrew then."""
    if not result.is_complete or result.counts is None:
        return
    cursor = await state.execute(
        "select count(*) from cdc.zoho_sync_log where sync_type = any(%s) and status = 'success'"
        " and action in ('create', 'withdraw') and coalesce(synced_at, created_at) >= %s",
        [_sharing(site, feed), since],
    )
    row = await cursor.fetchone()
    own = 0 if row is None else int(row[0])
    low, high = min(result.counts) - own, max(result.counts) + own
    if not low <= result.scanned <= high:
        result.is_complete = False
        result.note = (
            f"the CRM counted {result.counts[0]:,} records before and {result.counts[1]:,} after the scan, which read "
            f"{result.scanned:,}"
        )


async def _ask_more(
    site: Site, scanner: Scannable, staging: Staging, state: AsyncConnection[Any], result: FeedResult
) -> None:
    """Ask the CRM about what is missing, and about duplicates. A failure leaves them as they are, with a note."""
    comparison = result.comparison
    if comparison is None:
        return
    try:
        site.meter.doing = "bin"
        await _look_into_bin(scanner, state, comparison)
        site.meter.doing = "duplicates"
        result.merges = await _plan_merges(scanner, staging, state, comparison)
    except SinkError as error:
        result.note = f"the CRM failed when asked about what differs: {error.reason.name} {error.detail}".strip()
        result.is_complete = False


async def _look_into_bin(scanner: Scannable, state: AsyncConnection[Any], comparison: Comparison) -> None:
    missing = {one.record_id: n for n, one in enumerate(comparison.kept) if one.kind is Kind.MISSING and one.forced}
    if not missing:
        return
    cursor = await state.execute(
        "select crm_id, record_id from cdc.ledger where feed = %s and record_id = any(%s) and crm_id is not null",
        [comparison.feed, list(missing)],
    )
    known: dict[str, str] = dict(await cursor.fetchall())
    for crm_id in await scanner.binned(known.keys()):
        place = missing[known[crm_id]]
        found = comparison.kept[place]
        comparison.change(
            place,
            Difference(feed=found.feed, kind=Kind.RECYCLED, record_id=found.record_id, key=found.key, crm_ids=[crm_id]),
        )


async def _plan_merges(
    scanner: Scannable, staging: Staging, state: AsyncConnection[Any], comparison: Comparison
) -> list[MergePlan]:
    groups = [one for one in comparison.kept if one.kind is Kind.DUPLICATE][:_MERGES_SHOWN]
    crm_ids = sorted({crm_id for one in groups for crm_id in one.crm_ids})
    if not crm_ids:
        return []
    activities = await scanner.activities(crm_ids)
    fields, borne = await staging.fields_of(crm_ids), await staging.by_crm_id(crm_ids)
    cursor = await state.execute(
        "select crm_id from cdc.ledger where feed = %s and crm_id = any(%s)", [comparison.feed, crm_ids]
    )
    in_ledger = {row[0] for row in await cursor.fetchall()}
    plans = []
    for one in groups:
        group = [
            Candidate(
                crm_id=crm_id,
                in_ledger=crm_id in in_ledger,
                has_identity=borne.get(crm_id) is not None,
                activities=activities.get(crm_id, 0),
                fields=fields.get(crm_id, {}),
            )
            for crm_id in one.crm_ids
        ]
        is_suggestion = bool(one.why)
        plans.append(merge_plan(one.feed, one.record_id, group, at_once=scanner.merges, is_suggestion=is_suggestion))
    return plans
