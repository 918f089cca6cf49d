"""What capture makes durable at a time: changes as dirty keys and journal entries, and the position after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdc.lsn import Lsn
from cdc.routing.feeds import Lane
from cdc.wire.journal import JournalRelation


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the stream is captured.

    Attributes:
        lsn: end of the last transaction that is captured whole.
        open_lsn: commit LSN of a transaction captured in part, or None.
        open_changes: how many of its row changes are captured.
        commit_time: of the newest captured transaction, microseconds since 2000; None if there was none.
    """

    lsn: Lsn
    open_lsn: Lsn | None = None
    open_changes: int = 0
    commit_time: int | None = None


@dataclass(slots=True)
class Dirty:
    """A key that may be out of date: how urgently, and the commit LSNs of its oldest and newest change."""

    lane: Lane
    first_lsn: int
    last_lsn: int

    def join(self, lane: Lane, first: int, last: int) -> None:
        """Note further changes of the same key: the more urgent lane, the wider span."""
        if lane is not self.lane and lane.patience < self.lane.patience:
            self.lane = lane
        if first < self.first_lsn:
            self.first_lsn = first
        if last > self.last_lsn:
            self.last_lsn = last


@dataclass(frozen=True, slots=True)
class Group:
    """What one state transaction makes durable.

    Attributes:
        dirty: by feed and key.
        truncated: feeds of which every known key is dirty.
        body: the journal's entries.
        relations: the tables that the entries name, by number.
        changes: how many row changes.
        transactions: commit LSN -> commit time (microseconds since 2000), in commit order.
        xids: the same transactions' ids, 32 bits each.
        progress: the position once this is durable.
        deaf: feeds that don't hear all of their tables' changes from this group on, and why.
    """

    dirty: Mapping[tuple[str, str], Dirty]
    truncated: frozenset[str]
    body: bytearray
    relations: Mapping[int, JournalRelation]
    changes: int
    transactions: Mapping[int, int]
    xids: list[int]
    progress: Progress
    deaf: Mapping[str, str] = field(default_factory=dict)
