"""Packed rows: the bytes themselves."""

from __future__ import annotations

import struct

import pytest

from cdc.errors import DecodeError
from cdc.wire.messages import UNCHANGED, Tuple
from cdc.wire.rows import compile_pack, compile_unpack, unpack, unpack_from
from tests.support.pgoutput import row


def test_a_packed_row_is_the_wanted_part_of_the_message() -> None:
    data = b"before" + row((b"a", None, b"", UNCHANGED, "ä".encode()))
    packed, end = compile_pack(5, (4, 0, 1))(data, len(b"before"))
    assert packed == b"t" + struct.pack(">i", 2) + "ä".encode() + b"t" + struct.pack(">i", 1) + b"a" + b"n"
    assert end == len(data)
    assert compile_unpack(3)(packed) == ["ä", "a", None]


def test_null_and_empty_text_are_different_keys() -> None:
    pack = compile_pack(1, (0,))
    assert pack(row((None,)), 0)[0] != pack(row((b"",)), 0)[0]


def test_nothing_wanted_packs_to_nothing() -> None:
    data = row((b"a", b"b"))
    assert compile_pack(2, ())(data, 0) == (b"", len(data))
    assert compile_unpack(0)(b"") == []


@pytest.mark.parametrize(
    ("columns", "wanted", "data"),
    [
        (2, (0,), row((b"a",))),
        (1, (0,), row((b"a", b"b"))),
        (1, (0,), row((UNCHANGED,))),
        (2, (0,), struct.pack(">h", 2) + b"t" + struct.pack(">i", 1) + b"ab" + struct.pack(">i", 1) + b"x"),  # binary
        (1, (), struct.pack(">h", 1) + b"t" + struct.pack(">i", -1)),
        (1, (0,), struct.pack(">h", 1) + b"t" + struct.pack(">i", 2**31 - 1)),
        (1, (0,), b"\0"),
        (1, (0,), b""),
    ],
)
def test_what_is_no_such_row_is_refused(columns: int, wanted: tuple[int, ...], data: bytes) -> None:
    with pytest.raises(DecodeError):
        compile_pack(columns, wanted)(data, 0)


def test_a_wide_row_is_walked_past() -> None:
    values: Tuple = tuple(str(i).encode() for i in range(1600))
    packed, _ = compile_pack(1600, (1599, 0))(row(values), 0)
    assert unpack(packed, 2) == ["1599", "0"]


@pytest.mark.parametrize(
    "packed", [b"t\0\0\0\1\xff", b"t\0\0\0\1ab", b"t\0\0\0\2a", b"n n", b"", b"u", b"t\xff\xff\xff\xff"]
)
def test_bytes_that_are_no_packed_row_are_refused(packed: bytes) -> None:
    for function in (compile_unpack(1), lambda data: unpack(data, 1)):
        with pytest.raises(DecodeError):
            function(packed)


def test_a_packed_row_is_read_where_it_stands() -> None:
    data = b"..." + row((b"x", None))[2:] + b"rest"
    assert unpack_from(data, 3, 2) == (["x", None], len(data) - len(b"rest"))
