"""What can differ, as a closed list: what it means, whether it may be put right, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from sinks.base import FieldValue


class Kind(StrEnum):
    """How one record differs."""

    MISSING = "missing"
    STALE = "stale"
    EDITED = "edited_in_crm"
    CONFLICT = "conflict"
    ORPHAN = "orphan"
    DELETED_SOURCE = "deleted_source"
    RECYCLED = "recycled"
    UNLINKED = "unlinked"
    DUPLICATE = "duplicate"
    EXCLUDED = "excluded"
    UNKNOWN = "unknown"
    SETTLING = "settling"


FIXABLE = frozenset({Kind.MISSING, Kind.STALE, Kind.EDITED, Kind.CONFLICT})
"""What sending the record anew puts right. Nothing else is ever done by itself."""

MEANINGS = MappingProxyType(
    {
        Kind.MISSING: "in the view, and not in the CRM",
        Kind.STALE: "the CRM holds what was last sent, and the database has changed since",
        Kind.EDITED: "somebody changed it in the CRM",
        Kind.CONFLICT: "changed in the CRM and in the database",
        Kind.ORPHAN: "bears an id of ours that nothing here knows",
        Kind.DELETED_SOURCE: "no longer in the database, and still in the CRM",
        Kind.RECYCLED: "somebody put it into the CRM's bin",
        Kind.UNLINKED: "in the CRM without our id",
        Kind.DUPLICATE: "several records in the CRM for one of ours",
        Kind.EXCLUDED: "in the database, not allowed to leave it, and in the CRM all the same",
        Kind.UNKNOWN: "differs, and the ledger doesn't know what was last sent",
        Kind.SETTLING: "on its way right now; no difference",
    }
)
"""What a kind says, for reports."""

NEXT = MappingProxyType(
    {
        Kind.ORPHAN: "look at it in the CRM; delete it there if nobody needs it",
        Kind.DELETED_SOURCE: "`cdc sweep` marks what is to be withdrawn; what stays after it was restored in the CRM",
        Kind.RECYCLED: "restore it from the CRM's bin; gone from there it counts as missing, and `cdc reconcile --fix` "
        "makes it anew",
        Kind.UNLINKED: "write our id into its external id field, or delete it, in the CRM",
        Kind.DUPLICATE: "merge them in the CRM; the plan in the report says which stays",
        Kind.EXCLUDED: "`cdc sweep` marks what is to be withdrawn; what stays after it is to be deleted in the CRM",
        Kind.UNKNOWN: "`cdc sweep`; it compares with the ledger and sends what is in doubt",
    }
)
"""What a person does about a kind that isn't put right by itself."""

SAID_BY_LEDGER = ("equal to source", "equal to CRM", "neither", "not known")


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field of a record.

    Attributes:
        ledger: what the ledger's hash says of what was last sent: one of `SAID_BY_LEDGER`.
    """

    name: str
    kind: Kind
    source: FieldValue = field(repr=False)
    crm: object = field(repr=False)
    ledger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One record that differs.

    Attributes:
        record_id: our identity; None for a record of the CRM that bears none.
        key: what is marked to send it anew.
        crm_ids: the CRM's ids; several for duplicates.
        fields: those that differ.
        forced: sending takes force, since the ledger calls it equal.
        why: why it is left alone although its kind may be put right; empty if it isn't.
    """

    feed: str
    kind: Kind
    record_id: str | None
    key: str | None = None
    crm_ids: Sequence[str] = ()
    fields: Sequence[FieldDifference] = ()
    forced: bool = False
    why: str = ""

    @property
    def is_fixable(self) -> bool:
        """True if sending it anew may put it right."""
        return self.kind in FIXABLE and self.key is not None and not self.why
