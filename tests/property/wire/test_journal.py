"""A journal body: what was appended is read back, and damage is never taken for an entry."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from cdc.errors import DecodeError
from cdc.lsn import Lsn
from cdc.wire.journal import JournalEntry, JournalRelation, begin_entry, compress, read_body, tag
from tests.support.pgoutput import row

RELATIONS = {
    0: JournalRelation("public.users", ("id",)),
    7: JournalRelation("app.links", ("parent_id", "student_id")),
    65535: JournalRelation("public.nothing", ()),
}
keys = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
times = st.integers(-(2**63), 2**63 - 1)


@st.composite
def entries(draw: st.DrawFn) -> list[JournalEntry]:
    """Transactions one after another, each with entries of all kinds."""
    made = []
    for lsn, time in draw(st.lists(st.tuples(st.integers(0, 2**64 - 1).map(Lsn), times), max_size=5)):
        for number, kind in draw(st.lists(st.tuples(st.sampled_from(sorted(RELATIONS)), st.sampled_from("IUODT")))):
            relation = RELATIONS[number]
            values = () if kind == "T" else tuple(draw(keys) for _ in relation.columns)
            made.append(JournalEntry(kind, relation, values, lsn, time))
    return made


def written(wanted: list[JournalEntry]) -> list[bytes]:
    numbers = {relation: number for number, relation in RELATIONS.items()}
    parts: list[bytes] = []
    before: tuple[int, int] | None = None
    for entry in wanted:
        if before != (entry.commit_lsn, entry.commit_time):
            before = (entry.commit_lsn, entry.commit_time)
            parts.append(begin_entry(*before))
        packed = row(tuple(None if v is None else v.encode() for v in entry.values))[2:]
        parts += [tag(entry.kind.encode(), numbers[entry.relation]), packed]
    return parts


@given(entries())
def test_what_was_appended_is_read_back(wanted: list[JournalEntry]) -> None:
    assert list(read_body(compress(written(wanted)), RELATIONS)) == wanted


@given(entries(), st.data())
def test_a_damaged_body_is_never_read_as_something_else(wanted: list[JournalEntry], data: st.DataObject) -> None:
    body = bytearray(compress(written(wanted)))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    with suppress(DecodeError):
        assert list(read_body(bytes(body), RELATIONS)) == wanted  # some bits of a frame's header say nothing


@given(entries(), st.data())
def test_a_body_cut_short_is_refused(wanted: list[JournalEntry], data: st.DataObject) -> None:
    body = compress(written(wanted))
    length = data.draw(st.integers(0, len(body) - 1))
    try:
        list(read_body(body[:length], RELATIONS))
    except DecodeError:
        return
    raise AssertionError(f"{length} of {len(body)} bytes were read as a whole body")


@given(st.binary(max_size=60))
def test_any_entries_read_or_are_refused(data: bytes) -> None:
    with suppress(DecodeError):  # and nothing else
        list(read_body(compress([data]), RELATIONS))
