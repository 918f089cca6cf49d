"""The logical replication messages of pgoutput, as values.

Source: PostgreSQL documentation, "Logical Replication Message Formats". Row messages carry a `Tuple`: one entry for
each published column, `None` for NULL, `UNCHANGED` for a large value that an update left alone, bytes in text form
otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, Literal

from cdc.lsn import Lsn

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


def time_of(microseconds: int) -> datetime:
    """Turn Postgres's microseconds since 2000-01-01 UTC into a time.

    Raises:
        OverflowError: if no calendar has such a day.
    """
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds_of(time: datetime) -> int:
    """Turn an aware time into Postgres's microseconds since 2000-01-01 UTC: undo `time_of`."""
    return (time - _EPOCH) // timedelta(microseconds=1)


class Unchanged(Enum):
    """The type of `UNCHANGED`."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
"""A TOASTed value that an update didn't touch and that isn't sent. It is not NULL."""

Tuple = tuple[bytes | Unchanged | None, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction follows. `commit_lsn` is where it committed, `commit_time` when, in microseconds since 2000."""

    commit_lsn: Lsn
    commit_time: int
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The transaction is complete. `end_lsn` is where the next one may begin: the position to keep."""

    flags: int
    commit_lsn: Lsn
    end_lsn: Lsn
    commit_time: int


@dataclass(frozen=True, slots=True)
class Origin:
    """The transaction came from another server."""

    lsn: Lsn
    name: str


@dataclass(frozen=True, slots=True)
class Column:
    """A published column. `is_key` is True when it is part of the replica identity."""

    is_key: bool
    name: str
    type_oid: int
    type_modifier: int


@dataclass(frozen=True, slots=True)
class Relation:
    """A table's shape; valid for the row messages after it."""

    oid: int
    schema: str
    name: str
    replica_identity: Literal["d", "n", "f", "i"]
    columns: tuple[Column, ...]
    xid: int | None = None


@dataclass(frozen=True, slots=True)
class Type:
    """A type that isn't built in."""

    oid: int
    schema: str
    name: str
    xid: int | None = None


@dataclass(frozen=True, slots=True)
class Insert:
    """A row was added."""

    relation: int
    new: Tuple
    xid: int | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """A row was changed. `old` is there if the replica identity changed ("K") or is FULL ("O")."""

    relation: int
    new: Tuple
    old: Tuple | None = None
    old_kind: Literal["K", "O"] | None = None
    xid: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """A row was removed. `old` holds the replica identity only ("K"), or the whole row ("O")."""

    relation: int
    old: Tuple
    old_kind: Literal["K", "O"]
    xid: int | None = None


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables were emptied. Bit 1 of `flags` is CASCADE, bit 2 RESTART IDENTITY."""

    flags: int
    relations: tuple[int, ...]
    xid: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """Something that `pg_logical_emit_message` wrote. Bit 1 of `flags` is "transactional"."""

    flags: int
    lsn: Lsn
    prefix: str
    content: bytes
    xid: int | None = None


@dataclass(frozen=True, slots=True)
class StreamStart:
    """Part of a transaction that is still open follows."""

    xid: int
    first_segment: bool


@dataclass(frozen=True, slots=True)
class StreamStop:
    """The part ends."""


@dataclass(frozen=True, slots=True)
class StreamCommit:
    """A streamed transaction committed."""

    xid: int
    flags: int
    commit_lsn: Lsn
    end_lsn: Lsn
    commit_time: int


@dataclass(frozen=True, slots=True)
class StreamAbort:
    """A streamed transaction, or one of its subtransactions, was rolled back."""

    xid: int
    subxid: int


PgMessage = (
    Begin
    | Commit
    | Origin
    | Relation
    | Type
    | Insert
    | Update
    | Delete
    | Truncate
    | Message
    | StreamStart
    | StreamStop
    | StreamCommit
    | StreamAbort
)
