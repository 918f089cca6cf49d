"""Tells how one record differs, from its three sides. Pure.

For a field that is ours (`=` equal to the source's value, `≠` not):

| CRM | ledger | so |
| --- | --- | --- |
| = | any | nothing: what ought to be there is there |
| ≠ | equal to source | edited in the CRM |
| ≠ | equal to CRM | stale |
| ≠ | neither | conflict |
| ≠ | not known | unknown |

A record is what the gravest of its fields is; stale here and edited there is a conflict. Of an event only its presence
counts: it is sent once, and what people make of it afterwards is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cdc.repair.reconcile.differences import Difference, FieldDifference, Kind
from cdc.routing.feeds import Feed
from cdc.state.records import LedgerEntry, Standing
from sinks.base import FieldValue
from sinks.scan import Scanned

THE_RECORD = "(record)"
"""Stands for the record itself in a list of fields: the CRM has another one than the ledger knows."""


@dataclass(frozen=True, slots=True)
class Present:
    """A row of the view."""

    record_id: str
    key: str
    parent_id: str | None
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sides:
    """One record: what the view, the ledger and the CRM have of it.

    Attributes:
        was_just_delivered: the ledger's entry is younger than the scan.
    """

    record_id: str
    row: Present | None
    entry: LedgerEntry | None
    found: Sequence[Scanned]
    was_just_delivered: bool = False

    @property
    def key(self) -> str | None:
        """What is marked to send it anew."""
        return self.row.key if self.row is not None else self.entry.key if self.entry is not None else None


@dataclass(frozen=True, slots=True)
class Measures:
    """How values of a feed are compared.

    Attributes:
        same: tells whether the CRM's value is ours.
        forms: gives values of ours that would look like the CRM's.
        digest: makes the ledger's hash of a field.
        columns: that are compared at all; those that the sink knows.
    """

    same: Callable[[str, FieldValue, object], bool]
    forms: Callable[[object], Sequence[FieldValue]]
    digest: Callable[[str, FieldValue], str]
    columns: frozenset[str]


def classify(feed: Feed, sides: Sides, measures: Measures) -> Difference | None:
    """Tell how a record differs; None if it doesn't. What is on its way isn't known here.

    Without a row in the view it is called an orphan; whether the source knows it after all is for the caller to ask.
    """
    row, entry, found = sides.row, sides.entry, sides.found
    is_sent = entry is not None and entry.standing is Standing.SENT
    difference = Difference(
        feed=feed.name,
        kind=Kind.ORPHAN,
        record_id=sides.record_id,
        key=sides.key,
        crm_ids=[one.crm_id for one in found],
        forced=is_sent,
    )
    if row is None:
        kept = entry is not None and feed.gone == "keep"
        return None if not found or kept else difference
    if len(found) > 1:
        return replace(difference, kind=Kind.DUPLICATE)
    if not found:
        why = "an event is sent once; somebody deleted it" if is_sent and feed.once is not None else ""
        return replace(difference, kind=Kind.MISSING, why=why)
    if feed.once is not None:
        return None
    fields = field_differences(feed, row, entry if is_sent else None, found[0], measures)
    if is_sent and entry is not None and entry.crm_id not in (None, found[0].crm_id):
        fields.append(FieldDifference(THE_RECORD, Kind.EDITED, None, None, SAYS[Kind.EDITED]))
    if not fields:
        return None
    return replace(difference, kind=gravest({one.kind for one in fields}), fields=fields)


def field_differences(
    feed: Feed, row: Present, entry: LedgerEntry | None, found: Scanned, measures: Measures
) -> list[FieldDifference]:
    """List the fields that are ours and of which the CRM doesn't hold the source's value."""
    differences = []
    compared = measures.columns - feed.theirs
    for name, ours in row.fields.items():
        if name not in compared:
            continue
        theirs = found.fields.get(name)
        if (type(ours) is type(theirs) and ours == theirs) or measures.same(name, ours, theirs):
            continue
        sent = None if entry is None else entry.field_hashes.get(name)
        kind = _field_kind(name, ours, theirs, sent, measures)
        differences.append(FieldDifference(name, kind, ours, theirs, SAYS[kind]))
    return differences


def _field_kind(name: str, ours: FieldValue, theirs: object, sent: str | None, measures: Measures) -> Kind:
    if sent is None:
        return Kind.UNKNOWN
    if measures.digest(name, ours) == sent:
        return Kind.EDITED
    if any(measures.digest(name, form) == sent for form in measures.forms(theirs)):
        return Kind.STALE
    return Kind.CONFLICT


SAYS: Mapping[Kind, str] = {
    Kind.EDITED: "equal to source",
    Kind.STALE: "equal to CRM",
    Kind.CONFLICT: "neither",
    Kind.UNKNOWN: "not known",
}
"""What the ledger says of a field of each kind."""


def gravest(kinds: set[Kind]) -> Kind:
    """Say what a record is whose fields are of these kinds."""
    certain = kinds - {Kind.UNKNOWN}
    if not certain:
        return Kind.UNKNOWN
    return next(iter(certain)) if len(certain) == 1 else Kind.CONFLICT


def theirs_differing(feed: Feed, row: Present, found: Scanned, measures: Measures) -> list[str]:
    """Name the fields that are theirs and hold another value than the view; that is no difference."""
    names = feed.theirs & measures.columns & row.fields.keys()
    return [name for name in names if not measures.same(name, row.fields[name], found.fields.get(name))]
