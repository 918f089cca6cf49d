"""One state of many, the most urgent one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from cdc.routing.feeds import Lane
from cdc.state.control import BULK_SCOPE
from cdc.state.credits import Usage
from cdc.watch.condition import State, judge
from cdc.watch.status import Doorbell
from tests.support.status import (
    MEGABYTE,
    NOW,
    activity,
    behind,
    count,
    gap,
    pause,
    slot,
    spending,
    status,
)

LOST_BELL = Doorbell("lost", "closed", NOW, NOW, 12, 1, NOW, 40)
LATE = NOW - timedelta(minutes=3)

CASES: list[tuple[State, dict[str, Any]]] = [
    (State.SLOT_LOST, {"slot": slot(wal_status="lost", invalidation_reason="wal_removed")}),
    (State.SLOT_LOST, {"slot": slot(exists=False, wal_status=None)}),
    (State.UNDECIDED, {"gaps": [gap(needs_decision=True, repaired_at=None)]}),
    (State.AUTH_BROKEN, {"pauses": [pause("TOKEN_INVALID")]}),
    (State.STALLED, {"slot": None}),
    (State.STALLED, {"workers": []}),
    (State.STALLED, {"slot": slot(captured=behind(9_000_000, 400.0))}),
    (State.STALLED, {"slot": slot(exists=False), "position": None, "captured_at": None, "doorbell": LOST_BELL}),
    (State.SLOT_AT_RISK, {"slot": slot(retained_wal_bytes=2100 * MEGABYTE)}),
    (State.SLOT_AT_RISK, {"slot": slot(wal_status="unreserved")}),
    (State.SLOT_AT_RISK, {"slot": slot(limit_bytes=None, safe_wal_bytes=None, retained_wal_bytes=1025 * MEGABYTE)}),
    (State.CREDITS_EXHAUSTED, {"pauses": [pause("CREDITS_EXHAUSTED", until=NOW)]}),
    (State.CREDITS_EXHAUSTED, {"credits": spending(by_kind={"upsert": Usage(calls=9, credits=50_250)})}),
    (State.PAUSED, {"pauses": [pause("BY_HAND", "*", detail="exams")]}),
    (State.PAUSED, {"pauses": [pause("TOKEN_THROTTLED", until=NOW)]}),
    (State.PAUSED, {"pauses": [pause("LEDGER_DOUBTFUL", "*")]}),
    (State.CREDITS_LOW, {"credits": spending(by_kind={"upsert": Usage(calls=9, credits=40_201)})}),
    (State.CREDITS_LOW, {"credits": spending(last_hour=10_000)}),
    (State.DEGRADED, {"held": {"contacts": 168}}),
    (State.DEGRADED, {"outbox": [count(parked=1)]}),
    (State.DEGRADED, {"activity": activity(failed_hour=11)}),
    (State.DEGRADED, {"gaps": [gap(repaired_at=None)]}),
    (State.LAGGING, {"outbox": [count(due=3, oldest=LATE)]}),
    (State.BACKFILLING, {"outbox": [count(lane=Lane.BULK, due=900, oldest=LATE)]}),
    (State.BACKFILLING, {"jobs": 1}),
    (State.STARTING, {"position": None, "slot": slot(exists=False)}),
    (State.STARTING, {"swept_at": None}),
    (State.HEALTHY, {}),
    (State.HEALTHY, {"outbox": [count(lane=Lane.ROLLUP, gathering=12, oldest=LATE)]}),
    (State.HEALTHY, {"slot": slot(captured=behind(10, None))}),
]


@pytest.mark.parametrize(("state", "changes"), CASES)
def test_each_state_is_told(state: State, changes: dict[str, Any]) -> None:
    found = judge(status(**changes))

    assert found.state is state, found.why
    assert found.why
    assert found.state.is_fine or found.command, "whoever is worried hears what to do"


def test_every_state_has_a_case() -> None:
    assert {state for state, _ in CASES} | {State.STANDBY} == set(State)


@pytest.mark.parametrize(
    ("first", "second"),
    [(a, b) for a, b in combinations(CASES, 2) if not a[1].keys() & b[1].keys() and "position" not in b[1]],
)
def test_the_most_urgent_one_wins(first: tuple[State, dict[str, Any]], second: tuple[State, dict[str, Any]]) -> None:
    order = list(State)

    assert order.index(judge(status(**first[1], **second[1])).state) <= order.index(first[0])


@pytest.mark.parametrize(
    ("scope", "command"),
    [("*", "cdc resume"), ("contacts", "cdc resume contacts"), (BULK_SCOPE, "cdc backfill resume")],
)
def test_a_persons_pause_names_the_command_that_ends_just_that(scope: str, command: str) -> None:
    assert judge(status(pauses=[pause("BY_HAND", scope)])).command == command


def test_what_is_set_up_is_to_be_started_and_not_set_up_again() -> None:
    assert judge(status(position=None, slot=slot(exists=False))).command == "cdc setup"
    assert judge(status(position=None, workers=[])).command == "cdc run"
    assert judge(status(position=None)).todo == "", "it is on its way"


def test_a_pause_names_what_ends_it() -> None:
    ends = {
        kind: judge(status(pauses=[pause(kind, "*")])).command
        for kind in ("BY_HAND", "LEDGER_DOUBTFUL", "TOKEN_THROTTLED")
    }

    assert ends == {"BY_HAND": "cdc resume", "LEDGER_DOUBTFUL": "cdc slot", "TOKEN_THROTTLED": "cdc status"}


def test_a_slot_that_is_gone_is_no_loss_where_realtime_took_its_place() -> None:
    gone, later = slot(exists=False), NOW + timedelta(seconds=1)
    rings = replace(LOST_BELL, state="live", heard_at=later)
    rang = replace(rings, joined_at=LATE, heard_at=LATE, swept_at=LATE)

    assert judge(status(slot=gone, doorbell=rings)).state is State.HEALTHY
    assert judge(status(slot=gone, doorbell=rang)).state is State.SLOT_LOST


def test_who_stands_by_says_so() -> None:
    assert judge(status(), standing_by=True).state is State.STANDBY
    assert judge(status(slot=None), standing_by=True).state is State.STALLED, "what is wrong is wrong for both"


def test_a_state_is_broken_or_fine_or_neither_and_never_both() -> None:
    assert not any(state.is_broken and state.is_fine for state in State)
    assert [state.value for state in State if not state.is_broken and not state.is_fine] == [
        "slot_at_risk", "credits_exhausted", "paused", "credits_low", "degraded", "lagging",
    ]  # fmt: skip


def test_the_runbook_has_what_it_points_at() -> None:
    runbook = Path("docs/runbook.md")
    anchors = {judge(status(**changes)).anchor for _, changes in CASES} - {""}
    headings = {
        line.lstrip("#").strip().lower().replace(" ", "-")
        for line in runbook.read_text(encoding="utf-8").splitlines()
        if line.startswith("#")
    }

    assert anchors <= headings, anchors - headings
