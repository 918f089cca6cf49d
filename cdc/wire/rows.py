"""Row changes on the hot path: pack the key columns, walk past the rest.

For routing, a row is only the few columns that hold keys. They are not even decoded: a *packed row* is those columns'
part of the TupleData, byte for byte (`t`, length, text; or `n`), in the order in which they are wanted. Packed rows
are hashable, small, and the same key always packs to the same bytes, so a burst on one person falls together in a
dict before anything is decoded.

A packing function is generated for each relation, because unrolled code is about twice as fast as a loop over the
columns. Only column counts and positions go into that code, never a name from the server.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from cdc.errors import DecodeError

Pack = Callable[[bytes, int], tuple[bytes, int]]
"""From a message and the offset of a TupleData part to (packed row, offset behind the part)."""

PackRest = Callable[[bytes, int], bytes]
"""From a message and the offset of the first column, behind the count, to the packed row; the message ends with it."""

Unpack = Callable[[bytes], list[str | None]]
"""From a packed row to its values."""

_LENGTH: Final = struct.Struct(">I").unpack_from  # read as unsigned, a negative one lies far beyond any message
_COUNT: Final = struct.Struct(">h").unpack_from


def compile_pack(columns: int, wanted: Sequence[int]) -> Pack:
    """Make the packing function of a relation.

    Args:
        columns: how many columns the relation publishes.
        wanted: positions of the columns to pack, in the order to pack them.

    Returns:
        A function that raises `DecodeError` when the part is cut short, has another number of columns, or holds a
        column kind that can't be (`u` in a wanted column, or binary).
    """
    pack: Pack = _compile(columns, tuple(wanted), is_rest=False)
    return pack


def compile_pack_rest(columns: int, wanted: Sequence[int]) -> PackRest:
    """Make the packing function for a row that ends its message, of which the number of columns is known.

    Returns:
        A function that raises `DecodeError` as that of `compile_pack` does, and when anything stands behind the row.
    """
    pack: PackRest = _compile(columns, tuple(wanted), is_rest=True)
    return pack


@lru_cache(maxsize=256)
def _compile(columns: int, wanted: tuple[int, ...], *, is_rest: bool) -> Any:
    lines = ["def pack(m, p, length=_LENGTH, count=_COUNT):", "    try:"]
    if not is_rest:
        lines += [f"        if count(m, p)[0] != {columns}: raise wrong_count(p)", "        p += 2"]
    for position in range(columns):
        lines += _column_lines(position, is_wanted=position in wanted)
    lines += [
        "    except (IndexError, struct_error):",
        "        raise cut_short(len(m)) from None",
        "    if p > len(m): raise cut_short(len(m))",
    ]
    packed = _joined(columns, wanted)
    lines += (
        ["    if p != len(m): raise too_long(m, p)", f"    return {packed}"] if is_rest else [f"    return {packed}, p"]
    )
    namespace: dict[str, object] = {
        "_LENGTH": _LENGTH,
        "_COUNT": _COUNT,
        "struct_error": struct.error,
        "cut_short": lambda at: DecodeError("row", at, "the row is cut short"),
        "wrong_count": lambda at: DecodeError("row", at, f"a row of {columns} columns expected"),
        "bad_kind": lambda at: DecodeError("row", at, "a column kind that can't stand here"),
        "too_long": lambda m, at: DecodeError("row", at, f"{len(m) - at} bytes too many"),
    }
    exec("\n".join(lines), namespace)  # noqa: S102 - made of counts and positions only
    return namespace["pack"]


def _column_lines(position: int, *, is_wanted: bool) -> list[str]:
    start = [f"        s{position} = p"] if is_wanted else []
    end = [f"        e{position} = p"] if is_wanted else []
    others = "k != 110" if is_wanted else "k != 110 and k != 117"
    return [
        *start,
        "        k = m[p]",
        "        if k == 116:",
        "            p += 5 + length(m, p + 1)[0]",
        f"        elif {others}: raise bad_kind(p)",
        "        else: p += 1",
        *end,
    ]


def _joined(columns: int, wanted: tuple[int, ...]) -> str:
    """Slices of the message; neighbours in one slice."""
    slices: list[tuple[int, int]] = []
    for position in wanted:
        if slices and slices[-1][1] + 1 == position:
            slices[-1] = (slices[-1][0], position)
        else:
            slices.append((position, position))
    return " + ".join(f"m[s{first}:e{last}]" for first, last in slices) or 'b""'


@lru_cache(maxsize=64)
def compile_unpack(columns: int) -> Unpack:
    """Make the function that decodes packed rows of `columns` columns, quick for rows without a NULL.

    Returns:
        A function that raises `DecodeError` when the bytes aren't exactly such a row.
    """
    lines = ["def unpack(m, length=_LENGTH):", "    try:", "        p = 0"]
    for position in range(columns):
        lines += [
            "        if m[p] != 116: return slow(m)",
            "        s = p + 5",
            "        p = s + length(m, p + 1)[0]",
            f"        v{position} = m[s:p].decode()",
        ]
    values = ", ".join(f"v{position}" for position in range(columns))
    lines += [
        "    except (IndexError, struct_error, UnicodeDecodeError):",
        "        return slow(m)",
        "    if p != len(m): return slow(m)",
        f"    return [{values}]",
    ]
    namespace: dict[str, object] = {
        "_LENGTH": _LENGTH,
        "struct_error": struct.error,
        "slow": lambda packed: unpack(packed, columns),
    }
    exec("\n".join(lines), namespace)  # noqa: S102 - made of counts and positions only
    function: Unpack = namespace["unpack"]  # type: ignore[assignment]  # exec knows no types
    return function


def unpack(packed: bytes, columns: int) -> list[str | None]:
    """Decode a packed row.

    Raises:
        DecodeError: if it doesn't hold exactly `columns` columns of UTF-8 text or NULL.
    """
    values, end = unpack_from(packed, 0, columns)
    if end != len(packed):
        raise DecodeError("packed row", end, f"{len(packed) - end} bytes too many")
    return values


def unpack_from(data: bytes, offset: int, columns: int) -> tuple[list[str | None], int]:
    """Decode a packed row that stands at `offset`; return its values and the offset behind it."""
    values: list[str | None] = []
    p = offset
    try:
        for _ in range(columns):
            if data[p] == 110:
                values.append(None)
                p += 1
                continue
            length = _LENGTH(data, p + 1)[0]
            end = p + 5 + length
            if data[p] != 116 or end > len(data):
                raise DecodeError("packed row", p, "not a packed column")
            values.append(data[p + 5 : end].decode("utf-8"))
            p = end
    except (IndexError, struct.error):
        raise DecodeError("packed row", p, "the row is cut short") from None
    except UnicodeDecodeError:
        raise DecodeError("packed row", p, "a key that isn't UTF-8") from None
    return values, p
