"""Comparisons of source, ledger and CRM on record.

Also what stands in the way of putting things right, and which records are put right night after night.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

from cdc.errors import StateError
from cdc.state.control import BULK_SCOPE, EVERYTHING

FLAPPING_NIGHTS: Final = 3
"""A record that was put right so many nights running is left alone."""

_COLUMNS: LiteralString = (
    "slot, kind, requested_by, started_at, verdict, complete, barrier_lsn::text, compared, differing, fixed, remaining,"
    " counts, crm_counts, credits_before, credits_planned, credits_used, mapping, held_back, id, ended_at"
)


@dataclass(frozen=True, slots=True)
class ReconcileRun:
    """A row of cdc.reconcile_run; see there. `id` and `ended_at` are None before it is written."""

    slot: str
    kind: str
    requested_by: str
    started_at: datetime
    verdict: str
    complete: bool
    barrier_lsn: str | None
    compared: int
    differing: int
    fixed: int
    remaining: int
    counts: Mapping[str, Mapping[str, int]]
    crm_counts: Mapping[str, int]
    credits_before: int
    credits_planned: int
    credits_used: int
    mapping: str
    held_back: Sequence[str] = ()
    id: int | None = None
    ended_at: datetime | None = None

    def total(self, kind: str) -> int:
        """How many records of a kind, of all feeds."""
        return sum(of_feed.get(kind, 0) for of_feed in self.counts.values())


@dataclass(frozen=True, slots=True)
class Obstacles:
    """What stands in the way of putting things right.

    Attributes:
        paused: control scopes that stop one of the feeds.
        jobs: bulk jobs under way.
        backlog: keys in the lane `bulk` that wait for delivery.
        gaps: stretches that were never read, found since the last run or not compared yet.
    """

    paused: Sequence[str] = ()
    jobs: int = 0
    backlog: int = 0
    gaps: int = 0


async def last_run(conn: AsyncConnection[Any], slot: str | None = None) -> ReconcileRun | None:
    """Give the newest comparison; what only carried a plan out isn't one."""
    found = await runs(conn, 1, slot=slot)
    return found[0] if found else None


async def runs(conn: AsyncConnection[Any], limit: int, *, slot: str | None = None) -> list[ReconcileRun]:
    """Give comparisons, newest first, of one pipeline or of all."""
    cursor = conn.cursor(row_factory=class_row(ReconcileRun))
    await cursor.execute(
        f"select {_COLUMNS} from cdc.reconcile_run"
        " where kind <> 'apply' and slot = coalesce(%s, slot) order by id desc limit %s",
        [slot, limit],
    )
    return await cursor.fetchall()


async def last_complete(conn: AsyncConnection[Any], slot: str, feeds: Collection[str]) -> ReconcileRun | None:
    """Give the newest comparison that read everything of these feeds."""
    cursor = conn.cursor(row_factory=class_row(ReconcileRun))
    await cursor.execute(
        f"select {_COLUMNS} from cdc.reconcile_run where kind <> 'apply' and slot = %s and complete"
        " and crm_counts ?& %s order by id desc limit 1",
        [slot, list(feeds)],
    )
    return await cursor.fetchone()


async def record_run(conn: AsyncConnection[Any], run: ReconcileRun) -> int:
    """Put a run on record; gives its id."""
    values = asdict(run)
    for name in ("counts", "crm_counts"):
        values[name] = json.dumps(values[name])
    values["held_back"] = list(run.held_back)
    cursor = await conn.execute(
        """
        insert into cdc.reconcile_run (slot, kind, requested_by, started_at, verdict, complete, barrier_lsn, compared,
            differing, fixed, remaining, counts, crm_counts, credits_before, credits_planned, credits_used, mapping,
            held_back)
        values (%(slot)s, %(kind)s, %(requested_by)s, %(started_at)s, %(verdict)s, %(complete)s, %(barrier_lsn)s,
            %(compared)s, %(differing)s, %(fixed)s, %(remaining)s, %(counts)s::jsonb, %(crm_counts)s::jsonb,
            %(credits_before)s, %(credits_planned)s, %(credits_used)s, %(mapping)s, %(held_back)s)
        returning id
        """,
        values,
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


@asynccontextmanager
async def alone(conn: AsyncConnection[Any], slot: str) -> AsyncIterator[None]:
    """Be the only one who reconciles a pipeline, for the length of the block.

    Raises:
        StateError: if somebody else does.
    """
    lock: LiteralString = "hashtextextended('cdc.reconcile ' || %s, 0)"
    row = await (await conn.execute(f"select pg_try_advisory_lock({lock})", [slot])).fetchone()
    if row is None or not row[0]:
        raise StateError("another process is reconciling", fix="wait for it")
    try:
        yield
    finally:
        if not conn.broken:
            await conn.execute(f"select pg_advisory_unlock({lock})", [slot])


async def obstacles(
    conn: AsyncConnection[Any], slot: str, feeds: Mapping[str, str], since: datetime | None
) -> Obstacles:
    """Find what stands in the way.

    Args:
        conn: to the state.
        slot: the pipeline.
        feeds: from feed to sink family.
        since: when the last run began; None to count every gap.
    """
    scopes = [*feeds, *set(feeds.values()), BULK_SCOPE, EVERYTHING]
    cursor = await conn.execute(
        """
        select array(select scope from cdc.control where scope = any(%(scopes)s)
                     union select scope from cdc.pause where scope = any(%(scopes)s) and paused_until > now()
                     order by scope),
               (select count(*) from cdc.bulk_job where feed = any(%(feeds)s) and ended_at is null),
               (select count(*) from cdc.outbox
                where feed = any(%(feeds)s) and lane = 'bulk' and parked_at is null),
               (select count(*) from cdc.gap
                where slot = %(slot)s and (repaired_at is null or detected_at >= coalesce(%(since)s, detected_at)))
        """,
        {"scopes": scopes, "feeds": list(feeds), "slot": slot, "since": since},
    )
    row = await cursor.fetchone()
    return Obstacles() if row is None else Obstacles(*row)


@dataclass(frozen=True, slots=True)
class Nights:
    """Records that were put right before, by (feed, record id), and how many nights running."""

    counted: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def is_flapping(self, feed: str, record_id: str | None) -> bool:
        """Tell whether a record was put right so often that somebody must be fighting us."""
        return record_id is not None and self.counted.get((feed, record_id), 0) >= FLAPPING_NIGHTS


async def nights(conn: AsyncConnection[Any], records: Collection[tuple[str, str]]) -> Nights:
    """Say of some records how many nights running they were put right, up to last night or tonight."""
    cursor = await conn.execute(
        "select f.feed, f.record_id, f.nights from cdc.reconcile_fix f"
        " join unnest(%s::text[], %s::text[]) as r (feed, record_id) using (feed, record_id)"
        " where f.last_night >= (now() at time zone 'UTC')::date - 1",
        [[feed for feed, _ in records], [record for _, record in records]],
    )
    return Nights({(feed, record_id): count for feed, record_id, count in await cursor.fetchall()})


async def note_fixes(
    conn: AsyncConnection[Any], records: Collection[tuple[str, str]], *, flapping: bool = False
) -> None:
    """Count tonight for some records; twice in a night is once.

    Args:
        conn: in the transaction that marks them.
        records: by feed and record id.
        flapping: they were left alone, and differ still: what is counted stays, and isn't forgotten.
    """
    await conn.execute(
        """
        insert into cdc.reconcile_fix as f (feed, record_id, nights, last_night)
        select r.feed, r.record_id, 1, (now() at time zone 'UTC')::date
        from unnest(%(feeds)s::text[], %(ids)s::text[]) as r (feed, record_id)
        order by r.feed, r.record_id
        on conflict (feed, record_id) do update set
            nights = case
                when %(flapping)s or f.last_night = excluded.last_night then f.nights
                when f.last_night = excluded.last_night - 1 then f.nights + 1
                else 1 end,
            last_night = excluded.last_night
        """,
        {
            "feeds": [feed for feed, _ in records],
            "ids": [record for _, record in records],
            "flapping": flapping,
        },
    )
