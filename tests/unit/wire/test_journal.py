"""Journal bodies: exact entries, and damage of every kind."""

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard

from cdc.errors import DecodeError
from cdc.lsn import Lsn
from cdc.wire.journal import JournalEntry, JournalRelation, begin_entry, compress, read_body, tag
from tests.support.pgoutput import row

USERS = JournalRelation("public.users", ("id",))
LINKS = JournalRelation("public.links", ("parent_id", "student_id"))
RELATIONS = {0: USERS, 1: LINKS}
ONE_BYTE_LEFT_OVER = b"\0"


def packed(*values: bytes | None) -> bytes:
    return row(values)[2:]


PARTS = [
    begin_entry(Lsn(100), 7),
    tag(b"I", 0),
    packed(b"ada"),
    tag(b"O", 1),
    packed(b"p", None),
    tag(b"U", 1),
    packed(b"p", "jürgen".encode()),
    begin_entry(Lsn(200), 8),
    tag(b"T", 0),
    tag(b"D", 0),
    packed(b""),
]
ENTRIES = [
    JournalEntry("I", USERS, ("ada",), Lsn(100), 7),
    JournalEntry("O", LINKS, ("p", None), Lsn(100), 7),
    JournalEntry("U", LINKS, ("p", "jürgen"), Lsn(100), 7),
    JournalEntry("T", USERS, (), Lsn(200), 8),
    JournalEntry("D", USERS, ("",), Lsn(200), 8),
]


def test_entries_belong_to_the_transaction_before_them() -> None:
    assert list(read_body(compress(PARTS), RELATIONS)) == ENTRIES


def test_no_flipped_byte_is_read_as_something_else() -> None:
    """Every byte to every other value. One bit of the frame's header has no meaning; the rest must be noticed."""
    body = compress(PARTS * 20)
    other = []
    for at in range(len(body)):
        for value in range(256):
            if value == body[at]:
                continue
            damaged = body[:at] + bytes([value]) + body[at + 1 :]
            try:
                read = list(read_body(damaged, RELATIONS))
            except DecodeError:
                continue
            if read != ENTRIES * 20:
                other.append((at, value))
    assert other == []


@pytest.mark.parametrize("size", [0, 1 << 40, 1 << 62, (1 << 64) - 1])
def test_a_frame_that_lies_about_its_size_is_refused(size: int) -> None:
    """Neither an empty chunk, nor a request for a terabyte."""
    magic, descriptor = b"\x28\xb5\x2f\xfd", b"\xe4"  # one segment, with checksum, size in eight bytes
    forged = magic + descriptor + struct.pack("<Q", size) + compress(PARTS)[-30:]
    with pytest.raises(DecodeError):
        list(read_body(forged, RELATIONS))


@pytest.mark.parametrize("body", [b"", b"no frame", compress(PARTS) + b"more", compress(PARTS) + compress(PARTS)])
def test_a_body_is_exactly_one_frame(body: bytes) -> None:
    with pytest.raises(DecodeError):
        list(read_body(body, RELATIONS))


def test_a_frame_without_our_checksum_still_reads() -> None:
    frame = zstandard.ZstdCompressor(write_checksum=False).compress(b"".join(PARTS))
    assert list(read_body(frame, RELATIONS)) == ENTRIES


@pytest.mark.parametrize(
    "parts",
    [
        [begin_entry(1, 1)[:-1]],
        [b"I\0"],
        [tag(b"I", 9), packed(b"a")],  # a relation that the chunk doesn't name
        [tag(b"X", 0)],
        [tag(b"I", 0)],
        [tag(b"I", 0), b"u"],  # an unchanged value is no key
        [tag(b"I", 0), b"t" + struct.pack(">i", 5) + b"four"],
        [tag(b"I", 0), b"t" + struct.pack(">i", -1)],
        [tag(b"I", 0), packed(b"\xff")],
        [*PARTS, ONE_BYTE_LEFT_OVER],
    ],
)
def test_entries_that_are_none_are_refused(parts: list[bytes]) -> None:
    with pytest.raises(DecodeError):
        list(read_body(compress(parts), RELATIONS))


def test_bodies_may_be_compressed_in_several_threads_at_once() -> None:
    """A large group is compressed in a thread; a session that ended may leave one running."""
    wanted = [b"".join([tag(b"I", 0), packed(os.urandom(40).hex().encode())]) for _ in range(20_000)]
    whole = b"".join(wanted)
    with ThreadPoolExecutor(4) as pool:
        bodies = list(pool.map(compress, [wanted] * 12))
    assert all(zstandard.ZstdDecompressor().decompress(body) == whole for body in bodies)
