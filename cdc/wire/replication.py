"""The frames of a replication stream: what arrives around pgoutput messages, and what is sent back.

Source: PostgreSQL documentation, "Streaming Replication Protocol" (XLogData, Primary keepalive message, Standby
status update).
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import Final

from cdc.errors import DecodeError
from cdc.lsn import Lsn

XLOG_DATA: Final = ord("w")
KEEPALIVE: Final = ord("k")
XLOG_HEADER_BYTES: Final = 25  # kind, start LSN, end LSN, send time; the message follows

_KEEPALIVE = struct.Struct(">cQqB")
_STATUS = struct.Struct(">cQQQqB")
_EPOCH_SECONDS: Final = 946_684_800  # 2000-01-01 UTC in Unix time


@dataclass(frozen=True, slots=True)
class Keepalive:
    """The server has sent everything up to `end_lsn`."""

    end_lsn: Lsn
    reply_requested: bool


def decode_keepalive(frame: bytes) -> Keepalive:
    """Read a keepalive frame.

    Raises:
        DecodeError: if it has another length.
    """
    if len(frame) != _KEEPALIVE.size:
        raise DecodeError("Keepalive", len(frame), f"{_KEEPALIVE.size} bytes expected")
    _, end, _, reply = _KEEPALIVE.unpack(frame)
    return Keepalive(Lsn(end), bool(reply))


def encode_status(*, written: int, flushed: int, reply: bool = False) -> bytes:
    """Make a standby status update.

    Args:
        written: LSN up to which everything was received.
        flushed: LSN up to which everything is durable; 0 makes no statement and leaves the slot where it is.
        reply: ask the server to answer at once, which shows whether the line is alive.
    """
    now = int((time.time() - _EPOCH_SECONDS) * 1_000_000)
    return _STATUS.pack(b"r", written, flushed, flushed, now, reply)
