"""From a row as JSON to keys: the same keys as the stream gives, and never a guess."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from cdc.errors import ProfileError
from cdc.routing.feeds import Lane, load_profile, parse_profile
from cdc.routing.rings import key_text, ring_of, ring_of_hint
from cdc.routing.router import Route, Target, build_routes

FEED = {"sink": "zoho.contacts", "view": "cdc.v", "key": "k"}
ROUTE = Route(
    "public.items",
    ("id", "owner"),
    (Target("items", Lane.LIVE, 0), Target("people", Lane.ROLLUP, 1)),
)


def test_an_insert_touches_the_keys_of_the_new_row() -> None:
    ring = ring_of(ROUTE, "INSERT", {"id": 7, "owner": "a", "body": "x"}, None)
    assert ring.keys == {("items", "7"): Lane.LIVE, ("people", "a"): Lane.ROLLUP}
    assert ring.is_whole


def test_an_update_touches_the_old_owner_too() -> None:
    ring = ring_of(ROUTE, "UPDATE", {"id": 7, "owner": "b"}, {"id": 7, "owner": "a"})
    assert set(ring.keys) == {("items", "7"), ("people", "a"), ("people", "b")}
    assert ring.is_whole


@pytest.mark.parametrize(
    ("kind", "record", "old"),
    [
        ("DELETE", None, {"id": 7}),  # with row-level security: the primary key alone
        ("UPDATE", {"id": 7, "owner": "b"}, {"id": 7}),
        ("INSERT", {"id": 7}, None),
        ("INSERT", {"id": 7, "owner": 1.5}, None),
        ("INSERT", {"id": 7, "owner": ["a"]}, None),
        ("DELETE", {"id": 7, "owner": "b"}, None),
    ],
)
def test_what_does_not_say_all_keys_is_not_whole(
    kind: str, record: dict[str, object] | None, old: dict[str, object] | None
) -> None:
    assert not ring_of(ROUTE, kind, record, old).is_whole


def test_a_null_owner_is_no_key_and_no_doubt() -> None:
    ring = ring_of(ROUTE, "INSERT", {"id": 7, "owner": None}, None)
    assert (set(ring.keys), ring.is_whole) == ({("items", "7")}, True)


def test_of_two_lanes_the_more_urgent_one_counts() -> None:
    route = Route("public.t", ("a", "b"), (Target("f", Lane.ROLLUP, 0), Target("f", Lane.LIVE, 1)))
    assert ring_of(route, "INSERT", {"a": "x", "b": "x"}, None).keys == {("f", "x"): Lane.LIVE}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"), (7, "7"), (2**63 - 1, "9223372036854775807"), (True, "true"), (Decimal("12.50"), "12.50"),
        (Decimal("1E+3"), "1000"), (1.0, None), (None, None), ({}, None), ("a\0b", None),
        ("\ud800", None), ("ü\n", "ü\n"),
    ],
)  # fmt: skip
def test_a_key_is_written_as_postgres_writes_it_or_not_at_all(value: object, text: str | None) -> None:
    assert key_text(value) == text


@pytest.mark.parametrize(
    ("profile", "name", "payload", "keys"),
    [
        ("core", "user-signup", {"user_id": "u"}, {("contacts", "u")}),
        ("core", "quest-complete", {"enrolment_id": "e"}, {("quest_completions", "e")}),
        ("core", "quest-complete", {"enrolment_id": "e", "user_id": "u", "title": "x"},
         {("quest_completions", "e"), ("contacts", "u")}),
        ("core", "badge-earned", {"award_id": "a"}, {("badges_earned", "a")}),
        ("core", "badge-earned", {"badge": "a"}, set()),
        ("core", "user-signup", {"user_id": {"id": "u"}}, set()),
        ("2026", "user-signup", {"user_id": "u"}, {("contacts", "u")}),
        ("2026", "quest-complete", {"enrolment_id": "e"}, {("quest_completions", "e")}),
    ],
)  # fmt: skip
def test_the_shipped_profiles_say_what_each_webhook_rings_for(
    profile: str, name: str, payload: dict[str, object], keys: set[tuple[str, str]]
) -> None:
    read = load_profile(profile)
    doorbell = read.doorbells[name]
    ring = ring_of_hint(build_routes(read)[f"public.{doorbell.table}"], doorbell, payload)
    assert set(ring.keys) == keys


@pytest.mark.parametrize(
    ("doorbells", "words"),
    [
        ({"x": {"table": "users", "fields": {"a": "name"}}}, "users.name is no key of any feed"),
        ({"x": {"table": "noise", "fields": {"a": "id"}}}, "noise.id is no key of any feed"),
        ({"X": {"table": "users", "fields": {"a": "id"}}}, "lower case letters"),
        ({"x": {"table": "users", "fields": {}}}, "fields"),
        ({"x": {"table": "users"}}, "fields"),
        (3, "must be a table"),
    ],
)
def test_a_doorbell_that_cannot_ring_is_refused_with_its_name(doorbells: object, words: str) -> None:
    raw = {"people": {**FEED, "watch": {"users": {"key": "id"}}}, "doorbells": doorbells}
    with pytest.raises(ProfileError, match=r"doorbell") as caught:
        parse_profile("made", Path("/nowhere"), raw)
    assert words in str(caught.value)
