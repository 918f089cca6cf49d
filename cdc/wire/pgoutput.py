"""pgoutput bytes to messages: complete, checked, and not in a hurry.

The hot path does not come through here for row changes (`cdc.wire.rows` packs their keys); everything else does. Any
bytes either decode or raise `DecodeError`. An unknown message or column kind is an error: skipping would lose changes
in silence.

Source: PostgreSQL documentation, "Logical Replication Message Formats" (protocol versions 1 and 2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, Literal, cast

from cdc.errors import DecodeError
from cdc.lsn import Lsn
from cdc.wire.messages import (
    UNCHANGED,
    Begin,
    Column,
    Commit,
    Delete,
    Insert,
    Message,
    Origin,
    PgMessage,
    Relation,
    StreamAbort,
    StreamCommit,
    StreamStart,
    StreamStop,
    Truncate,
    Tuple,
    Type,
    Unchanged,
    Update,
)
from cdc.wire.reader import Reader

BEGIN_LAYOUT: Final = struct.Struct(">cQqI")  # kind, commit LSN, commit time, xid
COMMIT_LAYOUT: Final = struct.Struct(">cBQQq")  # kind, flags, commit LSN, end LSN, commit time
MAX_COLUMNS: Final = 1664  # Postgres's own limit (MaxTupleAttributeNumber)


def decode(message: bytes, *, streamed: bool = False) -> PgMessage:
    """Decode one whole message.

    Args:
        message: the payload, without the XLogData header.
        streamed: True between Stream Start and Stream Stop, where messages carry their transaction id.

    Raises:
        DecodeError: if the bytes are anything but exactly one message.
    """
    if not message:
        raise DecodeError("empty message", 0, "no bytes")
    entry = _DECODERS.get(message[0])
    if entry is None:
        raise DecodeError("unknown message", 0, f"message kind {message[0]:#04x}")
    kind, read, has_xid = entry
    reader = Reader(message, kind, 1)
    xid = reader.uint32() if streamed and has_xid else None
    decoded = read(reader, xid)
    reader.finish()
    return decoded


def read_tuple(reader: Reader) -> Tuple:
    """Read a TupleData part."""
    count = reader.count()
    if count > MAX_COLUMNS:
        raise reader.error(f"{count} columns, more than a table can have", back=2)
    return tuple(_value(reader) for _ in range(count))


def _value(reader: Reader) -> bytes | Unchanged | None:
    match reader.byte():
        case 0x74:  # t
            return reader.bytes(reader.int32())
        case 0x6E:  # n
            return None
        case 0x75:  # u
            return UNCHANGED
        case kind:
            reader.offset -= 1
            raise reader.error(f"column kind {kind:#04x}; only text format is asked for")


def _flag(reader: Reader, allowed: str, what: str) -> str:
    value = chr(reader.byte())
    if value not in allowed:
        reader.offset -= 1
        raise reader.error(f"{what} expected, one of {'/'.join(allowed)}")
    return value


def _begin(reader: Reader, _: int | None) -> Begin:
    return Begin(Lsn(reader.uint64()), reader.int64(), reader.uint32())


def _commit(reader: Reader, _: int | None) -> Commit:
    return Commit(reader.byte(), Lsn(reader.uint64()), Lsn(reader.uint64()), reader.int64())


def _origin(reader: Reader, _: int | None) -> Origin:
    return Origin(Lsn(reader.uint64()), reader.text())


def _relation(reader: Reader, xid: int | None) -> Relation:
    oid, schema, name = reader.uint32(), reader.text(), reader.text()
    identity = cast(Literal["d", "n", "f", "i"], _flag(reader, "dnfi", "replica identity"))
    columns = tuple(
        Column(bool(reader.byte() & 1), reader.text(), reader.uint32(), reader.int32()) for _ in range(reader.count())
    )
    return Relation(oid, schema or "pg_catalog", name, identity, columns, xid)


def _type(reader: Reader, xid: int | None) -> Type:
    return Type(reader.uint32(), reader.text() or "pg_catalog", reader.text(), xid)


def _insert(reader: Reader, xid: int | None) -> Insert:
    relation = reader.uint32()
    _flag(reader, "N", "new row")
    return Insert(relation, read_tuple(reader), xid)


def _update(reader: Reader, xid: int | None) -> Update:
    relation = reader.uint32()
    marker = _flag(reader, "KON", "old or new row")
    if marker == "N":
        return Update(relation, read_tuple(reader), xid=xid)
    old = read_tuple(reader)
    _flag(reader, "N", "new row")
    return Update(relation, read_tuple(reader), old, cast(Literal["K", "O"], marker), xid)


def _delete(reader: Reader, xid: int | None) -> Delete:
    relation = reader.uint32()
    marker = cast(Literal["K", "O"], _flag(reader, "KO", "old row"))
    return Delete(relation, read_tuple(reader), marker, xid)


def _truncate(reader: Reader, xid: int | None) -> Truncate:
    count = reader.int32()
    if count < 0:
        raise reader.error(f"a count of {count}", back=4)
    flags = reader.byte()
    return Truncate(flags, tuple(reader.uint32() for _ in range(count)), xid)


def _message(reader: Reader, xid: int | None) -> Message:
    flags, lsn, prefix = reader.byte(), Lsn(reader.uint64()), reader.text()
    return Message(flags, lsn, prefix, reader.bytes(reader.int32()), xid)


def _stream_start(reader: Reader, _: int | None) -> StreamStart:
    return StreamStart(reader.uint32(), bool(reader.byte()))


def _stream_stop(_: Reader, __: int | None) -> StreamStop:
    return StreamStop()


def _stream_commit(reader: Reader, _: int | None) -> StreamCommit:
    return StreamCommit(reader.uint32(), reader.byte(), Lsn(reader.uint64()), Lsn(reader.uint64()), reader.int64())


def _stream_abort(reader: Reader, _: int | None) -> StreamAbort:
    return StreamAbort(reader.uint32(), reader.uint32())


_DECODERS: Final[dict[int, tuple[str, Callable[[Reader, int | None], PgMessage], bool]]] = {
    # first byte: (name, reader, carries a transaction id while streamed)
    ord("B"): ("Begin", _begin, False),
    ord("C"): ("Commit", _commit, False),
    ord("O"): ("Origin", _origin, False),
    ord("R"): ("Relation", _relation, True),
    ord("Y"): ("Type", _type, True),
    ord("I"): ("Insert", _insert, True),
    ord("U"): ("Update", _update, True),
    ord("D"): ("Delete", _delete, True),
    ord("T"): ("Truncate", _truncate, True),
    ord("M"): ("Message", _message, True),
    ord("S"): ("Stream Start", _stream_start, False),
    ord("E"): ("Stream Stop", _stream_stop, False),
    ord("c"): ("Stream Commit", _stream_commit, False),
    ord("A"): ("Stream Abort", _stream_abort, False),
}
