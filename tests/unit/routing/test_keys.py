"""From packed rows to keys, by the profile of today."""

from __future__ import annotations

from pathlib import Path

from cdc.routing.feeds import parse_profile
from cdc.routing.keys import Retracer, Unwatched
from cdc.routing.router import build_routes
from cdc.wire.journal import JournalRelation
from tests.support.pgoutput import row

FEEDS = {
    "people": {
        "sink": "zoho.contacts", "view": "v", "key": "id",
        "watch": {"people": {"key": "id"}, "links": {"key": ["parent", "student"]}, "awards": {"key": "owner"}},
    },
    "awards": {"sink": "zoho.tasks", "view": "w", "key": "id", "watch": {"awards": {"key": "id"}}},
}  # fmt: skip
ROUTES = build_routes(parse_profile("school", Path("school"), FEEDS))
PEOPLE = JournalRelation("public.people", ("id",))
LINKS = JournalRelation("public.links", ("parent", "student"))
AWARDS = JournalRelation("public.awards", ("owner", "id"))


def packed(*values: str | None) -> bytes:
    return row([None if value is None else value.encode() for value in values])[2:]


def retracer(*feeds: str, keys: set[str] | None = None) -> Retracer:
    return Retracer(ROUTES, frozenset(feeds or FEEDS), None if keys is None else frozenset(keys))


def test_each_key_once_over_all_tables_and_in_the_order_of_the_outbox() -> None:
    found = retracer()
    news = [
        (LINKS, [packed("z", "b"), packed(None, "z")], False),
        (PEOPLE, [packed("b"), packed("a")], False),
        (AWARDS, [packed("a", "9")], False),
    ]

    assert found.take(news) == [("awards", "9"), ("people", "a"), ("people", "b"), ("people", "z")]
    assert found.take(news) == []


def test_only_the_feeds_and_keys_that_are_wanted() -> None:
    news = [(AWARDS, [packed("a", "1"), packed("b", "2")], False)]

    assert retracer("people").take(news) == [("people", "a"), ("people", "b")]
    assert retracer(keys={"b", "1"}).take(news) == [("awards", "1"), ("people", "b")]


def test_columns_are_found_by_name_in_whatever_order_they_were_packed() -> None:
    news = [(JournalRelation("public.awards", ("id", "owner")), [packed("9", "a")], False)]

    assert retracer().take(news) == [("awards", "9"), ("people", "a")]


def test_a_table_captured_before_a_feed_watched_it_is_named() -> None:
    found = retracer()

    assert found.take([(JournalRelation("public.awards", ("id",)), [packed("9")], False)]) == [("awards", "9")]

    assert found.unwatched == {Unwatched("people", "public.awards", "owner")}


def test_a_table_that_nobody_watches_any_more_touches_nothing() -> None:
    found = retracer()
    assert found.take([(JournalRelation("public.old", ("id",)), [packed("9")], True)]) == []
    assert (found.truncated, found.unwatched) == (set(), set())


def test_a_truncation_touches_every_feed_of_its_table() -> None:
    for columns in (("owner", "id"), ("id",)):
        found = retracer()
        found.take([(JournalRelation("public.awards", columns), [], True)])
        assert found.truncated == {"awards", "people"}


def test_keys_from_elsewhere_are_given_once_too() -> None:
    found = retracer(keys={"a", "c"})
    found.take([(PEOPLE, [packed("a")], False)])

    assert found.new_of("people", ["c", "a", "b"]) == [("people", "c")]
    assert found.new_of("people", ["c", "a", "b"]) == []
