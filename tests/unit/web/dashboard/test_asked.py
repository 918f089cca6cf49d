"""Addresses and forms: what is taken, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdc.web.dashboard import asked
from cdc.web.dashboard.acting import check_typed, described
from cdc.web.dashboard.paging import Cursor, parse_cursor
from cdc.web.refusals import Refusal
from tests.support.status import NOW

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80)
times = st.datetimes(timezones=st.sampled_from([UTC]))


@given(times, texts, texts)
def test_a_cursor_comes_back_as_it_was(at: datetime, feed: str, key: str) -> None:
    cursor = Cursor(at, feed, key)
    assert parse_cursor(str(cursor)) == cursor
    assert str(cursor).isascii()
    assert not set(str(cursor)) & set("+/=&?#")


@given(st.text(max_size=200))
@example("W10")  # []
@example("WyJub3ciLCAiYSIsICJiIl0")  # no time
@example("WyIyMDI2LTAzLTAyVDA5OjMwOjAwIiwgImEiLCAiYiJd")  # no zone
@example("9" * 5_000)
def test_any_other_text_is_refused_and_never_fails(text: str) -> None:
    with suppress(Refusal):
        found = parse_cursor(text)
        assert (found is None) == (text == "")
        assert found is None or found.at.tzinfo is not None


def test_a_selection_leaves_out_what_the_breaker_holds() -> None:
    found = asked.selection({"reason": " FIELD_TOO_LONG ", "feed": "", "since": "24h", "key": "k"}, NOW)
    assert (found.reason, found.feed, found.keys, found.without) == ("FIELD_TOO_LONG", None, ["k"], "HELD_BY_BREAKER")
    assert found.since == NOW - timedelta(hours=24)


@pytest.mark.parametrize(
    "given_",
    [{"since": "3 weeks"}, {"key": "a\0b"}, {"feed": "x" * 501}, {"until": "yesterday"},
     {"until": "2026-03-02T09:00:00"}, {"reason": "\ud800"}],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(given_: dict[str, str]) -> None:
    with pytest.raises(Refusal) as refusal:
        asked.selection(given_, NOW)
    assert refusal.value.status == 422


@pytest.mark.parametrize(("text", "number"), [("12", 12), ("1,234", 1234), ("", None)])
def test_a_number_may_have_its_thousands_apart(text: str, number: int | None) -> None:
    assert asked.whole({"n": text}, "n") == number


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "9" * 19, "١٢"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        asked.whole({"n": text}, "n")


@pytest.mark.parametrize(
    ("form", "count", "status"),
    [
        ({"expected": "5"}, 5, None), ({"expected": "5"}, 3, None), ({"expected": "5"}, 6, 409), ({}, 1, 409),
        ({"expected": "101"}, 101, 422), ({"expected": "101", "typed": "101"}, 101, None),
        ({"expected": "1234", "typed": "1,234"}, 1_000, None), ({"expected": "101", "typed": "100"}, 101, 422),
    ],
)  # fmt: skip
def test_many_need_their_number_typed_and_more_than_was_shown_are_refused(
    form: dict[str, str], count: int, status: int | None
) -> None:
    if status is None:
        check_typed(form, count)
        return
    with pytest.raises(Refusal) as refusal:
        check_typed(form, count)
    assert refusal.value.status == status


def test_what_was_chosen_is_put_into_words() -> None:
    assert described(feed="contacts", reason=None, key="k") == "feed contacts, key k"
    assert described(feed="") == "everything"
