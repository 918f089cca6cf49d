"""The six numbers and the path, from statuses made by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cdc.routing.feeds import Lane
from cdc.runtime.plans import Every
from cdc.state.activity import Interval
from cdc.state.credits import Usage
from cdc.state.jobs import Outcome, Run
from cdc.watch.condition import Condition, State
from cdc.watch.status import Doorbell
from cdc.web.dashboard.figures import Figure, figures
from cdc.web.dashboard.home import mark_of
from cdc.web.dashboard.path import Mark, Stage, stages
from cdc.web.dashboard.tables import backfilling, by_hour, highest_by_hour, queue, schedule
from tests.support.status import MEGABYTE, NOW, activity, behind, count, gap, pause, slot, spending, status


def figure(name: str, **changes: Any) -> Figure:
    return next(one for one in figures(status(**changes)) if one.name.startswith(name))


def stage(name: str, **changes: Any) -> Stage:
    return next(one for one in stages(status(**changes)) if one.name == name)


def test_a_fine_status_has_no_mark_but_ok() -> None:
    assert {one.mark for one in figures(status())} == {Mark.OK}
    assert {one.mark for one in stages(status())} == {Mark.OK}


def test_freshness_is_the_age_of_the_oldest_change_that_is_not_in_the_crm() -> None:
    old = [count(due=1, oldest=NOW - timedelta(seconds=107))]
    assert (figure("Freshness").value, figure("Freshness", outbox=old).value) == ("0 s", "1 min 47 s")
    assert figure("Freshness", outbox=old).mark is Mark.ATTENTION
    gathering = [count(lane=Lane.ROLLUP, gathering=1, oldest=NOW - timedelta(seconds=107))]
    assert figure("Freshness", outbox=gathering).mark is Mark.OK, "what gathers isn't late"


def test_waiting_counts_records_and_says_what_becomes_of_them() -> None:
    found = figure("Waiting", outbox=[count(due=1_000, in_flight=4, retrying=2, parked=9)])
    assert (found.value, found.note) == ("1,006", "4 under way, 2 tried again")


def test_success_is_of_what_ended() -> None:
    assert figure("Success", activity=activity(succeeded=997, failed=3, retrying=50)).value == "99.7%"
    few = figure("Success", activity=activity(succeeded=9, failed=1))
    assert (few.value, few.note, few.mark) == ("90.0%", "1 of 10 failed", Mark.ATTENTION)
    assert figure("Success", activity=activity(succeeded=0, failed=0)).value == "–"


@pytest.mark.parametrize(
    ("used", "mark"), [(100, Mark.OK), (850, Mark.ATTENTION), (1_000, Mark.BROKEN), (1_200, Mark.BROKEN)]
)
def test_credits_have_a_limit(used: int, mark: Mark) -> None:
    spent = spending(limit=1_000, by_kind={"upsert": Usage(calls=1, credits=used)}, last_hour=0)
    found = figure("Credits", credits=spent)
    assert (found.value, found.of, found.mark) == (f"{used:,}", "of 1,000", mark)
    assert found.used == min(1.0, used / 1_000)


def test_credits_say_how_long_they_last() -> None:
    spent = spending(limit=1_000, by_kind={"upsert": Usage(calls=1, credits=500)}, last_hour=250)
    assert figure("Credits", credits=spent).note == "at this rate 2 h left"


def test_wal_held_is_measured_by_the_limit_or_by_the_disk() -> None:
    assert figure("WAL", slot=slot(retained_wal_bytes=61 * MEGABYTE)).value == "61.0 MB"
    assert figure("WAL", slot=slot(retained_wal_bytes=3_000 * MEGABYTE)).mark is Mark.ATTENTION
    assert figure("WAL", slot=slot(limit_bytes=None, safe_wal_bytes=None)).of == "no limit"
    assert figure("WAL", slot=slot(runway_seconds=600)).note == "lost in 10 min at this rate"
    assert figure("WAL", slot=None).mark is Mark.WAITING


def test_needs_a_person_counts_parked_held_and_undecided() -> None:
    found = figure(
        "Needs", outbox=[count(parked=5)], held={"contacts": 2}, gaps=[gap(needs_decision=True, repaired_at=None)]
    )
    assert (found.value, found.note, found.mark) == ("6", "3 failed · 2 held · 1 gap", Mark.ATTENTION)
    assert figure("Needs", outbox=[count(parked=2)], held={"contacts": 2}).href == "/held"


@pytest.mark.parametrize(
    ("changes", "name", "mark"),
    [
        ({"slot": None}, "Postgres", Mark.BROKEN),
        ({"slot": slot(exists=False)}, "Capture", Mark.BROKEN),
        ({"slot": slot(wal_status="lost")}, "Capture", Mark.BROKEN),
        ({"workers": []}, "Capture", Mark.BROKEN),
        ({"slot": slot(captured=behind(10_000, 400.0))}, "Capture", Mark.BROKEN),
        ({"slot": slot(captured=behind(10_000, 90.0))}, "Capture", Mark.ATTENTION),
        ({"outbox": [count(due=1, oldest=NOW - timedelta(minutes=5))]}, "Outbox", Mark.ATTENTION),
        ({"pauses": [pause(scope="*")]}, "Delivery", Mark.BROKEN),
        ({"pauses": [pause(scope="contacts")]}, "Delivery", Mark.ATTENTION),
        ({"activity": activity(failed_hour=3)}, "Delivery", Mark.ATTENTION),
        ({"pauses": [pause("TOKEN_INVALID", "contacts")]}, "Zoho CRM", Mark.BROKEN),
        ({"token": None}, "Zoho CRM", Mark.WAITING),
    ],
)  # fmt: skip
def test_each_stage_says_how_it_is(changes: dict[str, Any], name: str, mark: Mark) -> None:
    assert stage(name, **changes).mark is mark


def test_a_stage_behind_a_broken_one_is_not_judged() -> None:
    assert [one.mark for one in stages(status(slot=None))] == [Mark.BROKEN, *[Mark.WAITING] * 4]


def test_where_realtime_rings_the_slot_is_not_missed() -> None:
    bell = Doorbell("live", None, NOW, NOW, 40, 0, NOW, 900)
    heard = {"slot": slot(exists=False), "doorbell": bell, "captured_at": None}
    assert stage("Capture", **heard).mark is Mark.OK
    assert figure("WAL", **heard).note == "Realtime holds none"
    assert stage("Capture", **{**heard, "doorbell": replace(bell, state="lost")}).mark is Mark.BROKEN


def test_every_state_has_a_mark_and_only_fine_ones_are_ok() -> None:
    marks = {state: mark_of(Condition(state, "")) for state in State}
    assert {state for state, mark in marks.items() if mark is Mark.BROKEN} == {
        State.SLOT_LOST, State.UNDECIDED, State.AUTH_BROKEN, State.STALLED, State.CREDITS_EXHAUSTED,
    }  # fmt: skip
    assert [state for state, mark in marks.items() if mark is Mark.OK] == [State.HEALTHY]


def test_the_tables_beside_the_charts_add_up() -> None:
    at = NOW.replace(minute=0)
    parts = [Interval(at, 5, 1), Interval(at + timedelta(minutes=10), 7, 0), Interval(at - timedelta(hours=30), 9, 9)]
    [hour] = by_hour(parts, NOW)
    assert (hour.succeeded, hour.failed) == (12, 1)
    assert highest_by_hour([(at, 3), (at + timedelta(minutes=20), 9), (at - timedelta(hours=1), 4)]) == [
        (at - timedelta(hours=1), 4), (at, 9),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "leased", "shown", "mark"),
    [
        ("done", 0, "done", Mark.OK), ("failed", 0, "failed", Mark.BROKEN), ("died", 0, "died", Mark.BROKEN),
        (None, 60, "running", Mark.WAITING), (None, -1, "died", Mark.BROKEN), ("stopped", 0, "stopped", Mark.WAITING),
    ],
)  # fmt: skip
def test_a_run_without_an_end_is_under_way_for_as_long_as_its_lease(
    outcome: Outcome | None, leased: int, shown: str, mark: Mark
) -> None:
    ended = None if outcome is None else NOW
    run = Run(1, "sweep", NOW, "w", NOW, NOW + timedelta(seconds=leased), ended, outcome, {})
    [row] = schedule({"sweep": Every(30)}, {"sweep": run}, NOW)
    assert (row.outcome, row.mark, row.next_at, row.plan) == (shown, mark, NOW + timedelta(minutes=30), "every 30 min")
    [never] = schedule({"sweep": Every(30)}, {}, NOW)
    assert (never.run, never.outcome) == (None, "")


def test_the_queue_names_each_feed_once_and_those_of_which_nothing_waits() -> None:
    outbox = [count(due=3, oldest=NOW - timedelta(seconds=9)), count(lane=Lane.BULK, due=7)]
    rows = queue(status(outbox=outbox, delivered={"badges_earned": 4, "contacts": 268}))
    assert [(row.feed, row.delivered, row.counts is None) for row in rows] == [
        ("badges_earned", 4, True), ("contacts", 268, False), ("contacts", None, False),
    ]  # fmt: skip
    assert [row.oldest_seconds for row in rows] == [None, 9.0, None]
    assert backfilling(status(outbox=outbox)) == [("contacts", 7, 268)]
