"""What the fast way remembers, and what it must not."""

from __future__ import annotations

import pytest

from cdc.errors import DecodeError
from cdc.wire.journal import JournalRelation, begin_entry, compress, tag
from cdc.wire.touched import Layout, Touched
from tests.support.pgoutput import row

USERS = JournalRelation("public.users", ("id",))
LINKS = JournalRelation("public.links", ("parent_id", "student_id"))


def packed(*values: str | None) -> bytes:
    return row([None if value is None else value.encode() for value in values])[2:]


def test_a_row_is_given_once_however_often_and_in_however_many_chunks_it_comes() -> None:
    touched = Touched()
    here, there = Layout({0: USERS}), Layout({5: USERS, 0: LINKS})

    touched.read(compress([begin_entry(1, 0), tag(b"I", 0), packed("ada"), tag(b"U", 0), packed("ada")]), here)
    assert touched.drain() == [(USERS, [packed("ada")], False)]
    touched.read(compress([begin_entry(2, 0), tag(b"U", 5), packed("ada"), tag(b"U", 0), packed("p", "s")]), there)
    assert touched.drain() == [(LINKS, [packed("p", "s")], False)]
    assert touched.drain() == []


def test_what_is_learnt_has_an_end() -> None:
    """Keys of every length would fill the memory; beyond some thousands nothing is learnt, and all is still read."""
    wanted = [str(n) * (n % 97) + "x" * n for n in range(5_000)]
    parts = [begin_entry(1, 0)]
    for key in wanted:
        parts += [tag(b"U", 0), packed(key)]
    touched, layout = Touched(), Layout({0: USERS})

    assert touched.read(compress(parts), layout) == len(wanted)

    assert touched.drain() == [(USERS, [packed(key) for key in wanted], False)]
    assert layout.learnt < len(wanted)


def test_an_old_key_is_a_row_and_no_change() -> None:
    touched = Touched()
    body = compress([begin_entry(1, 0), tag(b"O", 0), packed("ada"), tag(b"U", 0), packed("countess")])

    assert [touched.read(body, Layout({0: USERS})) for _ in range(2)] == [1, 1]

    assert touched.drain() == [(USERS, [packed("ada"), packed("countess")], False)]


def test_a_truncation_outside_the_bounds_is_none() -> None:
    touched = Touched()
    body = compress([begin_entry(1, 0), tag(b"T", 0), begin_entry(2, 0), tag(b"U", 0), packed("ada")])

    assert touched.read(body, Layout({0: USERS}), 2, 2) == 1

    assert touched.drain() == [(USERS, [packed("ada")], False)]


@pytest.mark.parametrize("cut", range(1, 11))
def test_an_entry_cut_short_is_refused_even_where_its_beginning_is_known(cut: int) -> None:
    whole = b"".join([begin_entry(1, 0), tag(b"U", 0), packed("ada"), tag(b"U", 0), packed("bob")])
    with pytest.raises(DecodeError):
        Touched().read(compress([whole[:-cut]]), Layout({0: USERS}))
