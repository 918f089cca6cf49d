"""Writes pgoutput messages, so that the tests can say what a server would send.

Written from the PostgreSQL documentation, "Logical Replication Message Formats", and on purpose without anything of
`cdc.wire` but its value types: a mistake in one can't hide in the other.
"""

from __future__ import annotations

import struct

from cdc.wire.messages import (
    UNCHANGED,
    Begin,
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
    Update,
)


def encode(message: PgMessage) -> bytes:
    """Write one message; one with an `xid` is written as it stands between Stream Start and Stream Stop."""
    match message:
        case Begin(lsn, time, xid):
            return b"B" + struct.pack(">QqI", lsn, time, xid)
        case Commit(flags, lsn, end, time):
            return b"C" + struct.pack(">BQQq", flags, lsn, end, time)
        case Origin(lsn, name):
            return b"O" + struct.pack(">Q", lsn) + _text(name)
        case StreamStart(xid, first):
            return b"S" + struct.pack(">IB", xid, first)
        case StreamStop():
            return b"E"
        case StreamCommit(xid, flags, lsn, end, time):
            return b"c" + struct.pack(">IBQQq", xid, flags, lsn, end, time)
        case StreamAbort(xid, subxid):
            return b"A" + struct.pack(">II", xid, subxid)
    kind, body = _with_xid(message)
    return kind + (b"" if message.xid is None else struct.pack(">I", message.xid)) + body


def _with_xid(message: Relation | Type | Insert | Update | Delete | Truncate | Message) -> tuple[bytes, bytes]:
    match message:
        case Relation():
            return b"R", _relation(message)
        case Type():
            return b"Y", struct.pack(">I", message.oid) + _schema(message.schema) + _text(message.name)
        case Insert():
            return b"I", struct.pack(">I", message.relation) + b"N" + row(message.new)
        case Update():
            old = b"" if message.old is None else (message.old_kind or "").encode() + row(message.old)
            return b"U", struct.pack(">I", message.relation) + old + b"N" + row(message.new)
        case Delete():
            return b"D", struct.pack(">I", message.relation) + message.old_kind.encode() + row(message.old)
        case Truncate():
            count = len(message.relations)
            return b"T", struct.pack(f">iB{count}I", count, message.flags, *message.relations)
        case Message():
            head = struct.pack(">BQ", message.flags, message.lsn) + _text(message.prefix)
            return b"M", head + struct.pack(">i", len(message.content)) + message.content


def row(values: Tuple) -> bytes:
    """Write a TupleData part."""
    parts = [struct.pack(">h", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value is UNCHANGED:
            parts.append(b"u")
        else:
            parts.append(b"t" + struct.pack(">i", len(value)) + value)
    return b"".join(parts)


def _relation(relation: Relation) -> bytes:
    head = struct.pack(">I", relation.oid) + _schema(relation.schema) + _text(relation.name)
    columns = b"".join(
        struct.pack(">B", c.is_key) + _text(c.name) + struct.pack(">Ii", c.type_oid, c.type_modifier)
        for c in relation.columns
    )
    return head + relation.replica_identity.encode() + struct.pack(">h", len(relation.columns)) + columns


def _schema(name: str) -> bytes:
    return _text("" if name == "pg_catalog" else name)


def _text(value: str) -> bytes:
    return value.encode() + b"\0"
