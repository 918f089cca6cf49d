"""Gathers the stream's row changes into groups: dirty keys for the outbox, entries for the journal, a position.

One group is what one state transaction makes durable. A group may end in the middle of a transaction, so that memory
doesn't grow with a transaction's size: in protocol 1 the rows between Begin and Commit are committed already. The
position then says how many of the open transaction's changes are captured; when the stream is read again, that many
are skipped. So capture is exactly-once, whatever the size of a transaction and wherever a crash falls.

This is the hot path. Nearly every message is an insert or an update that carries only its new row. Its first bytes
say everything about it but the values: `feed` looks them up, packs the row, and notes it. Anything else takes a longer
way. Keys are decoded once for each distinct packed row, when the group is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from cdc.errors import DecodeError
from cdc.lsn import Lsn
from cdc.routing.binding import HEAD_BYTES, Binding, Plain, dirty_keys
from cdc.routing.groups import Group, Progress
from cdc.routing.router import Route
from cdc.wire.journal import BEGIN_ENTRY_BYTES, JournalRelation, tag
from cdc.wire.messages import Message, Origin, Relation, Truncate, Type
from cdc.wire.pgoutput import BEGIN_LAYOUT, COMMIT_LAYOUT, decode

_BEGIN: Final = ord("B")
_COMMIT: Final = ord("C")
_UPDATE: Final = ord("U")
_DELETE: Final = ord("D")
_CHANGES: Final = frozenset(b"IUD")
_NEW: Final = ord("N")
_OLD_MARKERS: Final = frozenset(b"KO")
_REMEMBERED: Final = 200_000  # rows of the open transaction that were handed over: some 25 MB
_ALL: Final = 1 << 62  # more changes than a transaction can have


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
        self._bound: dict[bytes, Binding | None] = {}  # by relation, as the messages name it
        self._bindings: list[Binding] = []
        self._plain: dict[bytes, Plain] = {}  # by what the messages begin with
        self._body = bytearray()
        self._transactions: dict[int, int] = {}
        self._xids: list[int] = []
        self._truncated: set[str] = set()
        self._deaf: dict[str, str] = {}
        self._changes = 0
        self._commit_lsn = 0
        self._commit_time = 0
        self._xid = 0
        self._in_transaction = False
        self._spans_groups = False  # the current transaction began in an earlier group
        self._header: bytes | None = None  # of the current transaction, until it is written into the group
        self._begun = b""  # the same, kept: the next group begins with it again
        self._seen = 0  # row changes of the current transaction, skipped ones included
        self._skip = 0  # of them, how many are still to be skipped

    @property
    def size(self) -> int:
        """Row changes gathered and not yet taken."""
        return self._changes

    @property
    def keys(self) -> int:
        """Distinct packed rows gathered; what a group costs to store grows with this rather than with `size`."""
        return sum(len(binding.last) for binding in self._bindings)

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

    def feed(self, frames: Iterable[bytes], offset: int = 0) -> None:
        """Take messages; each begins at `offset` of its frame and ends with it.

        Raises:
            DecodeError: if one isn't a valid message. The group as gathered before it stays whole.
        """
        plain, body = self._plain, self._body
        columns = offset + HEAD_BYTES
        taken = 0
        try:
            for m in frames:
                known = plain.get(m[offset:columns])
                if known is None or self._skip or not self._in_transaction:
                    self._seen += taken  # what follows may count too, or begin to count anew
                    self._changes += taken
                    taken = 0
                    self._feed_one(m, offset)
                    continue
                pack, entry_tag, first, last, handed_over = known
                packed = pack(m, columns)
                if self._header is not None:
                    self._open()
                if packed in first:
                    last[packed] = self._commit_lsn
                elif packed not in handed_over:
                    first[packed] = last[packed] = self._commit_lsn
                body += entry_tag + packed
                taken += 1
        finally:
            self._seen += taken
            self._changes += taken

    def _feed_one(self, m: bytes, p: int) -> None:
        """Take a message of any kind, which begins at `p`."""
        try:
            kind = m[p]
            if kind == _COMMIT and len(m) == p + COMMIT_LAYOUT.size:
                _, _, commit_lsn, end_lsn, commit_time = COMMIT_LAYOUT.unpack_from(m, p)
                self._commit(commit_lsn, end_lsn, commit_time)
            elif kind == _BEGIN and len(m) == p + BEGIN_LAYOUT.size:
                self._begin(m, p)
            elif kind in _CHANGES:
                self._change(m, p)
            else:
                self._other(m[p:])
        except IndexError:
            raise DecodeError("message", len(m) - p, "the message is cut short") from None

    def _change(self, m: bytes, p: int) -> None:
        """Take any row change."""
        if not self._in_transaction:
            raise DecodeError("row change", 0, "outside a transaction")
        try:
            binding = self._bound[m[p + 1 : p + 5]]
        except KeyError:
            raise DecodeError("row change", 1, "a relation that was never described") from None
        if self._skip:
            self._skip -= 1
        elif binding is not None:
            self._take_change(binding, m, p)
        self._seen += 1

    def _take_change(self, binding: Binding, m: bytes, p: int) -> None:
        """Take an update with its old row, or a delete; all others are plain."""
        if m[p + 5] not in _OLD_MARKERS:
            raise DecodeError("row change", 5, "an old row, or a new one of the described columns, expected")
        before, end = binding.pack(m, p + 6)
        after = None
        if m[p] != _DELETE:
            if m[p] != _UPDATE or m[end] != _NEW:
                raise DecodeError("row change", end - p, "new row expected")
            after, end = binding.pack(m, end + 1)
        if end != len(m):
            raise DecodeError("row change", end - p, f"{len(m) - end} bytes too many")
        self._open()
        if after is None:
            self._note(binding, binding.delete_tag, before)
        else:
            if before != after:
                self._note(binding, binding.old_tag, before)
            self._note(binding, binding.update_tag, after)
        self._changes += 1

    def _note(self, binding: Binding, entry_tag: bytes, packed: bytes) -> None:
        """Note a packed row; the loop of `feed` does the same."""
        if packed in binding.first:
            binding.last[packed] = self._commit_lsn
        elif packed not in binding.handed_over:
            binding.first[packed] = binding.last[packed] = self._commit_lsn
        self._body += entry_tag + packed

    def _open(self) -> None:
        """Write the current transaction's header into the group."""
        if self._header is not None:
            self._transactions[self._commit_lsn] = self._commit_time
            self._xids.append(self._xid)
            self._body += self._header
            self._header = None

    def _other(self, message: bytes) -> None:
        match decode(message):
            case Relation() as relation:
                self._bind(relation, message[1:5])
            case Truncate() as truncate:
                self._truncate(truncate)
            case Origin() | Type() | Message():
                pass  # nothing about keys
            case other:
                raise DecodeError(type(other).__name__, 0, "not asked for: the stream is protocol 1")

    def _begin(self, m: bytes, p: int) -> None:
        if self._in_transaction:
            raise DecodeError("Begin", 0, "inside a transaction")
        self._in_transaction = True
        _, self._commit_lsn, self._commit_time, self._xid = BEGIN_LAYOUT.unpack_from(m, p)
        self._header = self._begun = m[p : p + BEGIN_ENTRY_BYTES]
        self._seen = 0
        self._skip = 0
        if self._commit_lsn < self._resume.lsn:
            self._skip = _ALL  # captured whole before the restart
        elif self._commit_lsn == self._resume.open_lsn:
            self._skip = self._resume.open_changes

    def _commit(self, commit_lsn: int, end_lsn: int, commit_time: int) -> None:
        if not self._in_transaction or commit_lsn != self._commit_lsn:
            raise DecodeError("Commit", 2, "of a transaction that isn't open")
        self._in_transaction = False
        self._header = None
        if self._spans_groups:
            self._spans_groups = False
            for binding in self._bindings:
                binding.handed_over.clear()
        if end_lsn > self._end_lsn:
            self._end_lsn, self._end_time, self._open_lsn = end_lsn, commit_time, None

    def _bind(self, relation: Relation, oid: bytes) -> None:
        route = self._routes.get(f"{relation.schema}.{relation.name}")
        known = self._bound.get(oid)
        if known is not None:
            if known.described == relation:
                return  # said again, as after every reconnect
            for head in known.plain:
                del self._plain[head]
        if route is None:
            self._bound[oid] = None
            return
        fitting, deaf = route.within(relation)
        self._deaf |= deaf
        binding = Binding.make(len(self._bindings), fitting, relation)
        self._bindings.append(binding)
        self._bound[oid] = binding
        self._plain.update(binding.plain)

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
            binding = self._bound[oid]
            if binding is None:
                continue
            self._open()
            self._body += tag(b"T", binding.number)
            self._truncated.update(target.feed for target in binding.route.targets)
            self._changes += 1

    def take(self) -> Group:
        """Hand over what was gathered and begin a new group.

        The caller makes the group durable before it acknowledges `group.progress.lsn`.
        """
        used = [binding for binding in self._bindings if binding.last]
        group = Group(
            dirty=dirty_keys(used),
            truncated=frozenset(self._truncated),
            body=self._body,
            relations={b.number: JournalRelation(b.route.table, b.route.columns) for b in self._bindings},
            changes=self._changes,
            transactions=self._transactions,
            xids=self._xids,
            progress=self.progress,
            deaf=self._deaf,
        )
        open_lsn = self._commit_lsn if self._in_transaction else None
        for binding in used:
            remembered = sum(len(binding.handed_over) for binding in self._bindings)
            binding.hand_over(open_lsn, _REMEMBERED - remembered)
        self._body, self._transactions, self._xids, self._truncated, self._changes = bytearray(), {}, [], set(), 0
        self._deaf = {}
        self._header = self._begun if self._in_transaction else None
        self._spans_groups = self._in_transaction
        return group
