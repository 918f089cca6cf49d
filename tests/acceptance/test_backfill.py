"""`cdc backfill`: the price before, the work, and holding it up."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.processes import Cdc, Crm, wait_until
from tests.acceptance.test_terminal import at_terminal
from tests.support.postgres import Database


def count(source: Database, query: str) -> int:
    return int(source.execute(f"select count(*) from {query}")[0][0])


@pytest.fixture
def ready(configured: Cdc) -> Cdc:
    """Set up, and with so low a limit that the sample people go in a bulk job."""
    assert configured("setup").code == 0
    return configured.using(CDC_BULK_FROM="3")


def test_a_dry_run_prices_both_ways_and_by_itself_takes_the_cheaper_one(ready: Cdc, source: Database, crm: Crm) -> None:
    found = ready("backfill", "--dry-run", "--json").json
    people = count(source, "cdc.contacts")
    assert found["feeds"]["contacts"] == {
        "compared": people,
        "records": people,
        "gone": 0,
        "jobs": [people],
        "by_ordinary_calls": 0,
        "credits": 500,
        "credits_by_ordinary_calls": -(-people // 10),
    }
    assert found["feeds"]["quest_completions"]["by_ordinary_calls"] == count(source, "cdc.quest_completions")
    assert found["credits_left"] > 0
    found = ready.using(CDC_BULK_FROM="")("backfill", "contacts", "--dry-run", "--json").json
    assert (found["feeds"]["contacts"]["jobs"], list(found["feeds"])) == ([], ["contacts"])
    assert found["credits"] == found["credits_by_ordinary_calls"] == -(-people // 10)
    assert (crm.calls(), count(source, "cdc.outbox")) == ([], 0)


def test_without_somebody_to_ask_it_wants_a_yes(ready: Cdc, source: Database) -> None:
    ready("backfill").refused(2, "nobody to ask", "--yes")
    assert count(source, "cdc.outbox") == 0


def test_a_feed_that_is_none_is_named(configured: Cdc) -> None:
    configured("backfill", "nobody").refused(2, "no feed 'nobody'", "contacts")


def test_on_a_terminal_it_asks_first(ready: Cdc, source: Database) -> None:
    with at_terminal(ready, "backfill") as terminal:
        terminal.shows("Spend up to")
        terminal.type("n\n")
        assert terminal.wait() == 1
    assert count(source, "cdc.outbox") == 0


def test_it_marks_follows_and_ends_when_all_is_delivered(ready: Cdc, source: Database, crm: Crm) -> None:
    with ready.running("worker") as worker:
        worker.says("delivery_started")
        result = ready("backfill", "--yes", "--json")
    assert result.code == 0, result.err
    last = result.json
    assert (last["left"], last["jobs"][0]["state"]) == (0, "done")
    assert last["jobs"][0]["created"] == count(source, "cdc.contacts") == len(crm.records("Contacts"))
    assert len(crm.records("Tasks")) == count(source, "cdc.quest_completions")
    assert len(crm.calls(kind="bulk_write")) == 1
    assert "delivered" in result.err
    again = ready("backfill", "--dry-run", "--json").json
    assert (again["records"], again["credits"]) == (0, 0)


def test_a_paused_lane_holds_the_backfill_and_lets_live_changes_through(ready: Cdc, source: Database, crm: Crm) -> None:
    assert "paused" in ready("backfill", "pause").out
    with ready.running("run") as run, ready.running("backfill", "--yes") as backfill:
        run.says("delivery_started")
        wait_until(lambda: "paused by hand" in backfill.err, what="the backfill says that it is paused")
        source.execute(
            "update public.users set first_name = 'Zora'"
            " where id = (select user_id from cdc.contacts order by 1 limit 1)"
        )
        wait_until(lambda: crm.records("Contacts"), what="a live change goes through")
        held = json.loads(ready("backfill", "status", "--json").out)
        assert held["paused"]
        assert held["feeds"]["contacts"]["waiting"] == count(source, "cdc.contacts") - 1
        assert len(crm.records("Contacts")) == 1
        assert "goes on" in ready("backfill", "resume").out
        assert backfill.wait().code == 0
    assert len(crm.records("Contacts")) == count(source, "cdc.contacts")
    assert "done" in ready("backfill", "status").out


def test_a_run_until_idle_does_not_wait_for_a_paused_lane(ready: Cdc, crm: Crm) -> None:
    ready("backfill", "pause")
    assert ready("run", "--until-idle").code == 3
    assert crm.records("Contacts") == []


def test_ctrl_c_ends_the_showing_and_not_the_work(ready: Cdc, source: Database) -> None:
    with ready.running("backfill", "--yes") as backfill:
        wait_until(lambda: "nobody delivers" in backfill.err, what="it says that nobody delivers")
        result = backfill.stop()
    assert result.code == 0
    assert "the work goes on" in result.err
    assert count(source, "cdc.outbox where lane = 'bulk'") > 0
