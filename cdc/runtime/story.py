"""One record's story as values, and what it comes to. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cdc.runtime.masking import mask
from sinks.base import FieldValue
from sinks.reasons import Reason

_KINDS = {"I": "inserted", "U": "updated", "O": "its key was changed away", "D": "deleted", "T": "table truncated"}


@dataclass(frozen=True, slots=True)
class Change:
    """One change in the journal."""

    lsn: str
    at: datetime
    table: str
    kind: str

    @property
    def words(self) -> str:
        """What happened to the row."""
        return _KINDS.get(self.kind, self.kind)


@dataclass(frozen=True, slots=True)
class Searched:
    """What the journal says.

    Attributes:
        changes: oldest first, the newest of them if there were very many.
        total: how many there were.
        since: from when on the journal is complete; None if nothing was ever captured.
    """

    changes: Sequence[Change]
    total: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Dirty:
    """The outbox row, as `cdc.outbox` has it."""

    lane: str
    due_at: datetime
    dirty_at: datetime
    first_lsn: str | None
    last_lsn: str | None
    forced: bool
    attempts: int
    deferred_until: datetime | None
    claimed_by: str | None
    parked_at: datetime | None
    reason: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that delivery would do now.

    Attributes:
        what: create, update, withdraw, refuse, wait, defer or nothing.
        fields: that differ, or are at fault.
        detail: why, in codes and ids.
    """

    what: str
    record_id: str
    fields: Sequence[str] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A ledger entry."""

    record_id: str
    state: str
    crm_id: str | None
    parent_id: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """A line of the sync log."""

    at: datetime
    action: str
    status: str
    record_id: str
    reason: str | None
    message: str | None
    attempts: int
    lsn: str | None
    latency_ms: int | None


@dataclass(frozen=True, slots=True)
class Pair:
    """A field's value in the view and in the CRM."""

    name: str
    ours: FieldValue = field(repr=False)
    theirs: object = field(repr=False)
    is_equal: bool


@dataclass(frozen=True, slots=True)
class InView:
    """A row of the view, as it would be sent."""

    record_id: str
    fields: Mapping[str, FieldValue] = field(repr=False)


@dataclass(frozen=True, slots=True)
class InCrm:
    """What the CRM holds of a record. `found` False: it isn't there."""

    record_id: str
    crm_id: str | None
    found: bool
    pairs: Sequence[Pair] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of one key.

    Attributes:
        searched: None if the journal wasn't looked through.
        in_view: the feed's view shows it.
        rows: what it shows; not in the JSON.
        pauses: scopes that keep its feed from being delivered, with their reason.
        in_crm: None if the CRM wasn't asked.
    """

    feed: str
    key: str
    view: str
    searched: Searched | None
    dirty: Dirty | None
    in_view: bool
    steps: Sequence[Step]
    ledger: Sequence[Standing]
    calls: Sequence[Call]
    pauses: Mapping[str, str]
    in_crm: Sequence[InCrm] | None = None
    rows: Sequence[InView] = field(default=(), repr=False)

    def verdict(self) -> list[str]:
        """Say where its way has ended, or where it is."""
        if self.dirty is not None:
            return [*self._waiting(self.dirty), *(f"delivery to {s} is paused: {r}" for s, r in self.pauses.items())]
        ways = {step.what for step in self.steps}
        if ways & {"create", "update", "withdraw", "refuse"}:
            return ["it differs from what was delivered, and nobody has marked it", self._unheard(), "run `cdc sweep`"]
        if "wait" in ways:
            return ["the record that it hangs on isn't in the CRM; it comes when that one does", self._unheard()]
        if any(entry.state == "sent" for entry in self.ledger):
            return ["it is delivered, and nothing differs", *self._edited()]
        if self.in_view:
            return ["the view shows it, and there is nothing to send", self._unheard()]
        was_there = any(entry.state == "withdrawn" for entry in self.ledger)
        first = "it was withdrawn" if was_there else "it never came to delivery"
        return [
            f"{first}: {self.view} doesn't show it. There is no such row, or the gate (the view's WHERE) keeps it back",
            self._unheard(),
        ]

    def _waiting(self, dirty: Dirty) -> list[str]:
        if dirty.parked_at is not None:
            reason = Reason.__members__.get(dirty.reason or "")
            return [f"parked: {dirty.reason}" + (f". {reason.meaning} {reason.hint}" if reason is not None else "")]
        if dirty.claimed_by is not None:
            return [f"a worker has it: {dirty.claimed_by}"]
        if dirty.reason is not None:
            return [f"tried {dirty.attempts} times, last {dirty.reason}; again at {dirty.due_at:%Y-%m-%d %H:%M:%SZ}"]
        return [f"it waits in the lane {dirty.lane}, due at {dirty.due_at:%Y-%m-%d %H:%M:%SZ}"]

    def _unheard(self) -> str:
        found = self.searched
        if found is None:
            return "the journal wasn't looked through for it"
        if found.since is None:
            return "nothing was ever captured"
        if found.total:
            return f"its last change was captured at {found.changes[-1].lsn}"
        return f"no change of it was captured since {found.since:%Y-%m-%d %H:%M:%SZ}, where the journal begins"

    def _edited(self) -> list[str]:
        """Say when the CRM holds something else than what was delivered."""
        for record in self.in_crm or ():
            if not record.found:
                return [f"the CRM has no record {record.crm_id} any more"]
            names = [pair.name for pair in record.pairs if not pair.is_equal]
            if names:
                return [f"somebody changed it in the CRM: {', '.join(names)}"]
        return []

    def as_json(self) -> dict[str, Any]:
        """Give plain values; of a field's values only whether they are equal, and a mask."""
        found = self.searched or Searched((), 0, None)
        return {
            "feed": self.feed,
            "key": self.key,
            "verdict": self.verdict(),
            "changes": [_plain(change) | {"words": change.words} for change in found.changes],
            "changes_total": found.total,
            "journal_since": None if found.since is None else found.since.isoformat(),
            "dirty": None if self.dirty is None else _plain(self.dirty),
            "in_view": self.in_view,
            "plan": [_plain(step) for step in self.steps],
            "ledger": [_plain(entry) for entry in self.ledger],
            "calls": [_plain(call) for call in self.calls],
            "pauses": dict(self.pauses),
            "crm": None if self.in_crm is None else [_record(record) for record in self.in_crm],
        }


def _record(record: InCrm) -> dict[str, Any]:
    return {
        "record_id": record.record_id,
        "crm_id": record.crm_id,
        "found": record.found,
        "fields": [
            {"name": p.name, "equal": p.is_equal, "view": mask(p.ours), "crm": mask(p.theirs)} for p in record.pairs
        ],
    }


def _plain(value: Any) -> dict[str, Any]:
    names = value.__slots__
    found = {name: getattr(value, name) for name in names}
    return {
        name: item.isoformat() if isinstance(item, datetime) else list(item) if isinstance(item, tuple) else item
        for name, item in found.items()
    }
