"""What feeds.toml may say, and what the shipped ones say."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from cdc.errors import ProfileError
from cdc.routing.feeds import Lane, Profile, load_profile, parse_profile, qualified

GOOD: dict[str, Any] = {
    "contacts": {
        "sink": "zoho.contacts",
        "view": "cdc.contacts",
        "key": "user_id",
        "external_id": "External_ID",
        "gone": "delete",
        "watch": {"users": {"key": "id"}, "links": {"key": ["parent_id", "student_id"], "lane": "rollup"}},
        "fields": {"Seen_At": {"label": "Seen At", "type": "datetime", "lane": "daily"}},
    },
    "events": {
        "sink": "zoho.tasks",
        "view": "cdc.events",
        "key": "row_id",
        "once": "event_id",
        "needs": "contacts",
        "parent": "user_id",
        "watch": {"happenings": {"key": "id"}},
    },
}


def parse(raw: dict[str, Any]) -> Profile:
    return parse_profile("mine", Path("/profiles/mine"), raw)


def changed(path: str, value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(GOOD)
    *steps, last = path.split("/")
    node = raw
    for step in steps:
        node = node[step]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return raw


def test_a_good_file() -> None:
    profile = parse(GOOD)
    contacts, events = profile.feeds["contacts"], profile.feeds["events"]
    assert contacts.watch["links"].keys == ("parent_id", "student_id")
    assert (contacts.watch["users"].lane, contacts.watch["links"].lane) == (Lane.LIVE, Lane.ROLLUP)
    assert contacts.lane_of(["Seen_At"]) is Lane.DAILY
    assert contacts.lane_of(["Seen_At", "First_Name"]) is Lane.LIVE
    assert contacts.own_columns == {"user_id"}
    assert events.own_columns == {"row_id", "event_id", "user_id"}
    assert profile.dependents("contacts") == (events,)
    assert profile.dependents("events") == ()
    assert profile.feeds_file == Path("/profiles/mine/feeds.toml")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("contacts/colour", "red", "contacts: colour"),
        ("contacts/key", None, "contacts: key"),
        ("contacts/key", "user-id", "contacts: key"),
        ("contacts/view", "a.b.c", "contacts: view"),
        ("contacts/view", 'cdc."x', "contacts: view"),
        ("contacts/sink", "zoho", "contacts: sink"),
        ("contacts/gone", "hide", "contacts: gone"),
        ("contacts/withdraw_limit", -1, "contacts: withdraw_limit"),
        ("contacts/watch", {}, "contacts: watch"),
        ("contacts/watch/users", {"key": "id", "lane": "bulk"}, "contacts: watch.users.lane"),
        ("contacts/watch/users", {"lane": "live"}, "contacts: watch.users.key"),
        ("contacts/fields/Seen_At", {"label": "x" * 26, "type": "date"}, "contacts: fields.Seen_At.label"),
        ("contacts/fields/Seen_At", {"label": "x", "type": "colour"}, "contacts: fields.Seen_At.type"),
        ("contacts/fields/Seen_At", {"label": "x", "type": "text", "length": 451}, "contacts: fields.Seen_At.length"),
        ("events/parent", None, "needs and parent go together"),
        ("events/needs", None, "needs and parent go together"),
        ("events/needs", "events", "is not another feed"),
        ("events/needs", "nobody", "is not another feed"),
        ("Events", GOOD["contacts"], "lower case"),
        ("title", "mine", "must be a table"),
    ],
)
def test_a_mistake_is_named_with_file_feed_and_entry(path: str, value: Any, says: str) -> None:
    with pytest.raises(ProfileError, match=r"/profiles/mine/feeds\.toml") as error:
        parse(changed(path, value))
    assert says in str(error.value)


def test_needs_goes_one_step(tmp_path: Path) -> None:
    raw = changed("third", {**GOOD["events"], "needs": "events"})
    with pytest.raises(ProfileError, match="one step is the limit"):
        parse(raw)


def test_no_feeds_is_an_error() -> None:
    with pytest.raises(ProfileError, match="no feeds"):
        parse({})


def test_a_profile_is_found_by_name_or_by_folder(tmp_path: Path) -> None:
    assert load_profile("core").name == "core"
    (tmp_path / "feeds.toml").write_text('[a]\nsink = "zoho.contacts"\nview = "v"\nkey = "k"\nwatch.t.key = "k"\n')
    assert load_profile(str(tmp_path)).feeds["a"].view == "v"


def test_a_missing_profile_names_those_that_ship() -> None:
    with pytest.raises(ProfileError, match="2026, core"):
        load_profile("corr")


@pytest.mark.parametrize("body", ["[a", "\xff"])
def test_a_file_that_is_not_toml(tmp_path: Path, body: str) -> None:
    (tmp_path / "feeds.toml").write_bytes(body.encode("latin-1"))
    with pytest.raises(ProfileError, match="not valid TOML"):
        load_profile(str(tmp_path))


def test_qualified() -> None:
    assert qualified("users") == "public.users"
    assert qualified("cdc.contacts") == "cdc.contacts"


@pytest.mark.parametrize("name", ["core", "2026"])
def test_shipped_profiles(name: str) -> None:
    profile = load_profile(name)
    contacts, completions = profile.feeds["contacts"], profile.feeds["quest_completions"]
    assert (contacts.gone, contacts.mandatory) == ("delete", ("Last_Name",))
    assert contacts.fields["External_ID"].unique
    assert completions.fields["Event_ID"].unique
    assert completions.external_id == "Event_ID"
    assert {feed.name for feed in profile.dependents("contacts")} == set(profile.feeds) - {"contacts"}
    assert ("badges_earned" in profile.feeds) == (name == "core")
    assert contacts.watch["parent_student_links"].keys == ("parent_user_id", "student_user_id")
    assert contacts.lane_of(["Last_Active_At", "Current_Streak"]) is Lane.DAILY
    assert contacts.lane_of(["Last_Active_At", "Total_XP"]) is Lane.ROLLUP
    assert contacts.lane_of(["Total_XP", "Email"]) is Lane.LIVE


@pytest.mark.parametrize("name", ["core", "2026"])
def test_the_crm_will_make_the_api_names_that_the_views_use(name: str) -> None:
    """Zoho makes an API name from the label, with underscores for blanks, and takes no double or trailing ones."""
    for feed in load_profile(name).feeds.values():
        for api_name, crm in feed.fields.items():
            assert crm.label.replace(" ", "_") == api_name
            assert "__" not in api_name
            assert not api_name.endswith("_")


def test_a_field_may_be_theirs() -> None:
    contacts = parse(changed("contacts/owners", {"Phone": "theirs", "Email": "ours"})).feeds["contacts"]
    assert contacts.theirs == {"Phone"}


@pytest.mark.parametrize(
    ("feed", "owners", "words"),
    [
        ("contacts", {"Phone": "fill"}, "is not kept"),
        ("contacts", {"user_id": "theirs"}, "goes into every call"),
        ("contacts", {"External_ID": "theirs"}, "goes into every call"),
        ("contacts", {"Phone": "nobody's"}, "owners.Phone"),
        ("events", {"Subject": "theirs"}, "an event is sent once"),
    ],
)
def test_an_owner_that_cannot_be_kept_is_refused(feed: str, owners: dict[str, str], words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        parse(changed(f"{feed}/owners", owners))
