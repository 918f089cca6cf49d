"""What a client says to Postgres, as far as the fault tests have to know it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cdc.lsn import Lsn

_STATUS = struct.Struct(">cIc3Q")  # 'd', length, 'r', written, flushed, applied


def confirmed(data: bytes) -> Iterator[Lsn]:
    """Give the flush positions of the standby status messages in a piece of a replication connection.

    Source: PostgreSQL documentation, "Streaming Replication Protocol", Standby status update.
    """
    at = 0
    while at + 5 <= len(data):
        kind, length = struct.unpack_from(">cI", data, at)
        if kind == b"d" and data[at + 5 : at + 6] == b"r" and at + _STATUS.size <= len(data):
            yield Lsn(_STATUS.unpack_from(data, at)[4])
        at += 1 + length
