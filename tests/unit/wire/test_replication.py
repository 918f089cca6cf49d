"""Frames of the replication protocol, byte for byte as documented."""

from __future__ import annotations

import struct
import time

import pytest

from cdc.errors import DecodeError
from cdc.lsn import Lsn
from cdc.wire.replication import KEEPALIVE, XLOG_DATA, XLOG_HEADER_BYTES, Keepalive, decode_keepalive, encode_status

_SECONDS_TO_2000 = 946_684_800


@pytest.mark.parametrize("reply", [False, True])
def test_a_keepalive_is_read(reply: bool) -> None:
    frame = struct.pack(">cQqB", b"k", 0x16B3748, 1234, reply)
    assert decode_keepalive(frame) == Keepalive(Lsn.parse("0/16B3748"), reply)


def test_a_keepalive_of_another_length_is_refused() -> None:
    frame = struct.pack(">cQqB", b"k", 1, 2, 0)
    for broken in [*(frame[:n] for n in range(len(frame))), frame + b"\0"]:
        with pytest.raises(DecodeError):
            decode_keepalive(broken)


@pytest.mark.parametrize("reply", [False, True])
def test_a_status_says_what_was_written_and_what_is_durable(reply: bool) -> None:
    frame = encode_status(written=500, flushed=400, reply=reply)
    kind, written, flushed, applied, sent_at, wanted = struct.unpack(">cQQQqB", frame)
    assert (kind, written, flushed, applied, bool(wanted)) == (b"r", 500, 400, 400, reply)
    assert abs(sent_at / 1e6 + _SECONDS_TO_2000 - time.time()) < 60


def test_a_status_with_nothing_durable_makes_no_statement() -> None:
    _, written, flushed, applied, _, _ = struct.unpack(">cQQQqB", encode_status(written=2**64 - 1, flushed=0))
    assert (written, flushed, applied) == (2**64 - 1, 0, 0)


def test_frame_kinds_and_header() -> None:
    assert (ord("w"), ord("k")) == (XLOG_DATA, KEEPALIVE)
    assert struct.calcsize(">cQQq") == XLOG_HEADER_BYTES
