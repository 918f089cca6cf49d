"""What must be known of records that seem to differ before anything is said about them: a few questions for many.

Who waits in the outbox, or was delivered since the scan began, is on its way. Who is parked failed on the data that it
still has. An event whose parent isn't with the CRM doesn't belong there yet. A record that the source's tables know and
the view doesn't is one that may not leave.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from psycopg import AsyncConnection, sql

from cdc.repair.reconcile.classify import Sides
from cdc.repair.reconcile.differences import Difference, Kind
from cdc.routing.feeds import Feed, qualified
from cdc.state.records import Standing
from cdc.state.truth import possible_keys

_ID: Final = re.compile(r"[A-Za-z0-9:_-]{1,100}")

Suspect = tuple[Sides, Difference]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was asked about a batch of suspects.

    Attributes:
        waiting: keys on their way.
        parked: keys that are parked, and why.
        parents: record ids of parents that the CRM has.
        in_source: record ids that a watched table knows.
        others: of CRM ids that the ledger names, which record id the CRM has under them.
        siblings: record ids that belong to another feed of the same module.
    """

    waiting: frozenset[str]
    parked: Mapping[str, str]
    parents: frozenset[str]
    in_source: frozenset[str]
    others: Mapping[str, str | None]
    siblings: frozenset[str] = frozenset()


async def survey(
    source: AsyncConnection[Any],
    state: AsyncConnection[Any],
    feed: Feed,
    suspects: Sequence[Suspect],
    others: Mapping[str, str | None],
    siblings: Collection[str] = (),
) -> Surroundings:
    """Ask about some suspects.

    Args:
        source: the connection with the snapshot of the view.
        state: the one with the snapshot of outbox and ledger.
        feed: whose.
        suspects: records that seem to differ.
        others: see `Surroundings`.
        siblings: other feeds of the same module.
    """
    keys = {sides.key for sides, _ in suspects if sides.key is not None}
    cursor = await state.execute(
        "select key, parked_at is not null, coalesce(reason, '') from cdc.outbox where feed = %s and key = any(%s)",
        [feed.name, list(keys)],
    )
    rows = await cursor.fetchall()
    parents = {sides.row.parent_id for sides, _ in suspects if sides.row is not None and sides.row.parent_id}
    absent = [sides.record_id for sides, _ in suspects if sides.row is None]
    return Surroundings(
        waiting=frozenset(key for key, parked, _ in rows if not parked),
        parked={key: reason for key, parked, reason in rows if parked},
        parents=await _sent(state, [] if feed.needs is None else [feed.needs], parents),
        in_source=await _in_source(source, feed, absent) if feed.once is None else frozenset(),
        others=others,
        siblings=await _sent(state, siblings, absent),
    )


async def _sent(state: AsyncConnection[Any], feeds: Collection[str], record_ids: Collection[str]) -> frozenset[str]:
    """Tell which of some records the CRM has, as far as the ledger of these feeds knows."""
    if not feeds or not record_ids:
        return frozenset()
    cursor = await state.execute(
        "select record_id from cdc.ledger where feed = any(%s) and state = 'sent' and record_id = any(%s)",
        [list(feeds), list(record_ids)],
    )
    return frozenset(row[0] for row in await cursor.fetchall())


async def _in_source(source: AsyncConnection[Any], feed: Feed, record_ids: Sequence[str]) -> frozenset[str]:
    """Tell which keys a watched table has a row of, whatever the view says."""
    found: set[str] = set()
    for table, watch in feed.watch.items():
        left = [one for one in record_ids if one not in found]
        name = sql.Identifier(*qualified(table).split("."))
        for column in watch.keys if left else ():
            found |= await _rows_of(source, name, column, left)
    return frozenset(found)


async def _rows_of(
    source: AsyncConnection[Any], table: sql.Identifier, column: str, keys: Sequence[str]
) -> frozenset[str]:
    cursor = await source.execute(
        "select format_type(atttypid, null) from pg_attribute where attrelid = to_regclass(%s) and attname = %s",
        [table.as_string(None), column],
    )
    types = [row[0] for row in await cursor.fetchall()]
    possible = possible_keys(types[0], keys) if types else []
    if not possible:
        return frozenset()
    query = sql.SQL("select distinct t.{c}::text from {t} as t where t.{c} = any(%s::{type}[])").format(
        c=sql.Identifier(column), t=table, type=sql.SQL(types[0])
    )
    return frozenset(row[0] for row in await (await source.execute(query, [possible])).fetchall())


def settle(feed: Feed, suspect: Suspect, around: Surroundings) -> Difference | None:
    """Say of a suspect what it is, all things considered; None if it is as it ought to be."""
    sides, found = suspect
    if sides.was_just_delivered or found.key in around.waiting:
        return replace(found, kind=Kind.SETTLING, fields=())
    if found.kind is Kind.ORPHAN and sides.record_id in around.siblings:
        return None
    if found.kind is Kind.ORPHAN:
        kind = _of_absent(sides, around)
        return replace(found, kind=kind, record_id=_shown(sides.record_id) if kind is Kind.ORPHAN else sides.record_id)
    if found.kind is Kind.MISSING:
        return _of_missing(feed, sides, found, around)
    found = _with_other(sides, found, around)
    return replace(found, why=_parked(found, around))


def _of_absent(sides: Sides, around: Surroundings) -> Kind:
    if sides.record_id in around.in_source:
        return Kind.EXCLUDED
    return Kind.DELETED_SOURCE if sides.entry is not None else Kind.ORPHAN


def _of_missing(feed: Feed, sides: Sides, found: Difference, around: Surroundings) -> Difference | None:
    parent_id = None if sides.row is None else sides.row.parent_id
    if feed.needs is not None and parent_id not in around.parents:
        return None  # it doesn't belong there before its parent does
    crm_id = None if sides.entry is None else sides.entry.crm_id
    if crm_id is not None and crm_id in around.others:
        return replace(found, kind=Kind.UNLINKED, crm_ids=[crm_id])  # it lost the id that it bore
    return replace(found, why=found.why or _parked(found, around))


def _with_other(sides: Sides, found: Difference, around: Surroundings) -> Difference:
    """Call it a duplicate if the record that the ledger knows is there beside the one that bears our id."""
    entry = sides.entry
    if entry is None or entry.standing is not Standing.SENT or entry.crm_id is None:
        return found
    if entry.crm_id in found.crm_ids or entry.crm_id not in around.others:
        return found
    return replace(found, kind=Kind.DUPLICATE, fields=(), crm_ids=[entry.crm_id, *found.crm_ids])


def _parked(found: Difference, around: Surroundings) -> str:
    reason = around.parked.get(found.key or "")
    return "" if reason is None else f"parked: {reason or 'see cdc failures'}"


def _shown(record_id: str) -> str:
    """Show an id that isn't known here only if it looks like one: people type into that field too."""
    return record_id if _ID.fullmatch(record_id) else f"({len(record_id)} characters)"
