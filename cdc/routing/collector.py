"""Gathers the stream's row changes into groups: dirty keys for the outbox, entries for the journal, a position.

One group is what one state transaction makes durable. A group may end in the middle of a transaction, so that memory
doesn't grow with a transaction's size: in protocol 1 the rows between Begin and Commit are committed already. The
position then says how many of the open transaction's changes are captured; when the stream is read again, that many
are skipped. So capture is exactly-once, whatever the size of a transaction and wherever a crash falls.

This is the hot path. `feed` does as little as it can for each row; keys are decoded once for each distinct packed
row, when the group is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from cdc.errors import DecodeError
from cdc.lsn import Lsn
from cdc.routing.groups import Dirty, Group, Progress
from cdc.routing.router import Route
from cdc.wire.journal import JournalRelation, begin_entry, tag
from cdc.wire.messages import Message, Origin, Relation, Truncate, Type
from cdc.wire.pgoutput import BEGIN_LAYOUT, COMMIT_LAYOUT, decode
from cdc.wire.rows import Pack, Unpack, compile_pack, compile_unpack

_BEGIN: Final = ord("B")
_COMMIT: Final = ord("C")
_INSERT: Final = ord("I")
_UPDATE: Final = ord("U")
_DELETE: Final = ord("D")
_NEW: Final = ord("N")
_OLD_MARKERS: Final = frozenset(b"KO")
_ALL: Final = 1 << 62  # more changes than a transaction can have


@dataclass(slots=True, eq=False)
class _Bound:
    """A watched relation as the stream publishes it now, and what it gathered."""

    number: int
    route: Route
    shape: tuple[str, ...]
    pack: Pack
    unpack: Unpack
    insert_tag: bytes
    update_tag: bytes
    old_tag: bytes
    delete_tag: bytes
    first: dict[bytes, int] = field(default_factory=dict)
    last: dict[bytes, int] = field(default_factory=dict)


class Collector:
    """Takes pgoutput messages (protocol 1), gives groups.

    Args:
        routes: by qualified table name.
        start: where capture stands; what lies at or below it is skipped when it comes again.
    """

    def __init__(self, routes: Mapping[str, Route], start: Progress) -> None:
        self._routes = routes
        self._resume = start  # what a fresh stream skips
        self._end_lsn: int = start.lsn
        self._end_time = start.commit_time
        self._open_lsn = start.open_lsn
        self._bound: dict[bytes, _Bound | None] = {}
        self._bindings: list[_Bound] = []
        self._entries: list[bytes] = []
        self._transactions: dict[int, int] = {}
        self._xids: list[int] = []
        self._truncated: set[str] = set()
        self._changes = 0
        self._commit_lsn = 0
        self._commit_time = 0
        self._xid = 0
        self._in_transaction = False
        self._seen = 0  # row changes of the current transaction, skipped ones included
        self._skip = 0  # of them, how many are still to be skipped
        self._header_due = False

    @property
    def size(self) -> int:
        """Row changes gathered and not yet taken."""
        return self._changes

    @property
    def keys(self) -> int:
        """Distinct packed rows gathered; what a group costs to store grows with this rather than with `size`."""
        return sum(len(bound.last) for bound in self._bindings)

    @property
    def has_news(self) -> bool:
        """True when taking a group would say something that isn't durable yet."""
        return self._changes > 0 or bool(self._truncated)

    @property
    def in_transaction(self) -> bool:
        """True between Begin and Commit."""
        return self._in_transaction

    @property
    def progress(self) -> Progress:
        """How far the stream has been read, durable or not."""
        if self._in_transaction and self._skip == 0:
            return Progress(Lsn(self._end_lsn), Lsn(self._commit_lsn), self._seen, self._commit_time)
        if self._open_lsn is not None:  # resumed, and not yet past what was captured in part
            return replace(self._resume, lsn=Lsn(self._end_lsn))
        return Progress(Lsn(self._end_lsn), commit_time=self._end_time)

    def advance(self, lsn: Lsn) -> None:
        """Note that the server has nothing for us before `lsn` (a keepalive outside any transaction)."""
        if not self._in_transaction and lsn > self._end_lsn:
            self._end_lsn = lsn

    def feed(self, m: bytes, p: int = 0) -> None:
        """Take one message, which begins at offset `p` of the frame `m` and ends with it.

        Raises:
            DecodeError: if it isn't a valid message. The group as gathered so far stays whole.
            ProfileError: if a watched table is published without a column that its feeds need.
        """
        try:
            kind = m[p]
            if kind != _UPDATE and kind != _INSERT and kind != _DELETE:
                self._other(kind, m[p:])
                return
            if not self._in_transaction:
                raise DecodeError("row change", 0, "outside a transaction")
            try:
                bound = self._bound[m[p + 1 : p + 5]]
            except KeyError:
                raise DecodeError("row change", 1, "a relation that was never described") from None
            if self._skip:
                self._skip -= 1
                self._seen += 1
                return
            if bound is None:
                self._seen += 1
                return
            marker = m[p + 5]
            if marker == _NEW and kind != _DELETE:
                packed, end = bound.pack(m, p + 6)
                before = None
            else:
                before, packed, end = self._with_old(bound, m, p)
        except IndexError:
            raise DecodeError("row change", len(m) - p, "the message is cut short") from None
        if end != len(m):
            raise DecodeError("row change", end - p, f"{len(m) - end} bytes too many")
        if self._header_due:
            self._open()
        lsn = self._commit_lsn
        if before is not None and before != packed:
            bound.first.setdefault(before, lsn)
            bound.last[before] = lsn
            self._entries += (bound.old_tag, before)
        bound.first.setdefault(packed, lsn)
        bound.last[packed] = lsn
        self._entries += (
            bound.update_tag if kind == _UPDATE else bound.insert_tag if kind == _INSERT else bound.delete_tag,
            packed,
        )
        self._seen += 1
        self._changes += 1

    @staticmethod
    def _with_old(bound: _Bound, m: bytes, p: int) -> tuple[bytes | None, bytes, int]:
        """Pack an update that carries its old row, or a delete."""
        if m[p + 5] not in _OLD_MARKERS:
            raise DecodeError("row change", 5, "old or new row expected")
        old, end = bound.pack(m, p + 6)
        if m[p] == _DELETE:
            return None, old, end
        if m[p] != _UPDATE or m[end] != _NEW:
            raise DecodeError("row change", end - p, "new row expected")
        packed, end = bound.pack(m, end + 1)
        return old, packed, end

    def _open(self) -> None:
        """Write the current transaction's header into the group."""
        self._header_due = False
        self._transactions[self._commit_lsn] = self._commit_time
        self._xids.append(self._xid)
        self._entries.append(begin_entry(self._commit_lsn, self._commit_time))

    def _other(self, kind: int, message: bytes) -> None:
        """Take anything but a row change; Begin and Commit, the most frequent of them, come first."""
        if kind == _BEGIN and len(message) == BEGIN_LAYOUT.size:
            _, commit_lsn, commit_time, xid = BEGIN_LAYOUT.unpack(message)
            self._begin(commit_lsn, commit_time, xid)
            return
        if kind == _COMMIT and len(message) == COMMIT_LAYOUT.size:
            _, _, commit_lsn, end_lsn, commit_time = COMMIT_LAYOUT.unpack(message)
            self._commit(commit_lsn, end_lsn, commit_time)
            return
        match decode(message):
            case Relation() as relation:
                self._bind(relation, message)
            case Truncate() as truncate:
                self._truncate(truncate)
            case Origin() | Type() | Message():
                pass  # nothing about keys
            case other:
                raise DecodeError(type(other).__name__, 0, "not asked for: the stream is protocol 1")

    def _begin(self, commit_lsn: int, commit_time: int, xid: int) -> None:
        if self._in_transaction:
            raise DecodeError("Begin", 0, "inside a transaction")
        self._in_transaction = True
        self._header_due = True
        self._commit_lsn, self._commit_time, self._xid = commit_lsn, commit_time, xid
        self._seen = 0
        self._skip = 0
        if commit_lsn < self._resume.lsn:
            self._skip = _ALL  # captured whole before the restart
        elif commit_lsn == self._resume.open_lsn:
            self._skip = self._resume.open_changes

    def _commit(self, commit_lsn: int, end_lsn: int, commit_time: int) -> None:
        if not self._in_transaction or commit_lsn != self._commit_lsn:
            raise DecodeError("Commit", 2, "of a transaction that isn't open")
        self._in_transaction = False
        self._header_due = False
        if end_lsn > self._end_lsn:
            self._end_lsn, self._end_time, self._open_lsn = end_lsn, commit_time, None

    def _bind(self, relation: Relation, message: bytes) -> None:
        oid = message[1:5]
        route = self._routes.get(f"{relation.schema}.{relation.name}")
        if route is None:
            self._bound[oid] = None
            return
        shape = tuple(column.name for column in relation.columns)
        known = self._bound.get(oid)
        if known is not None and known.route is route and known.shape == shape:
            return  # said again, as after every reconnect
        number = len(self._bindings)
        bound = _Bound(
            number=number,
            route=route,
            shape=shape,
            pack=compile_pack(len(shape), route.positions_in(relation)),
            unpack=compile_unpack(len(route.columns)),
            insert_tag=tag(b"I", number),
            update_tag=tag(b"U", number),
            old_tag=tag(b"O", number),
            delete_tag=tag(b"D", number),
        )
        self._bindings.append(bound)
        self._bound[oid] = bound

    def _truncate(self, truncate: Truncate) -> None:
        if not self._in_transaction:
            raise DecodeError("Truncate", 0, "outside a transaction")
        oids = [oid.to_bytes(4, "big") for oid in truncate.relations]
        if not self._bound.keys() >= set(oids):
            raise DecodeError("Truncate", 6, "a relation that was never described")
        self._seen += 1
        if self._skip:
            self._skip -= 1
            return
        for oid in oids:
            bound = self._bound[oid]
            if bound is None:
                continue
            if self._header_due:
                self._open()
            self._entries.append(tag(b"T", bound.number))
            self._truncated.update(target.feed for target in bound.route.targets)
            self._changes += 1

    def take(self) -> Group:
        """Hand over what was gathered and begin a new group.

        The caller makes the group durable before it acknowledges `group.progress.lsn`.
        """
        used = [bound for bound in self._bindings if bound.last]
        group = Group(
            dirty=self._dirty(used),
            truncated=frozenset(self._truncated),
            entries=self._entries,
            relations={b.number: JournalRelation(b.route.table, b.route.columns) for b in self._bindings},
            changes=self._changes,
            transactions=self._transactions,
            xids=self._xids,
            progress=self.progress,
        )
        for bound in used:
            bound.first, bound.last = {}, {}
        self._entries, self._transactions, self._xids, self._truncated, self._changes = [], {}, [], set(), 0
        self._header_due = self._in_transaction
        return group

    def _dirty(self, used: list[_Bound]) -> dict[tuple[str, str], Dirty]:
        dirty: dict[tuple[str, str], Dirty] = {}
        for bound in used:
            targets = bound.route.targets
            last_of = bound.last
            for packed, first in bound.first.items():
                values = bound.unpack(packed)
                last = last_of[packed]
                for target in targets:
                    key = values[target.position]
                    if key is None:
                        continue
                    where = (target.feed, key)
                    known = dirty.get(where)
                    if known is None:
                        dirty[where] = Dirty(target.lane, first, last)
                    else:
                        known.join(target.lane, first, last)
        return dirty
