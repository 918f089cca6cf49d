"""Puts records right: looks at each once more, marks it, waits for its delivery, and looks again.

Marking is all that is done here. What is sent is the truth at the moment when it is sent, by the workers, in the lane
`bulk`, judged by the breaker like everything else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from psycopg import AsyncConnection

from cdc.repair.reconcile.classify import Present, Sides, classify
from cdc.repair.reconcile.differences import Difference
from cdc.repair.reconcile.plan import Left, PlannedFix
from cdc.routing.feeds import Feed, Lane
from cdc.runtime.reconcile.scan import fit_feed, measures_for
from cdc.runtime.reconcile.site import Site
from cdc.runtime.replaying import is_anybody_delivering
from cdc.state import ledger, reconciles
from cdc.state.outbox import Mark, mark
from cdc.state.truth import Truth
from sinks.errors import SinkError
from sinks.scan import Scanned

CAUSE: Final = "reconcile"
DELIVERY_SECONDS: Final = 300.0
_BATCH: Final = 50
_LOOK_SECONDS: Final = 0.2


@dataclass(slots=True)
class Fixed:
    """What came of putting records right.

    Attributes:
        marked: records that were marked.
        left: records that were left alone, and why.
        remaining: marked records that differ still, or whose delivery hasn't ended well.
        agreed: of those that were left alone, how many don't differ any longer.
    """

    marked: list[PlannedFix] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    remaining: list[Left] = field(default_factory=list)
    agreed: int = 0


async def put_right(site: Site, fixes: Sequence[PlannedFix], *, delivery_seconds: float = DELIVERY_SECONDS) -> Fixed:
    """Put records right.

    Args:
        site: see there.
        fixes: what a comparison or a plan says.
        delivery_seconds: how long delivery is waited for.

    Raises:
        ProfileError: if a view can't be read.
    """
    done = Fixed()
    try:
        for feed, some in _batches(site, fixes):
            await _look_and_mark(site, feed, some, done)
    except SinkError as error:
        settled = {*done.marked, *(left.fix for left in done.left)}
        why = f"the CRM couldn't be asked: {error.reason.name}"
        done.left += [Left(fix, why) for fix in fixes if fix not in settled]
    await _wait_for_delivery(site, done.marked, delivery_seconds)
    for feed, some in _batches(site, done.marked):
        try:
            looked = await look_again(site, feed, some)
        except SinkError as error:
            done.remaining += [Left(fix, f"the CRM couldn't be asked: {error.reason.name}") for fix in some]
        else:
            done.remaining += [Left(fix, look.words) for fix, look in looked if look.words]
    return done


def _batches(site: Site, fixes: Sequence[PlannedFix]) -> Iterator[tuple[Feed, Sequence[PlannedFix]]]:
    """Give fixes in batches of one feed; feeds that others need come first."""
    for feed in sorted(site.profile.feeds.values(), key=lambda feed: (feed.needs is not None, feed.name)):
        of_feed = [fix for fix in fixes if fix.feed == feed.name] if feed.name in site.scanners else []
        for start in range(0, len(of_feed), _BATCH):
            yield feed, of_feed[start : start + _BATCH]


@dataclass(frozen=True, slots=True)
class Look:
    """What a second look at one record says.

    Attributes:
        difference: None if it doesn't differ.
        standing: `waiting`, the reason it is parked for, or nothing.
    """

    difference: Difference | None
    standing: str = ""

    @property
    def words(self) -> str:
        """What is still to be said of it; nothing if all is well."""
        if self.standing:
            return self.standing
        return "" if self.difference is None else self.difference.kind.value


async def _look_and_mark(site: Site, feed: Feed, fixes: Sequence[PlannedFix], done: Fixed) -> None:
    marked = []
    for fix, look in await look_again(site, feed, fixes):
        found = look.difference
        if found is None:
            done.left.append(Left(fix, "it doesn't differ any longer"))
            done.agreed += 1
        elif look.standing:
            done.left.append(Left(fix, look.standing))
        elif not found.is_fixable:
            done.left.append(Left(fix, found.why or f"it is {found.kind.value} now"))
        else:
            marked.append((fix, found))
    if not marked:
        return
    now = datetime.now(UTC)
    marks = [
        Mark(
            feed=feed.name,
            key=key,
            lane=Lane.BULK,
            dirty_at=now,
            forced=any(d.forced for f, d in marked if f.key == key),
        )
        for key in dict.fromkeys(fix.key for fix, _ in marked)
    ]
    async with site.connections.state.connection() as state, state.transaction():
        await reconciles.note_fixes(state, [(fix.feed, fix.record_id) for fix, _ in marked])
        await mark(state, marks, cause=CAUSE)
    done.marked += [fix for fix, _ in marked]


async def look_again(site: Site, feed: Feed, fixes: Sequence[PlannedFix]) -> list[tuple[PlannedFix, Look]]:
    """Look at some records once more: the CRM, then the view, then ledger and outbox."""
    scanner = site.scanners[feed.name]
    columns = await fit_feed(site, feed, scanner)
    measures = measures_for(site, scanner, columns)
    async with site.connections.state.connection() as state:
        since = await _clock(state)
    site.meter.doing = "check"
    ids = [fix.record_id for fix in fixes]
    held: dict[str, list[Scanned]] = {}
    for one in await scanner.find(ids, columns):
        held.setdefault(one.record_id or "", []).append(one)
    async with site.connections.state.connection() as state, site.connections.source.connection() as source:
        present = await _present(source, feed, [fix.key for fix in fixes], site.connections.hash_key)
        entries = await ledger.read_records(state, feed.name, ids)
        standing = await _standing(state, feed, fixes, since)
    looked = []
    for fix in fixes:
        sides = Sides(
            fix.record_id, present.get(fix.record_id), entries.get(fix.record_id), held.get(fix.record_id, ())
        )
        looked.append((fix, Look(classify(feed, sides, measures), standing.get(fix.key, ""))))
    return looked


async def _clock(state: AsyncConnection[Any]) -> datetime:
    row = await (await state.execute("select clock_timestamp()")).fetchone()
    return row[0]  # type: ignore[index, no-any-return]  # a select without FROM gives a row


async def _present(
    source: AsyncConnection[Any], feed: Feed, keys: Sequence[str], hash_key: bytes
) -> dict[str, Present]:
    truth = await Truth.open(source, feed)
    rows = await truth.read(source, list(dict.fromkeys(keys)), hash_key)
    found = {}
    for of_key in rows.values():
        for row in of_key:
            record_id = row.key if feed.once is None else row.event_id
            if record_id is not None:
                found[record_id] = Present(record_id, row.key, row.parent_id, row.fields)
    return found


async def _standing(
    state: AsyncConnection[Any], feed: Feed, fixes: Sequence[PlannedFix], since: datetime
) -> dict[str, str]:
    """Tell by key what is on its way, or parked."""
    keys = [fix.key for fix in fixes]
    cursor = await state.execute(
        """
        select key, case
            when parked_at is null then 'it is waiting for delivery' else 'parked: ' || coalesce(reason, '') end
        from cdc.outbox where feed = %(feed)s and key = any(%(keys)s)
        union
        select key, 'it is being delivered' from cdc.ledger
        where feed = %(feed)s and key = any(%(keys)s) and delivered_at >= %(since)s
          and not exists (select from cdc.outbox o where o.feed = ledger.feed and o.key = ledger.key)
        """,
        {"feed": feed.name, "keys": keys, "since": since},
    )
    return dict(await cursor.fetchall())


async def _wait_for_delivery(site: Site, marked: Sequence[PlannedFix], seconds: float) -> None:
    """Wait until nothing of it waits any longer, for as long as somebody delivers."""
    if not site.settings.zoho_sync_enabled:
        return
    deadline = time.monotonic() + seconds
    params = [[fix.feed for fix in marked], [fix.key for fix in marked]]
    while marked and time.monotonic() < deadline:
        async with site.connections.state.connection() as state:
            cursor = await state.execute(
                "select exists (select from cdc.outbox o join unnest(%s::text[], %s::text[]) as f (feed, key)"
                " using (feed, key) where o.parked_at is null)",
                params,
            )
            row = await cursor.fetchone()
            if row is None or not row[0] or not await is_anybody_delivering(state):
                return
        await asyncio.sleep(_LOOK_SECONDS)


async def without_flapping(site: Site, fixes: Sequence[Difference]) -> list[Difference]:
    """Say of records that were put right night after night that they are left alone, and go on counting them."""
    records = [(one.feed, one.record_id) for one in fixes if one.record_id is not None]
    async with site.connections.state.connection() as state:
        nights = await reconciles.nights(state, records)
        flapping = [record for record in records if nights.is_flapping(*record)]
        if flapping:
            await reconciles.note_fixes(state, flapping, flapping=True)
    why = f"flapping: put right {reconciles.FLAPPING_NIGHTS} nights running; somebody or a workflow changes it back"
    return [replace(one, why=why) if nights.is_flapping(one.feed, one.record_id) else one for one in fixes]
