"""The fast way through a chunk says the same as the slow one, on any entries and on any bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from cdc.errors import DecodeError
from cdc.lsn import Lsn
from cdc.wire.journal import JournalEntry, JournalRelation, begin_entry, compress, read_body, tag
from cdc.wire.rows import unpack
from cdc.wire.search import find_entries
from cdc.wire.touched import Layout, Touched, first_commit_since, last_commit_until
from tests.property.wire.test_journal import RELATIONS, entries, keys, written
from tests.support.pgoutput import row

AN_LSN = Lsn(100)
Found = tuple[dict[JournalRelation, set[tuple[str | None, ...]]], set[JournalRelation], int]


def slowly(wanted: Iterable[JournalEntry]) -> Found:
    """Distinct rows, truncated relations, and how many changes, from single entries."""
    rows: dict[JournalRelation, set[tuple[str | None, ...]]] = defaultdict(set)
    truncated, changes = set(), 0
    for entry in wanted:
        changes += entry.kind != "O"
        if entry.kind == "T":
            truncated.add(entry.relation)
        else:
            rows[entry.relation].add(entry.values)
    return dict(rows), truncated, changes


def quickly(touched: Touched, changes: int) -> Found:
    rows: dict[JournalRelation, set[tuple[str | None, ...]]] = {}
    truncated = set()
    for relation, packed, is_truncated in touched.drain():
        decoded = [tuple(unpack(one, len(relation.columns))) for one in packed]
        assert len(set(decoded)) == len(decoded), "a row was given twice"
        rows |= {relation: set(decoded)} if decoded else {}
        truncated |= {relation} if is_truncated else set()
    return rows, truncated, changes


@given(st.lists(entries(), max_size=4))
def test_the_same_rows_as_entry_by_entry(chunks: list[list[JournalEntry]]) -> None:
    touched, layout = Touched(), Layout(RELATIONS)

    changes = sum(touched.read(compress(written(chunk)), layout) for chunk in chunks)

    assert quickly(touched, changes) == slowly(entry for chunk in chunks for entry in chunk)


@given(entries(), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_only_transactions_between_the_bounds(wanted: list[JournalEntry], one: int, other: int) -> None:
    pool = sorted({one, other, *(entry.commit_lsn for entry in wanted)})
    oldest, newest = pool[len(pool) // 3], pool[2 * len(pool) // 3]
    touched = Touched()

    changes = touched.read(compress(written(wanted)), Layout(RELATIONS), oldest, newest)

    assert quickly(touched, changes) == slowly(e for e in wanted if oldest <= e.commit_lsn <= newest)


@given(st.lists(st.tuples(st.sampled_from("IUOD"), keys, keys), max_size=30))
def test_keys_of_all_lengths_and_none(rows: list[tuple[str, str | None, str | None]]) -> None:
    """Many entries in one chunk, so that what was learnt of one is used on the next."""
    relation = JournalRelation("app.links", ("parent_id", "student_id"))
    made = [JournalEntry(kind, relation, (a, b), AN_LSN, 0) for kind, a, b in rows]
    parts = [begin_entry(AN_LSN, 0)]
    for entry in made:
        parts += [tag(entry.kind.encode(), 7), row([None if v is None else v.encode() for v in entry.values])[2:]]
    touched = Touched()

    changes = touched.read(compress(parts), Layout({7: relation}))

    assert quickly(touched, changes) == slowly(made)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_alike_or_refused_alike(data: bytes) -> None:
    body, touched = compress([data]), Touched()
    try:
        wanted = slowly(read_body(body, RELATIONS))
    except DecodeError:
        wanted = None
    try:
        found = quickly(touched, touched.read(body, Layout(RELATIONS)))
    except DecodeError:
        found = None
    assert found == wanted


@given(entries(), st.data())
def test_a_cut_anywhere_is_refused_alike(wanted: list[JournalEntry], data: st.DataObject) -> None:
    whole = b"".join(written(wanted))
    body = compress([whole[: data.draw(st.integers(0, len(whole)))]])
    touched, layout = Touched(), Layout(RELATIONS)
    touched.read(compress([whole]), layout)  # it has learnt all that there is
    touched.drain()
    try:
        entries_read = list(read_body(body, RELATIONS))
    except DecodeError:
        entries_read = None
    try:
        touched.read(body, layout)
        refused = False
    except DecodeError:
        refused = True
    assert refused == (entries_read is None)


@given(entries(), st.integers(-(2**63), 2**63 - 1))
def test_times_lead_to_the_outermost_commits(wanted: list[JournalEntry], time: int) -> None:
    body = compress(written(wanted))
    since = [e.commit_lsn for e in wanted if e.commit_time >= time]
    until = [e.commit_lsn for e in wanted if e.commit_time <= time]

    assert first_commit_since(body, RELATIONS, time) == (since[0] if since else None)
    assert last_commit_until(body, RELATIONS, time) == (until[-1] if until else None)


@given(entries(), st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_a_key_is_found_wherever_it_stands(wanted: list[JournalEntry], key: str) -> None:
    columns = {"public.users": {"id"}, "app.links": {"student_id"}}
    places = {"public.users": 0, "app.links": 1}

    found = find_entries(compress(written(wanted)), RELATIONS, columns, key)

    assert found == [
        e for e in wanted if e.relation.table in places and (e.kind == "T" or e.values[places[e.relation.table]] == key)
    ]
