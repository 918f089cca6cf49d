"""The quick path agrees with the complete decoder."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.errors import DecodeError
from cdc.wire.messages import UNCHANGED, Insert, Tuple
from cdc.wire.pgoutput import decode
from cdc.wire.rows import compile_pack, compile_pack_rest, compile_unpack, unpack
from tests.support.pgoutput import encode, row
from tests.support.strategies import texts, values

_HEADER = 6  # kind, relation, N: what stands before the TupleData of an Insert

keys = st.none() | texts


@st.composite
def rows(draw: st.DrawFn) -> tuple[Tuple, tuple[int, ...]]:
    """A row with any value in unwanted columns, and text or NULL in the wanted ones."""
    count = draw(st.integers(1, 8))
    wanted = tuple(draw(st.lists(st.integers(0, count - 1), unique=True, max_size=count)))
    return tuple(draw(keys if i in wanted else values) for i in range(count)), wanted


def selected(message: bytes, wanted: Sequence[int]) -> list[str | None]:
    decoded = decode(message)
    assert isinstance(decoded, Insert)
    return [None if (v := decoded.new[i]) is None else v.decode() for i in wanted]  # type: ignore[union-attr]


@given(rows())
def test_packing_agrees_with_decoding_and_selecting(drawn: tuple[Tuple, tuple[int, ...]]) -> None:
    values_, wanted = drawn
    message = encode(Insert(16384, values_))
    packed, end = compile_pack(len(values_), wanted)(message, _HEADER)
    assert end == len(message)
    assert compile_unpack(len(wanted))(packed) == unpack(packed, len(wanted)) == selected(message, wanted)


@given(rows(), st.binary(min_size=1, max_size=6))
def test_the_rest_of_a_message_packs_alike_and_must_be_exactly_the_row(
    drawn: tuple[Tuple, tuple[int, ...]], more: bytes
) -> None:
    values_, wanted = drawn
    message = encode(Insert(16384, values_))
    pack, columns = compile_pack_rest(len(values_), wanted), _HEADER + 2
    assert pack(message, columns) == compile_pack(len(values_), wanted)(message, _HEADER)[0]
    for wrong in (message + more, *(message[:end] for end in range(columns, len(message)))):
        with pytest.raises(DecodeError):
            pack(wrong, columns)


@given(rows())
def test_equal_keys_pack_to_equal_bytes(drawn: tuple[Tuple, tuple[int, ...]]) -> None:
    values_, wanted = drawn
    other = tuple(v if i in wanted else b"something else" for i, v in enumerate(values_))
    pack = compile_pack(len(values_), wanted)
    assert pack(row(values_), 0)[0] == pack(row(other), 0)[0]


@given(rows())
def test_every_truncation_of_a_row_is_refused(drawn: tuple[Tuple, tuple[int, ...]]) -> None:
    values_, wanted = drawn
    data, pack = row(values_), compile_pack(len(values_), wanted)
    for length in range(len(data)):
        try:
            pack(data[:length], 0)
        except DecodeError:
            continue
        raise AssertionError(f"{length} of {len(data)} bytes were taken for a row")


@given(rows(), st.data())
def test_an_unchanged_value_can_be_no_key(drawn: tuple[Tuple, tuple[int, ...]], data: st.DataObject) -> None:
    values_, wanted = drawn
    if not wanted:
        return
    at = data.draw(st.sampled_from(wanted))
    broken = tuple(UNCHANGED if i == at else v for i, v in enumerate(values_))
    try:
        compile_pack(len(values_), wanted)(row(broken), 0)
    except DecodeError:
        return
    raise AssertionError("an unchanged large value was packed as a key")


@given(st.binary(max_size=40), st.integers(0, 4), st.data())
def test_any_bytes_pack_or_are_refused(data: bytes, columns: int, draw: st.DataObject) -> None:
    wanted = draw.draw(st.lists(st.integers(0, columns - 1), unique=True) if columns else st.just([]))
    try:
        packed, end = compile_pack(columns, wanted)(data, 0)
    except DecodeError:
        return
    assert end <= len(data)
    assert len(packed) <= end


@given(st.binary(max_size=40), st.integers(0, 4))
def test_any_bytes_unpack_or_are_refused_the_same_way_by_both(data: bytes, columns: int) -> None:
    outcomes: list[object] = []
    for function in (compile_unpack(columns), lambda packed: unpack(packed, columns)):
        try:
            outcomes.append(function(data))
        except DecodeError:
            outcomes.append("refused")
    assert outcomes[0] == outcomes[1]
