"""Decoding: complete, exact, and never any other way out than `DecodeError`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.errors import DecodeError
from cdc.wire.messages import PgMessage
from cdc.wire.pgoutput import decode
from tests.support.pgoutput import encode
from tests.support.strategies import messages


def is_streamed(message: PgMessage) -> bool:
    """A message of a streamed block: those that carry a transaction id there."""
    return not type(message).__name__.startswith(("Begin", "Stream")) and getattr(message, "xid", None) is not None


def decodes(data: bytes, *, streamed: bool) -> bool:
    try:
        decode(data, streamed=streamed)
    except DecodeError:
        return False
    return True


@given(messages)
def test_what_was_written_is_read_back(message: PgMessage) -> None:
    assert decode(encode(message), streamed=is_streamed(message)) == message


@given(messages)
def test_every_truncation_is_refused(message: PgMessage) -> None:
    data = encode(message)
    assert [n for n in range(len(data)) if decodes(data[:n], streamed=is_streamed(message))] == []


@given(messages, st.binary(min_size=1, max_size=5))
def test_trailing_bytes_are_refused(message: PgMessage, more: bytes) -> None:
    assert not decodes(encode(message) + more, streamed=is_streamed(message))


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_decode_or_are_refused(data: bytes, streamed: bool) -> None:
    decodes(data, streamed=streamed)


@given(messages, st.data())
def test_a_changed_byte_decodes_or_is_refused(message: PgMessage, data: st.DataObject) -> None:
    written = bytearray(encode(message))
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] = data.draw(st.integers(0, 255))
    decodes(bytes(written), streamed=is_streamed(message))


@given(messages)
def test_an_error_says_kind_and_offset(message: PgMessage) -> None:
    data = encode(message)
    with pytest.raises(DecodeError) as caught:
        decode(data[:-1], streamed=is_streamed(message))
    assert 0 <= caught.value.offset <= len(data)
    assert caught.value.kind in str(caught.value)
