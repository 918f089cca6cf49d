"""Sequences that no server sends, and single steps worth seeing."""

from __future__ import annotations

import pytest

from cdc.errors import DecodeError
from cdc.lsn import Lsn
from cdc.routing.collector import Collector
from cdc.routing.feeds import Lane
from cdc.routing.groups import Progress
from cdc.routing.router import Route, Target
from cdc.wire.journal import compress, read_body
from cdc.wire.messages import (
    UNCHANGED,
    Begin,
    Column,
    Commit,
    Delete,
    Insert,
    Message,
    PgMessage,
    Relation,
    StreamStart,
    StreamStop,
    Truncate,
    Update,
)
from tests.support.pgoutput import encode

ROUTES = {
    "public.users": Route("public.users", ("id",), (Target("contacts", Lane.LIVE, 0),)),
    "public.xp": Route("public.xp", ("user_id",), (Target("contacts", Lane.ROLLUP, 0),)),
}
USERS = Relation(1, "public", "users", "d", (Column(True, "id", 25, -1), Column(False, "name", 25, -1)))
XP = Relation(2, "public", "xp", "f", (Column(True, "user_id", 25, -1),))
OTHER = Relation(3, "public", "other", "d", (Column(True, "id", 25, -1),))
ADA = Insert(1, (b"ada", b"Ada"))


def begin(commit: int) -> Begin:
    return Begin(Lsn(commit), 0, 1)


def commit(at: int) -> Commit:
    return Commit(0, Lsn(at), Lsn(at + 10), 0)


def collector(*messages: PgMessage, start: Progress | None = None) -> Collector:
    made = Collector(ROUTES, start or Progress(Lsn(0)))
    for message in messages:
        made.feed([encode(message)])
    return made


@pytest.mark.parametrize(
    ("before", "wrong"),
    [
        ([], ADA),
        ([USERS], ADA),
        ([OTHER], Insert(3, (b"1",))),
        ([USERS], Truncate(0, (1,))),
        ([begin(100)], ADA),
        ([begin(100)], Truncate(0, (1,))),
        ([begin(100), USERS], Truncate(0, (1, 9))),
        ([begin(100)], begin(200)),
        ([], commit(100)),
        ([begin(100)], commit(200)),
        ([begin(100), commit(100)], commit(100)),
        ([begin(100), USERS, commit(100)], ADA),
        ([begin(100), USERS], Insert(1, (b"ada",))),
        ([begin(100), USERS], Insert(1, (UNCHANGED, b"Ada"))),
        ([begin(100), USERS], Delete(1, (b"ada",), "K")),
        ([], StreamStart(1, True)),
        ([], StreamStop()),
    ],
)
def test_a_sequence_that_no_server_sends_is_refused(before: list[PgMessage], wrong: PgMessage) -> None:
    made = collector(*before)
    with pytest.raises(DecodeError):
        made.feed([encode(wrong)])
    assert (made.size, made.has_news) == (0, False)


def test_a_row_behind_a_transaction_that_was_skipped_is_refused_too() -> None:
    made = collector(begin(100), USERS, ADA, commit(100), start=Progress(Lsn(110)))
    with pytest.raises(DecodeError, match="outside a transaction"):
        made.feed([encode(ADA)])


@pytest.mark.parametrize("frame", [b"", b"w" + b"\0" * 24, b"I", b"U\0\0\0\1", b"D\0\0\0\1K", b"I\0\0\0\1N\0\2"])
def test_a_frame_that_ends_early_is_refused(frame: bytes) -> None:
    made = collector(begin(100), USERS)
    with pytest.raises(DecodeError):
        made.feed([frame], 25 if frame[:1] == b"w" else 0)


def test_bytes_behind_a_row_are_refused() -> None:
    made = collector(begin(100), USERS)
    with pytest.raises(DecodeError, match="3 bytes too many"):
        made.feed([encode(ADA) + b"abc"])


def test_a_key_that_is_not_utf8_is_refused_when_the_group_is_taken() -> None:
    made = collector(begin(100), USERS, Insert(1, (b"\xff", b"")))
    with pytest.raises(DecodeError, match="UTF-8"):
        made.take()


def test_a_damaged_change_is_not_counted_as_captured() -> None:
    """Counted, it would be skipped when the transaction is read again."""
    made = collector(begin(100), USERS, ADA)
    with pytest.raises(DecodeError):
        made.feed([encode(ADA)[:-1]])
    assert made.take().progress == Progress(Lsn(0), Lsn(100), 1, 0)


def test_a_group_that_ends_inside_a_transaction_says_how_far_it_is() -> None:
    made = collector(begin(100), USERS, OTHER, ADA, Insert(3, (b"1",)), ADA)
    group = made.take()
    assert group.progress == Progress(Lsn(0), Lsn(100), 3, 0)
    assert group.changes == 2
    made.feed([encode(Insert(1, (b"bob", b"")))])
    made.feed([encode(commit(100))])
    rest = made.take()
    assert rest.progress == Progress(Lsn(110), commit_time=0)
    assert [e.values for e in read_body(compress([rest.body]), rest.relations)] == [("bob",)]


def test_a_key_is_marked_once_for_a_transaction_however_many_groups_it_takes() -> None:
    made = collector(begin(100), USERS, XP, ADA)
    assert [key for _, key in made.take().dirty] == ["ada"]
    made.feed([encode(ADA), encode(Insert(1, (b"bob", b"")))])
    group = made.take()
    assert ([key for _, key in group.dirty], group.changes) == (["bob"], 2)
    made.feed([encode(ADA), encode(commit(100)), encode(begin(200)), encode(ADA)])
    group = made.take()
    assert {key: (d.first_lsn, d.last_lsn) for (_, key), d in group.dirty.items()} == {"ada": (200, 200)}


def test_a_key_that_only_an_earlier_transaction_of_the_group_touched_is_marked_again() -> None:
    made = collector(begin(100), USERS, ADA, commit(100), begin(200), Insert(1, (b"bob", b"")))
    assert {key for _, key in made.take().dirty} == {"ada", "bob"}
    made.feed([encode(ADA), encode(commit(200))])
    assert [key for _, key in made.take().dirty] == ["ada"]


def test_what_is_remembered_of_an_open_transaction_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc.routing.collector._REMEMBERED", 1)
    made = collector(begin(100), USERS, XP, ADA, Insert(1, (b"bob", b"")), Insert(2, (b"cyd",)))
    made.take()
    made.feed([encode(ADA), encode(Insert(1, (b"bob", b""))), encode(Insert(2, (b"cyd",)))])
    assert {key for _, key in made.take().dirty} == {"bob", "cyd"}


def test_reading_again_skips_what_the_open_transaction_had() -> None:
    start = Progress(Lsn(50), Lsn(100), 2)
    made = collector(begin(100), USERS, ADA, start=start)
    assert made.progress == start  # until the stream is past it, the old position holds
    made.feed([encode(ADA)])
    assert not made.has_news
    made.feed([encode(Insert(1, (b"bob", b"")))])
    assert [key for _, key in made.take().dirty] == ["bob"]


def test_what_lies_below_the_position_is_skipped_and_a_transaction_that_begins_there_is_not() -> None:
    made = collector(
        begin(90), USERS, ADA, commit(90), begin(100), Insert(1, (b"bob", b"")), commit(100), start=Progress(Lsn(100))
    )
    assert [key for _, key in made.take().dirty] == ["bob"]


def test_a_key_change_makes_both_keys_dirty() -> None:
    made = collector(begin(100), USERS, Update(1, (b"new", b""), (b"old", None), "K"))
    assert {key for _, key in made.take().dirty} == {"old", "new"}


def test_a_key_that_was_changed_away_keeps_its_first_change() -> None:
    made = collector(begin(100), USERS, Insert(1, (b"old", b"")), commit(100), begin(200))
    made.feed([encode(Update(1, (b"new", b""), (b"old", None), "K"))])
    dirty = made.take().dirty
    assert {key: (d.first_lsn, d.last_lsn) for (_, key), d in dirty.items()} == {"old": (100, 200), "new": (200, 200)}


def test_a_truncate_marks_the_feeds_of_watched_tables_only() -> None:
    made = collector(begin(100), USERS, OTHER, Truncate(0, (3,)))
    assert not made.has_news
    made.feed([encode(Truncate(1, (1, 3)))])
    group = made.take()
    assert (group.truncated, group.dirty, group.changes) == (frozenset({"contacts"}), {}, 1)


def test_the_more_urgent_lane_wins_and_the_span_covers_both() -> None:
    made = collector(begin(100), USERS, XP, Insert(2, (b"ada",)), commit(100), begin(200), ADA, commit(200), begin(300))
    made.feed([encode(Insert(2, (b"ada",)))])
    (dirty,) = made.take().dirty.values()
    assert (dirty.lane, dirty.first_lsn, dirty.last_lsn) == (Lane.LIVE, 100, 300)


def test_a_keepalive_moves_the_position_forward_only_and_never_inside_a_transaction() -> None:
    made = collector(begin(100), commit(100))
    made.advance(Lsn(105))
    assert made.progress.lsn == 110
    made.advance(Lsn(500))
    assert made.progress.lsn == 500
    made.feed([encode(begin(600))])
    made.advance(Lsn(700))
    assert made.progress.lsn == 500


def test_other_messages_say_nothing_about_keys() -> None:
    made = collector(begin(100), Message(1, Lsn(1), "app", b"payload"), commit(100))
    assert not made.has_news
    assert made.progress == Progress(Lsn(110), commit_time=0)


def test_a_watched_table_without_its_key_column_makes_its_feed_deaf_and_is_counted_all_the_same() -> None:
    nameless = Relation(1, "public", "users", "d", (Column(False, "name", 25, -1),))
    made = collector(begin(100), nameless, Insert(1, (b"Ada",)), commit(100))
    group = made.take()
    assert group.deaf == {"contacts": "public.users is published without id"}
    assert (group.dirty, group.changes, group.progress.lsn) == ({}, 1, 110)
    assert made.take().deaf == {}, "said once"
