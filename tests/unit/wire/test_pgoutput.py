"""Messages as the documentation writes them, and bytes that no server sends."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest

from cdc.errors import DecodeError
from cdc.lsn import Lsn
from cdc.wire.messages import UNCHANGED, Begin, Column, Commit, Insert, Relation, Truncate, Update, time_of
from cdc.wire.pgoutput import MAX_COLUMNS, decode
from tests.support.pgoutput import encode


def test_begin_and_commit_byte_for_byte() -> None:
    assert decode(bytes.fromhex("42 00000000016B3748 0002B6F6E7C8A000 000002F1")) == Begin(
        Lsn.parse("0/16B3748"), 0x0002B6F6E7C8A000, 753
    )
    assert decode(bytes.fromhex("43 00 00000000016B3748 00000000016B3778 0002B6F6E7C8A000")) == Commit(
        0, Lsn.parse("0/16B3748"), Lsn.parse("0/16B3778"), 0x0002B6F6E7C8A000
    )


def test_a_relation_in_pg_catalog_has_an_empty_schema_name() -> None:
    relation = Relation(16385, "pg_catalog", "t", "d", (Column(True, "id", 2950, -1),))
    data = encode(relation)
    assert data.startswith(b"R" + struct.pack(">I", 16385) + b"\0t\0d")
    assert decode(data) == relation


def test_null_unchanged_and_empty_text_are_three_things() -> None:
    update = Update(1, (None, UNCHANGED, b""))
    decoded = decode(encode(update))
    assert isinstance(decoded, Update)
    assert decoded.new == (None, UNCHANGED, b"")


def test_a_streamed_message_is_not_read_as_an_ordinary_one() -> None:
    data = encode(Insert(16384, (b"1",), xid=700))
    assert decode(data, streamed=True) == Insert(16384, (b"1",), xid=700)
    with pytest.raises(DecodeError):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"X",
        b"p" + b"\0" * 20,  # prepared transactions: not asked for
        b"I" + struct.pack(">I", 1) + b"K" + struct.pack(">h", 0),
        b"D" + struct.pack(">I", 1) + b"N" + struct.pack(">h", 0),
        b"U" + struct.pack(">I", 1) + b"K" + struct.pack(">h", 0) + b"K" + struct.pack(">h", 0),
        b"I" + struct.pack(">I", 1) + b"N" + struct.pack(">h", -1),
        b"I" + struct.pack(">I", 1) + b"N" + struct.pack(">h", MAX_COLUMNS + 1) + b"n" * (MAX_COLUMNS + 1),
        b"I" + struct.pack(">I", 1) + b"N" + struct.pack(">h", 1) + b"b" + struct.pack(">i", 1) + b"1",
        b"I" + struct.pack(">I", 1) + b"N" + struct.pack(">h", 1) + b"t" + struct.pack(">i", -2),
        b"I" + struct.pack(">I", 1) + b"N" + struct.pack(">h", 1) + b"t" + struct.pack(">i", 2**31 - 1) + b"1",
        b"T" + struct.pack(">iB", -1, 0),
        b"T" + struct.pack(">iB", 2**31 - 1, 0),
        b"R" + struct.pack(">I", 1) + b"s\0t\0x" + struct.pack(">h", 0),
        b"R" + struct.pack(">I", 1) + b"s\0\xff\0d" + struct.pack(">h", 0),
    ],
)
def test_bytes_that_no_server_sends_are_refused_at_once(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data)


def test_the_error_names_kind_and_place_and_no_value() -> None:
    data = encode(Insert(1, (b"secret value", b"x")))[:-1]
    with pytest.raises(DecodeError, match=r"Insert at byte \d+: 1 bytes expected, 0 left") as caught:
        decode(data)
    assert "secret" not in str(caught.value)


def test_a_truncate_may_name_several_tables() -> None:
    assert decode(encode(Truncate(3, (1, 2**32 - 1)))) == Truncate(3, (1, 2**32 - 1))


def test_times_count_from_2000() -> None:
    assert time_of(0) == datetime(2000, 1, 1, tzinfo=UTC)
    assert time_of(-1_000_000) == datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)
    with pytest.raises(OverflowError):
        time_of(2**63 - 1)
