"""Looks for one key in the journal: the bytes first, and entries only where they were found."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from typing import Final

from cdc.wire.journal import JournalEntry, JournalRelation, decompress, read_entries, tag

_LENGTH: Final = struct.Struct(">i").pack


def find_entries(
    body: bytes, relations: Mapping[int, JournalRelation], columns: Mapping[str, Collection[str]], key: str
) -> list[JournalEntry]:
    """Give a chunk's entries that hold a key, and the truncations of the tables that may have held it.

    Args:
        body: of the chunk.
        relations: of the chunk, by number.
        columns: by table, the columns in which the key is looked for.
        key: as text.

    Raises:
        DecodeError: if the frame is damaged, or the key's bytes are there and an entry isn't one.
    """
    data = decompress(body)
    watched = {number for number, relation in relations.items() if relation.table in columns}
    text = key.encode()
    needles = [b"t" + _LENGTH(len(text)) + text, *(tag(b"T", number) for number in watched)]
    if not watched or not any(needle in data for needle in needles):
        return []
    return [
        entry
        for entry in read_entries(data, relations)
        if entry.relation.table in columns and (entry.kind == "T" or _holds(entry, columns[entry.relation.table], key))
    ]


def _holds(entry: JournalEntry, columns: Collection[str], key: str) -> bool:
    return any(
        value == key and column in columns for column, value in zip(entry.relation.columns, entry.values, strict=True)
    )
