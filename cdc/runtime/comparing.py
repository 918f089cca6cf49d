"""What delivery would do about some keys now: the same reading and the same planning, and nothing sent or marked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from cdc.delivery.planner import Known, Plan, Planned, plan_key
from cdc.delivery.reading import read_truth
from cdc.errors import ProfileError
from cdc.routing.feeds import Feed, Lane
from cdc.state import ledger
from cdc.state.ledger import entry_from_json
from cdc.state.records import LedgerEntry, ViewRow
from cdc.state.truth import Truth
from sinks.base import Action
from sinks.errors import SinkError


@dataclass(frozen=True, slots=True)
class Case:
    """One key: what the view and the ledger say of it, and what follows."""

    rows: Sequence[ViewRow]
    entries: Sequence[LedgerEntry]
    plan: Plan


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key came due, as far as planning asks. What a replay marks comes due in the lane `bulk`."""

    lane: Lane = Lane.BULK
    slow_due: bool = False
    forced: bool = False


async def compare(
    source: AsyncConnection[Any],
    state: AsyncConnection[Any],
    truth: Truth,
    keys: Collection[str],
    hash_key: bytes,
    standing: Standing,
) -> dict[str, Case]:
    """Plan some keys of one feed.

    Args:
        source: a connection in UTC.
        state: to the ledger.
        truth: the feed's view.
        keys: as text.
        hash_key: keys the ledger's hashes.
        standing: of all these keys.

    Raises:
        ProfileError: if the view can't be read at all.
    """
    feed = truth.feed
    try:
        reading = await read_truth(source, truth, keys, hash_key)
    except SinkError as error:
        raise ProfileError(f"feed {feed.name}: view {feed.view}: {error.detail}", fix=error.reason.hint) from None
    entries = await _entries(state, feed, keys)
    parents = await _parents(state, feed, reading.rows)
    cases = {}
    for key in keys:
        rows = reading.rows.get(key, ())
        known = Known(
            key=key,
            rows=rows,
            entries=entries.get(key, ()),
            parents=parents,
            lane=standing.lane,
            slow_due=standing.slow_due,
            forced=standing.forced,
        )
        refused = reading.refused.get(key)
        plan = plan_key(feed, known, hash_key) if refused is None else Plan(key=key, refused=(refused,))
        cases[key] = Case(rows, entries.get(key, ()), plan)
    return cases


async def _entries(conn: AsyncConnection[Any], feed: Feed, keys: Collection[str]) -> dict[str, list[LedgerEntry]]:
    cursor = await conn.execute(
        "select to_jsonb(g) from cdc.ledger g where feed = %s and key = any(%s) order by record_id",
        [feed.name, list(keys)],
    )
    found: dict[str, list[LedgerEntry]] = {}
    for (row,) in await cursor.fetchall():
        entry = entry_from_json(row)
        found.setdefault(entry.key, []).append(entry)
    return found


async def _parents(
    conn: AsyncConnection[Any], feed: Feed, rows: Mapping[str, Sequence[ViewRow]]
) -> dict[str, LedgerEntry]:
    ids = {row.parent_id for of_key in rows.values() for row in of_key if row.parent_id is not None}
    return await ledger.read_records(conn, feed.needs, ids) if feed.needs is not None and ids else {}


def differing(planned: Planned, entries: Sequence[LedgerEntry]) -> list[str]:
    """Name the fields of an operation that the ledger doesn't call equal; all of a create's, none of a withdrawal's."""
    if planned.operation.action is Action.WITHDRAW:
        return []
    held: Mapping[str, str] = {}
    if planned.operation.action is Action.UPDATE:
        held = next((e.field_hashes for e in entries if e.record_id == planned.operation.record_id), {})
    return sorted(name for name, digest in planned.field_hashes.items() if held.get(name) != digest)
