"""Positions in the write-ahead log."""

from __future__ import annotations

import re

_TEXT = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


class Lsn(int):
    """A log sequence number: a byte position in the WAL, ordered, printed as Postgres prints it."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Lsn:
        """Read Postgres's own form, such as `0/16B3748`.

        Raises:
            ValueError: if the text is anything else.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not an LSN; write it as Postgres does, such as 0/16B3748")
        return cls((int(match[1], 16) << 32) | int(match[2], 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn({str(self)!r})"


ZERO = Lsn(0)
