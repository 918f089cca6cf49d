"""Compares what a view says with what the ledger says, and plans what a sink is asked to do. Pure.

The rules, for one record (`-` means any):

| view row | ledger | parent | plan |
| --- | --- | --- | --- |
| there | none, withdrawn | there or not needed | create, all fields |
| there | sending | there or not needed | create, all fields, uncertain |
| there | sent, a field differs | there or not needed | update: what differs and the mandatory fields |
| there | sent, only slow fields differ | there or not needed | defer, or update when their time has come |
| there | sent, equal, or an event | there or not needed | nothing |
| there | none, withdrawn, sending | on its way | wait |
| gone | sent, sending | - | withdraw if the feed says `gone = "delete"`, else nothing |
| gone | none, withdrawn | - | nothing |
| - | orphaned | - | withdraw, then look again |

A field "differs" as well when the ledger doesn't know what the sink holds, since an answer was lost.

An entry is orphaned when its parent was withdrawn: the ledger then no longer names a parent, although the feed needs
one. A fact of the entry and not of the parent, since the parent may be back, as another CRM record, before we look.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from cdc.routing.feeds import Feed, Lane
from cdc.state.records import LedgerEntry, Standing, ViewRow
from sinks.base import Action, FieldValue, Operation, Refused
from sinks.reasons import Reason

_HASH_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """An operation, and what the ledger will hold once it is delivered.

    Attributes:
        field_hashes: of all fields that the sink will then hold; empty for a withdrawal.
        row_hash: of the view row; None for a withdrawal.
        changed: of an update, the fields that differ from what the sink holds as far as the ledger knows; none if it
            is sent by force.
    """

    operation: Operation
    key: str
    parent_id: str | None
    field_hashes: Mapping[str, str] = field(default_factory=dict)
    row_hash: bytes | None = None
    changed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refresh:
    """A record whose row changed in nothing that is delivered: only the ledger's row hash follows."""

    record_id: str
    row_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done about one key.

    Attributes:
        planned: operations to deliver, at most one for each record.
        refused: records that can't be sent as the view gives them.
        missing: record ids of needed parents that aren't with the sink.
        defer_to: the lane to wait in, when only fields differ that may wait longer than the key has; else None.
        again: there is more to do once these operations are delivered.
        refresh: ledger entries to touch up.
    """

    key: str
    planned: tuple[Planned, ...] = ()
    refused: tuple[Refused, ...] = ()
    missing: frozenset[str] = frozenset()
    defer_to: Lane | None = None
    again: bool = False
    refresh: tuple[Refresh, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What planning one key needs to know.

    Attributes:
        rows: view rows of the key: at most one for a feed of records, one for each event otherwise.
        entries: ledger entries of the key.
        parents: ledger entries of the parents that the rows name, by record id.
        lane: in which the key came due.
        slow_due: fields that may wait are to go now.
        forced: send even what the ledger calls equal; events are still sent once.
    """

    key: str
    rows: Sequence[ViewRow]
    entries: Sequence[LedgerEntry]
    parents: Mapping[str, LedgerEntry] = field(default_factory=dict)
    lane: Lane = Lane.LIVE
    slow_due: bool = False
    forced: bool = False


def field_hash(hash_key: bytes, name: str, value: FieldValue) -> str:
    """Give the keyed hash of one value as 24 hex digits.

    Keyed, so that the ledger can't be searched for a person by hashing guesses. The name goes in, so that equal values
    of two fields don't show as equal.
    """
    canonical = json.dumps([name, value], ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return blake2b(canonical.encode("ascii"), key=hash_key, digest_size=_HASH_BYTES).hexdigest()


def plan_key(feed: Feed, known: Known, hash_key: bytes) -> Plan:
    """Plan one key.

    Args:
        feed: the key's feed.
        known: rows, ledger entries and parents, read before.
        hash_key: 16 to 64 secret bytes, the same for ever; with another one every record counts as changed.
    """
    entries = {e.record_id: e for e in known.entries}
    plan = _Draft()
    rows = dict(_identified(feed, known, plan))
    for record_id, row in rows.items():
        _plan_present(feed, known, hash_key, row, entries.get(record_id), record_id, plan)
    for record_id, entry in entries.items():
        if record_id not in rows and not plan.refuses(record_id):
            _plan_gone(feed, entry, plan)
    return Plan(
        key=known.key,
        planned=tuple(plan.planned),
        refused=tuple(plan.refused),
        missing=frozenset(plan.missing),
        defer_to=plan.defer_to,
        again=plan.again,
        refresh=tuple(plan.refresh),
    )


@dataclass(slots=True)
class _Draft:
    planned: list[Planned] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    defer_to: Lane | None = None
    again: bool = False
    refresh: list[Refresh] = field(default_factory=list)

    def refuse(self, record_id: str, reason: Reason, *, name: str | None = None, detail: str = "") -> None:
        self.refused.append(Refused(record_id=record_id, reason=reason, field=name, detail=detail))

    def refuses(self, record_id: str) -> bool:
        return any(r.record_id == record_id for r in self.refused)


def _identified(feed: Feed, known: Known, plan: _Draft) -> Iterator[tuple[str, ViewRow]]:
    """Give each row its record id; a view that gives an id twice, or none, is the view's fault."""
    ids = [row.key if feed.once is None else row.event_id for row in known.rows]
    times = Counter(ids)
    for record_id, row in zip(ids, known.rows, strict=True):
        if record_id is None:
            plan.refuse(
                known.key, Reason.INVALID_VALUE, name=feed.once, detail="the view gives an event without identity"
            )
        elif times[record_id] == 1:
            yield record_id, row
        elif not plan.refuses(record_id):
            plan.refuse(record_id, Reason.INVALID_VALUE, detail=f"the view gives {times[record_id]} rows for it")


def _plan_present(
    feed: Feed, known: Known, hash_key: bytes, row: ViewRow, entry: LedgerEntry | None, record_id: str, plan: _Draft
) -> None:
    unfit = next((name for name, value in row.fields.items() if not _is_scalar(value)), None)
    if unfit is not None:
        plan.refuse(record_id, Reason.WRONG_TYPE, name=unfit, detail="neither text, number, boolean nor null")
        return
    if entry is not None and _is_orphaned(feed, entry):
        plan.planned.append(_withdraw(entry))
        plan.again = True
        return
    if feed.needs is not None:
        if row.parent_id is None:
            return
        parent = known.parents.get(row.parent_id)
        if parent is None or parent.standing is not Standing.SENT:
            plan.missing.add(row.parent_id)
            return
    hashes = {name: field_hash(hash_key, name, value) for name, value in row.fields.items()}
    if entry is None or entry.standing is not Standing.SENT:
        uncertain = entry is not None and entry.standing is Standing.SENDING
        plan.planned.append(_send(known, row, record_id, Action.CREATE, row.fields, hashes, entry, uncertain=uncertain))
    elif feed.once is None:
        _plan_update(feed, known, row, entry, hashes, plan)


def _plan_update(
    feed: Feed, known: Known, row: ViewRow, entry: LedgerEntry, hashes: Mapping[str, str], plan: _Draft
) -> None:
    differing = frozenset(name for name, digest in hashes.items() if entry.field_hashes.get(name) != digest)
    whole = known.forced or (feed.needs is not None and row.parent_id != entry.parent_id)
    changed = frozenset(hashes) if whole else differing
    if not changed:
        if entry.row_hash != row.row_hash:
            plan.refresh.append(Refresh(entry.record_id, row.row_hash))
    elif not (known.slow_due or known.forced) and _waits(lane := feed.lane_of(changed), known.lane):
        plan.defer_to = lane
    else:
        fields = {n: v for n, v in row.fields.items() if n in changed or n in feed.mandatory}
        update = _send(known, row, entry.record_id, Action.UPDATE, fields, hashes, entry)
        plan.planned.append(replace(update, changed=differing))


def _waits(lane: Lane, came_due_in: Lane) -> bool:
    """Tell whether a change may wait longer than its key did. What a sweep finds has waited long enough."""
    return lane.patience > came_due_in.patience


def _plan_gone(feed: Feed, entry: LedgerEntry, plan: _Draft) -> None:
    if entry.standing is not Standing.WITHDRAWN and (feed.gone == "delete" or _is_orphaned(feed, entry)):
        plan.planned.append(_withdraw(entry))


def _is_orphaned(feed: Feed, entry: LedgerEntry) -> bool:
    return feed.needs is not None and entry.parent_id is None and entry.standing is not Standing.WITHDRAWN


def _send(
    known: Known,
    row: ViewRow,
    record_id: str,
    action: Action,
    fields: Mapping[str, FieldValue],
    hashes: Mapping[str, str],
    entry: LedgerEntry | None,
    *,
    uncertain: bool = False,
) -> Planned:
    parent = known.parents.get(row.parent_id) if row.parent_id is not None else None
    operation = Operation(
        record_id=record_id,
        action=action,
        fields=dict(fields),
        crm_id=entry.crm_id if entry is not None and entry.standing is Standing.SENT else None,
        parent_crm_id=parent.crm_id if parent is not None else None,
        uncertain=uncertain,
    )
    return Planned(
        operation=operation, key=row.key, parent_id=row.parent_id, field_hashes=hashes, row_hash=row.row_hash
    )


def _withdraw(entry: LedgerEntry) -> Planned:
    operation = Operation(
        record_id=entry.record_id,
        action=Action.WITHDRAW,
        crm_id=entry.crm_id,
        uncertain=entry.standing is Standing.SENDING,
    )
    return Planned(operation=operation, key=entry.key, parent_id=entry.parent_id)


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (str, bool, int))
