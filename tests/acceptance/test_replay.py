"""`cdc replay`, `cdc journal` and `cdc explain`, as an operator meets them."""

from __future__ import annotations

import json
import re

import pytest

from tests.acceptance.processes import Cdc, Crm, approve_rewrites
from tests.acceptance.test_terminal import at_terminal
from tests.support.postgres import Database


@pytest.fixture
def delivered(configured: Cdc, source: Database) -> Cdc:
    """A pipeline that has delivered everybody; then everybody was written again, which changes nothing they'd see."""
    assert configured("run", "--until-idle").code == 0
    source.execute("update public.users set bio = 'x' where id in (select user_id from cdc.contacts)")
    assert configured("run", "--until-idle").code == 0
    return configured


def test_a_window_is_shown_rehearsed_replayed_and_forced(delivered: Cdc, source: Database, crm: Crm) -> None:
    people = len(crm.records("Contacts"))
    writes = len(crm.writes())
    told = delivered("journal", "--json").json
    [span] = told["spans"]
    assert (told["kept_days"], told["kept_mb"], told["gaps"]) == (7, 1024, [])
    assert (span["changes"], span["chunks"] > 0, span["bytes"] > 0) == (people, True, True)
    words = delivered("journal").out
    assert f"from {span['from_lsn']} to" in words
    assert "7 days, and 1024 MB at most" in words
    begin = ("replay", "--from-lsn", span["from_lsn"])
    delivered("replay", "--since", "1h").refused(2, "is older than the journal", "cdc sweep", "--since 20")
    delivered("replay", "--from-lsn", "0/1").refused(
        2, "0/1 is older than the journal", "--from-lsn " + span["from_lsn"]
    )
    delivered("replay", "--from-lsn", "FFFFFFFF/0").refused(2, "beyond the end", "cdc journal")

    [(user, name)] = source.execute(
        'select user_id::text, "First_Name" from cdc.contacts where "First_Name" > \'\' limit 1'
    )
    source.execute("update cdc.ledger set field_hashes = field_hashes - '{Level,Email}'::text[] where key = %s", [user])
    dry = delivered(*begin, "--dry-run")
    assert dry.code == 0, dry.text
    assert f"contacts: {people} records touched; 1 to be changed, {people - 1} equal" in dry.out
    assert "fields that differ: Email 1, Level 1" in dry.out
    assert "1 calls, 1 credits" in dry.out
    assert "nothing was marked" in dry.out
    assert name not in dry.text, "no row value is printed"
    assert source.execute("select count(*) from cdc.outbox") == [(0,)]

    done = delivered(*begin, "--feed", "contacts", "--json").json
    assert (done["finished"], done["marked"], done["feeds"]) == (True, people, {"contacts": people})
    assert delivered("run", "--until-idle").code == 0
    assert [call["records"] for call in crm.writes()[writes:]] == [1], "what is equal was sent"

    assert f"{people} keys marked" in delivered(*begin, "--force").out
    assert delivered("run", "--until-idle").code == 3, "a hundred have gone, the rest is held"
    approve_rewrites(delivered)
    assert delivered("run", "--until-idle").code == 0
    assert sum(call["records"] for call in crm.writes()[writes + 1 :]) == people
    noted = source.execute("select action, count from cdc.audit order by id")
    assert noted[:2] == [("replay.start", people), ("replay.start", people)]
    assert {action for action, _ in noted[2:]} == {"held.approve"}


def test_with_wait_it_ends_when_all_is_delivered_or_parked(delivered: Cdc, source: Database, crm: Crm) -> None:
    users = [user for (user,) in source.execute("select user_id::text from cdc.contacts order by 1 limit 20")]
    lsn = delivered("journal", "--json").json["spans"][0]["from_lsn"]
    crm.fault(
        action="refuse", kind="upsert", code="INVALID_DATA",
        where={"External_ID": users[0]}, details={"api_name": "Last_Name"},
    )  # fmt: skip
    few = ("replay", "--from-lsn", lsn, *(word for user in users for word in ("--key", user)))
    with delivered.running("run") as run:
        run.says("delivery_started")
        waited = delivered(*few, "--force", "--wait", "--json")
        assert (waited.code, waited.json["undelivered"], waited.json["parked"]) == (3, 0, 1), waited.text
        with at_terminal(delivered, *few, "--wait") as terminal:
            text = terminal.shows("all of it is delivered", within=60)
            assert terminal.wait() == 0
        run.stop()
    assert "reading the journal" in text
    assert "delivering" in text
    assert "1 are parked and were left so" in text


def test_a_record_s_story(delivered: Cdc, source: Database, crm: Crm) -> None:
    [(user, first, last)] = source.execute(
        'select user_id::text, "First_Name", "Last_Name" from cdc.contacts where length("First_Name") > 3 limit 1'
    )
    crm_id = next(record["id"] for record in crm.records("Contacts") if record["External_ID"] == user)
    spent = crm.credits()["used"]

    told = delivered("explain", user)

    assert told.code == 0, told.text
    for words in ("public.users  updated", "create  success", f"CRM id {crm_id}", "equal", "nothing differs"):
        assert words in told.out
    for value in (first, last):
        assert value not in told.text, "a value is shown, or logged"
    assert crm.credits()["used"] == spent + 1
    as_json = delivered("explain", "contacts", user, "--json")
    assert as_json.json["crm"][0]["crm_id"] == crm_id
    assert {field["equal"] for field in as_json.json["crm"][0]["fields"]} == {True}
    assert first not in json.dumps(as_json.json)

    spent = crm.credits()["used"]
    source.execute("update public.users set first_name = 'Zora' where id = %s", [user])
    offline = delivered("explain", crm_id, "--offline")
    assert "update  First_Name" in re.sub(r"Display_Name, ", "", offline.out)
    assert "nobody has marked it" in offline.out
    assert "not asked" in offline.out
    assert crm.credits()["used"] == spent

    with at_terminal(delivered, "explain", "contacts", user, "--reveal") as terminal:
        text = terminal.shows("so\r\n")
        assert terminal.wait() == 0
    assert re.search(rf"First_Name\s+differs\s+view: Zora\s+CRM: {first}", text)
    assert not any("Zora" in line for line in text.splitlines() if '"event"' in line)

    nobody = "00000000-0000-4000-8000-000000000000"
    never = delivered("explain", "contacts", nobody)
    for words in (
        "none since",
        "never came to delivery",
        "the gate",
        "no change of it was captured since",
        "not there",
    ):
        assert words in never.out
    delivered("explain", nobody).refused(2, "is known in no feed", f"cdc explain FEED {nobody}")


def test_before_anything_was_captured(configured: Cdc) -> None:
    assert configured("setup").code == 0
    configured("replay", "--since", "1h").refused(2, "nothing was ever captured", "cdc run")
