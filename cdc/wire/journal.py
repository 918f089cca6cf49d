"""The body of a journal chunk: which keys changed at which LSN, and no values.

A body is a zstd frame (with checksum) over a run of entries:

    B  commit LSN (8)  commit time (8)        a transaction; the entries up to the next B belong to it
    I  relation (2)    packed row             inserted
    U  relation (2)    packed row             updated
    O  relation (2)    packed row             what an update's key was before
    D  relation (2)    packed row             deleted
    T  relation (2)                           truncated

Relations are numbered in the chunk's own table. Packed rows (`cdc.wire.rows`) are the key columns as pgoutput sent
them, and B is how its Begin message begins, so that capture appends bytes and encodes nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import zstandard

from cdc.errors import DecodeError
from cdc.lsn import Lsn
from cdc.wire.rows import unpack_from

BEGIN_ENTRY_BYTES: Final = 17
"""How long the entry is that opens a transaction; a Begin message of pgoutput begins with the same bytes."""

BEGIN: Final = struct.Struct(">cQq")
TAG: Final = struct.Struct(">cH")
_BEGIN_KIND: Final = ord("B")
ROW_KINDS: Final = frozenset(b"IUOD")
_TRUNCATE_KIND: Final = ord("T")

_LEVEL: Final = 1  # keeps up with the stream: about 3 ms for the 50,000 changes of a full group


@dataclass(frozen=True, slots=True)
class JournalRelation:
    """A table in a chunk, and which of its columns the chunk holds."""

    table: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One change: its table, kind, key values (None for NULL; empty for a truncate) and transaction.

    `commit_time` is in microseconds since 2000-01-01 UTC.
    """

    kind: str
    relation: JournalRelation
    values: tuple[str | None, ...]
    commit_lsn: Lsn
    commit_time: int


def begin_entry(commit_lsn: int, commit_time: int) -> bytes:
    """Make the entry that opens a transaction."""
    return BEGIN.pack(b"B", commit_lsn, commit_time)


def tag(kind: bytes, relation: int) -> bytes:
    """Make what stands before a packed row, or a whole truncate entry."""
    return TAG.pack(kind, relation)


def compress(parts: Iterable[bytes | bytearray]) -> bytes:
    """Make a body of entries.

    Large groups are compressed aside, in a thread that may outlive its session. A compressor serves one thread at a
    time, and one shared by two crashes the process; a new one costs 10 µs.
    """
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(b"".join(parts))


def decompress(body: bytes) -> bytes:
    """Undo `compress`: give the entries of a body as one run of bytes.

    Not with the one-call function: that believes the size in the frame's header, so that a damaged header reads as an
    empty body or asks for more memory than there is.

    Raises:
        DecodeError: if the frame is damaged.
    """
    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        data = frame.decompress(body)
    except zstandard.ZstdError:
        raise DecodeError("journal chunk", 0, "the compressed frame is damaged") from None
    if not frame.eof or frame.unused_data:
        raise DecodeError("journal chunk", 0, "not exactly one compressed frame")
    return data


def read_body(body: bytes, relations: Mapping[int, JournalRelation]) -> Iterator[JournalEntry]:
    """Decode a chunk's body.

    Raises:
        DecodeError: if the frame is damaged or an entry isn't as above.
    """
    return read_entries(decompress(body), relations)


def read_entries(data: bytes, relations: Mapping[int, JournalRelation]) -> Iterator[JournalEntry]:
    """Decode the entries of a body that is decompressed.

    Raises:
        DecodeError: if one isn't as above.
    """
    commit_lsn, commit_time = Lsn(0), 0
    p = 0
    try:
        while p < len(data):
            kind = data[p]
            if kind == _BEGIN_KIND:
                _, lsn, commit_time = BEGIN.unpack_from(data, p)
                commit_lsn = Lsn(lsn)
                p += BEGIN.size
                continue
            _, number = TAG.unpack_from(data, p)
            relation = relations.get(number)
            if relation is None or (kind != _TRUNCATE_KIND and kind not in ROW_KINDS):
                raise DecodeError("journal chunk", p, "not a journal entry")
            p += TAG.size
            values: list[str | None] = []
            if kind != _TRUNCATE_KIND:
                values, p = unpack_from(data, p, len(relation.columns))
            yield JournalEntry(chr(kind), relation, tuple(values), commit_lsn, commit_time)
    except struct.error:
        raise DecodeError("journal chunk", p, "the entry is cut short") from None
