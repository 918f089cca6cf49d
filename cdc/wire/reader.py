"""A reader that never reads past the end, and knows what it was reading."""

from __future__ import annotations

import struct

from cdc.errors import DecodeError

_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_UINT32 = struct.Struct(">I")
_INT64 = struct.Struct(">q")
_UINT64 = struct.Struct(">Q")


class Reader:
    """Reads big-endian fields from one message.

    Args:
        data: the whole message.
        kind: name of the message kind, for errors.
        offset: where to begin.
    """

    __slots__ = ("_data", "kind", "offset")

    def __init__(self, data: bytes, kind: str, offset: int = 0) -> None:
        self._data = data
        self.kind = kind
        self.offset = offset

    def _take(self, number: struct.Struct) -> int:
        try:
            (value,) = number.unpack_from(self._data, self.offset)
        except struct.error:
            raise self.error(f"{number.size} bytes expected, {len(self._data) - self.offset} left") from None
        self.offset += number.size
        return int(value)

    def byte(self) -> int:
        """Read one unsigned byte."""
        if self.offset >= len(self._data):
            raise self.error("a byte expected, none left")
        value = self._data[self.offset]
        self.offset += 1
        return value

    def int16(self) -> int:
        """Read a count."""
        return self._take(_INT16)

    def int32(self) -> int:
        """Read a signed number, such as a type modifier or a length."""
        return self._take(_INT32)

    def uint32(self) -> int:
        """Read an OID or a transaction id."""
        return self._take(_UINT32)

    def int64(self) -> int:
        """Read a timestamp."""
        return self._take(_INT64)

    def uint64(self) -> int:
        """Read an LSN."""
        return self._take(_UINT64)

    def count(self) -> int:
        """Read a count that must not be negative."""
        value = self.int16()
        if value < 0:
            raise self.error(f"a count of {value}", back=2)
        return value

    def text(self) -> str:
        """Read a null-terminated string."""
        end = self._data.find(b"\0", self.offset)
        if end < 0:
            raise self.error("a string without its end")
        raw = self._data[self.offset : end]
        try:
            value = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.error("a string that isn't UTF-8") from None
        self.offset = end + 1
        return value

    def bytes(self, length: int) -> bytes:
        """Read `length` bytes as they are."""
        end = self.offset + length
        if length < 0 or end > len(self._data):
            raise self.error(f"{length} bytes expected, {len(self._data) - self.offset} left")
        value = self._data[self.offset : end]
        self.offset = end
        return value

    def finish(self) -> None:
        """Insist that nothing is left over."""
        left = len(self._data) - self.offset
        if left:
            raise self.error(f"{left} bytes too many")

    def error(self, problem: str, *, back: int = 0) -> DecodeError:
        """Make the error for this place; `back` steps back to where a bad field began."""
        return DecodeError(self.kind, self.offset - back, problem)
