"""The fast way through the journal: which distinct rows were touched, in any number of chunks.

A replay wants keys, each once, and the journal says most of them again and again. So no object is made for an entry: a
packed row is cut out, and if it was seen before that is all. It is decoded once, by whoever drains it.

How long an entry is follows from its first bytes: kind, relation, and the length of each column. The same few
beginnings come all the time, so they are remembered in a small tree, and an entry costs a look-up for each column.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from cdc.errors import DecodeError
from cdc.wire.journal import BEGIN, ROW_KINDS, TAG, JournalRelation, decompress, read_body
from cdc.wire.rows import unpack_from

_B: Final = ord("B")
_T: Final = ord("T")
_O: Final = ord("O")
_TEXT: Final = ord("t")
_TAG_SIZE: Final = TAG.size
_HEAD: Final = _TAG_SIZE + 5  # a tag, and a column's kind and length
_COLUMN: Final = 5
_LENGTH: Final = struct.Struct(">i").unpack_from
_NEWEST: Final = (1 << 64) - 1
_LEARNT: Final = 4_096  # beginnings that are remembered: keys of all lengths must not fill the memory


@dataclass(slots=True)
class Rows:
    """Distinct packed rows of one relation.

    Attributes:
        seen: all so far.
        fresh: those that were not drained yet.
        truncated: the table was emptied, and that was not drained yet.
    """

    seen: set[bytes] = field(default_factory=set)
    fresh: list[bytes] = field(default_factory=list)
    truncated: bool = False


@dataclass(slots=True, eq=False)
class _Head:
    """An entry that begins so is `size` bytes long, as far as it is known; `more` says how it may go on."""

    size: int
    more: dict[bytes, _Head] | None
    rows: Rows
    weight: int


@dataclass(slots=True, eq=False)
class Layout:
    """A chunk's relations, and the beginnings of entries that were met under these numbers."""

    relations: Mapping[int, JournalRelation]
    heads: dict[bytes, _Head] = field(default_factory=dict)
    learnt: int = 0


class Touched:
    """Gathers the distinct rows of chunks.

    Memory grows with the distinct rows and not with the entries.

    Attributes:
        rows: by relation, so that one that is numbered differently in another chunk is still one.
    """

    def __init__(self) -> None:
        self.rows: dict[JournalRelation, Rows] = {}

    def read(self, body: bytes, layout: Layout, oldest: int = 0, newest: int = _NEWEST) -> int:
        """Take a chunk's body in.

        Args:
            body: as `cdc.wire.journal.compress` made it.
            layout: of the chunk's relations; the same object for chunks with the same ones, since it learns.
            oldest: commit LSN from which on transactions count.
            newest: commit LSN up to which they count.

        Returns:
            How many changes counted.

        Raises:
            DecodeError: if the frame is damaged or an entry isn't one. A key that isn't text shows when it is decoded.
        """
        data = decompress(body)
        p, end = 0, len(data)
        heads, limited = layout.heads, oldest > 0 or newest < _NEWEST
        counts, changes = not limited or oldest <= 0, 0
        while p < end:
            if data[p] == _B:
                if limited:
                    counts = oldest <= _begin(data, p) <= newest
                p += BEGIN.size
                continue
            head = heads.get(data[p : p + _HEAD])
            while head is not None and head.more is not None:
                head = head.more.get(data[p + head.size : p + head.size + _COLUMN])
            if head is None:
                p, weight = self._slowly(data, p, layout, counts=counts)
                changes += weight
                continue
            if counts:
                row = data[p + _TAG_SIZE : p + head.size]
                rows = head.rows
                if row not in rows.seen:
                    rows.seen.add(row)
                    rows.fresh.append(row)
                changes += head.weight
            p += head.size
        if p > end:
            raise DecodeError("journal chunk", end, "the entry is cut short")
        return changes

    def _slowly(self, data: bytes, p: int, layout: Layout, *, counts: bool) -> tuple[int, int]:
        """Take one entry whose beginning isn't known, and learn it. Returns where it ends, and its changes."""
        if p + _TAG_SIZE > len(data):
            raise DecodeError("journal chunk", p, "the entry is cut short")
        kind = data[p]
        relation = layout.relations.get(TAG.unpack_from(data, p)[1])
        if relation is None or (kind != _T and kind not in ROW_KINDS):
            raise DecodeError("journal chunk", p, "not a journal entry")
        rows = self.rows.setdefault(relation, Rows())
        if kind == _T:
            rows.truncated = rows.truncated or counts
            return p + _TAG_SIZE, int(counts)
        _, end = unpack_from(data, p + _TAG_SIZE, len(relation.columns))
        weight = int(kind != _O)
        row = data[p + _TAG_SIZE : end]
        if counts and row not in rows.seen:
            rows.seen.add(row)
            rows.fresh.append(row)
        _learn(layout, data[p:end], len(relation.columns), rows, weight)
        return end, weight if counts else 0

    def drain(self) -> list[tuple[JournalRelation, list[bytes], bool]]:
        """Give what is new since the last time: the relation, its rows, and whether it was truncated."""
        news = []
        for relation, rows in self.rows.items():
            if rows.fresh or rows.truncated:
                news.append((relation, rows.fresh[:], rows.truncated))
                rows.fresh.clear()
                rows.truncated = False
        return news


def _begin(data: bytes, p: int) -> int:
    try:
        return int(BEGIN.unpack_from(data, p)[1])
    except struct.error:
        raise DecodeError("journal chunk", p, "the entry is cut short") from None


def _learn(layout: Layout, entry: bytes, columns: int, rows: Rows, weight: int) -> None:
    """Remember how an entry is laid out; one with a NULL isn't worth it, and one without columns has nothing to it."""
    at, starts = _TAG_SIZE, []
    for _ in range(columns):
        if entry[at] != _TEXT:
            return
        starts.append(at)
        at += _COLUMN + _LENGTH(entry, at + 1)[0]
    if not starts or layout.learnt >= _LEARNT:
        return
    layout.learnt += 1
    level, key = layout.heads, entry[:_HEAD]
    for start in starts[1:]:
        known = level.setdefault(key, _Head(start, {}, rows, weight))
        level, key = known.more if known.more is not None else {}, entry[start : start + _COLUMN]
    level.setdefault(key, _Head(at, None, rows, weight))


def first_commit_since(body: bytes, relations: Mapping[int, JournalRelation], time: int) -> int | None:
    """Give the LSN of a chunk's first transaction that committed at `time` (microseconds since 2000) or later."""
    return next((lsn for lsn, at in _commits(body, relations) if at >= time), None)


def last_commit_until(body: bytes, relations: Mapping[int, JournalRelation], time: int) -> int | None:
    """Give the LSN of a chunk's last transaction that committed at `time` (microseconds since 2000) or earlier."""
    found = None
    for lsn, at in _commits(body, relations):
        found = lsn if at <= time else found
    return found


def _commits(body: bytes, relations: Mapping[int, JournalRelation]) -> Iterator[tuple[int, int]]:
    """List a chunk's transactions as (commit LSN, commit time)."""
    for lsn_and_time, _ in groupby(read_body(body, relations), lambda entry: (entry.commit_lsn, entry.commit_time)):
        yield lsn_and_time
