"""From feeds to routes: which columns of a table hold keys, and of what."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from cdc.routing.feeds import Lane, load_profile, parse_profile
from cdc.routing.router import Route, Target, build_routes
from cdc.wire.messages import Column, Relation

FEED = {"sink": "zoho.contacts", "view": "cdc.v", "key": "k"}


def routes(**watches: object) -> dict[str, Route]:
    raw = {name: {**FEED, "watch": watch} for name, watch in watches.items()}
    return dict(build_routes(parse_profile("made", Path("/nowhere"), raw)))


def relation(*columns: str) -> Relation:
    return Relation(1, "public", "users", "d", tuple(Column(False, name, 25, -1) for name in columns))


def test_a_column_that_two_feeds_want_is_packed_once() -> None:
    made = routes(one={"users": {"key": "id"}}, two={"users": {"key": ["id", "boss"], "lane": "rollup"}})
    assert made == {
        "public.users": Route(
            "public.users",
            ("id", "boss"),
            (Target("one", Lane.LIVE, 0), Target("two", Lane.ROLLUP, 0), Target("two", Lane.ROLLUP, 1)),
        )
    }


def test_a_schema_is_kept_and_public_is_assumed() -> None:
    assert set(routes(one={"app.users": {"key": "id"}, "users": {"key": "id"}})) == {"app.users", "public.users"}


def test_positions_follow_what_is_published_and_not_the_order_in_the_file() -> None:
    route = routes(one={"users": {"key": ["boss", "id"]}})["public.users"]
    assert route.positions_in(relation("x", "id", "boss")) == (2, 1)
    assert route.positions_in(relation("boss", "id")) == (0, 1)


def described(identity: Literal["d", "n", "f", "i"], **columns: bool) -> Relation:
    parts = tuple(Column(is_key, name, 25, -1) for name, is_key in columns.items())
    return Relation(1, "public", "users", identity, parts)


def test_a_key_column_that_is_not_published_makes_only_the_feeds_deaf_that_need_it() -> None:
    route = routes(one={"users": {"key": "id"}}, two={"users": {"key": ["boss", "id"]}})["public.users"]
    fitting, deaf = route.within(described("d", name=False, id=True))
    assert deaf == {"two": "public.users is published without boss"}
    assert fitting.columns == ("id",)
    assert fitting.targets == (Target("one", Lane.LIVE, 0), Target("two", Lane.LIVE, 0))
    assert fitting.positions_in(described("d", name=False, id=True)) == (1,)


@pytest.mark.parametrize("identity", ["d", "n", "i"])
def test_a_key_column_outside_the_identity_makes_a_feed_deaf_to_deletes(identity: Literal["d", "n", "i"]) -> None:
    route = routes(one={"users": {"key": "id"}}, two={"users": {"key": "boss"}})["public.users"]
    fitting, deaf = route.within(described(identity, id=True, boss=False))
    assert deaf == {"two": "the replica identity of public.users lacks boss"}
    assert fitting == route, "inserts and updates still ring"


def test_identity_full_carries_everything() -> None:
    route = routes(one={"users": {"key": "boss"}})["public.users"]
    assert route.within(described("f", id=False, boss=False)) == (route, {})


def test_the_shipped_profile_watches_the_owner_of_every_child() -> None:
    made = build_routes(load_profile("core"))
    assert made["public.user_quests"].columns == ("user_id", "id")
    assert made["public.parent_student_links"].columns == ("parent_user_id", "student_user_id")
    assert made["public.users"].targets == (Target("contacts", Lane.LIVE, 0),)
    assert "public.user_activity_events" not in made
