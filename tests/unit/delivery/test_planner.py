"""The planner's table, line by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.delivery.planner import Known, Plan, field_hash, plan_key
from cdc.routing.feeds import Feed, Lane, parse_profile
from cdc.state.records import LedgerEntry, Standing, ViewRow
from sinks.base import Action
from sinks.reasons import Reason

KEY = b"0123456789abcdef"
FIELDS = {"Name": "Ada", "XP": 3, "Streak": 9}
_WATCH = {"t": {"key": "id"}}
_PROFILE = parse_profile(
    "p",
    Path("p"),
    {
        "people": {
            "sink": "m.people",
            "view": "v",
            "key": "id",
            "gone": "delete",
            "mandatory": ["Name"],
            "watch": _WATCH,
            "fields": {
                "Streak": {"label": "Streak", "type": "integer", "lane": "daily"},
                "Badges": {"label": "Badges", "type": "integer", "lane": "rollup"},
            },
        },
        "kept": {"sink": "m.people", "view": "v", "key": "id", "gone": "keep", "watch": _WATCH},
        "events": {
            "sink": "m.events",
            "view": "w",
            "key": "id",
            "once": "event_id",
            "needs": "people",
            "parent": "person",
            "watch": _WATCH,
        },
    },
)
PEOPLE, KEPT, EVENTS = (_PROFILE.feeds[name] for name in ("people", "kept", "events"))


def row(fields: dict[str, Any] | None = None, event: str | None = None, parent: str | None = None) -> ViewRow:
    return ViewRow(key="1", event_id=event, parent_id=parent, fields=fields or FIELDS, row_hash=b"new")


def entry(standing: Standing = Standing.SENT, record_id: str = "1", **more: Any) -> LedgerEntry:
    hashes = {name: field_hash(KEY, name, value) for name, value in FIELDS.items()}
    given = {"crm_id": "crm-1", "field_hashes": hashes, "row_hash": b"new", **more}
    return LedgerEntry(record_id=record_id, key="1", standing=standing, **given)


def plan(feed: Feed, rows: list[ViewRow], entries: list[LedgerEntry], **more: Any) -> Plan:
    return plan_key(feed, Known(key="1", rows=rows, entries=entries, **more), KEY)


def asked(made: Plan) -> list[tuple[Action, set[str], bool]]:
    return [(p.operation.action, set(p.operation.fields), p.operation.uncertain) for p in made.planned]


@pytest.mark.parametrize("entries", [[], [entry(Standing.WITHDRAWN)]], ids=["unknown", "withdrawn"])
def test_what_is_not_there_is_created_with_all_fields(entries: list[LedgerEntry]) -> None:
    assert asked(plan(PEOPLE, [row()], entries)) == [(Action.CREATE, set(FIELDS), False)]


def test_what_may_be_there_is_created_with_doubt() -> None:
    assert asked(plan(PEOPLE, [row()], [entry(Standing.SENDING)])) == [(Action.CREATE, set(FIELDS), True)]


def test_an_equal_record_asks_for_nothing() -> None:
    assert plan(PEOPLE, [row()], [entry()]) == Plan(key="1")


def test_a_row_that_differs_in_nothing_delivered_only_renews_its_hash() -> None:
    made = plan(PEOPLE, [row()], [entry(row_hash=b"old")])
    assert made.planned == ()
    assert [(r.record_id, r.row_hash) for r in made.refresh] == [("1", b"new")]


def test_an_update_holds_what_changed_and_what_is_mandatory() -> None:
    made = plan(PEOPLE, [row({**FIELDS, "XP": None})], [entry()])
    assert asked(made) == [(Action.UPDATE, {"Name", "XP"}, False)]
    assert made.planned[0].operation.fields["XP"] is None
    assert made.planned[0].operation.crm_id == "crm-1"


def test_a_new_column_is_sent_and_a_dropped_one_is_left_alone() -> None:
    fields = {"Name": "Ada", "XP": 3, "New": 1}
    assert asked(plan(PEOPLE, [row(fields)], [entry()])) == [(Action.UPDATE, {"Name", "New"}, False)]


def test_slow_fields_alone_wait_for_their_day() -> None:
    slow = row({**FIELDS, "Streak": 10})
    assert plan(PEOPLE, [slow], [entry()]).defer_to is Lane.DAILY
    assert asked(plan(PEOPLE, [slow], [entry()], slow_due=True)) == [(Action.UPDATE, {"Name", "Streak"}, False)]


@pytest.mark.parametrize(
    ("changed", "came_due_in", "waits_in"),
    [
        ({"Streak": 10}, Lane.LIVE, Lane.DAILY),
        ({"Streak": 10}, Lane.ROLLUP, Lane.DAILY),
        ({"Streak": 10}, Lane.DAILY, None),
        ({"Streak": 10}, Lane.BULK, None),
        ({"Badges": 1}, Lane.LIVE, Lane.ROLLUP),
        ({"Badges": 1}, Lane.ROLLUP, None),
        ({"Badges": 1, "Streak": 10}, Lane.LIVE, Lane.ROLLUP),
        ({"Badges": 1, "Streak": 10}, Lane.ROLLUP, None),
        ({"Badges": 1, "XP": 4}, Lane.LIVE, None),
    ],
)
def test_a_change_waits_as_long_as_its_most_urgent_field_may(
    changed: dict[str, int], came_due_in: Lane, waits_in: Lane | None
) -> None:
    made = plan(PEOPLE, [row({**FIELDS, **changed})], [entry()], lane=came_due_in)
    assert made.defer_to is waits_in
    assert bool(made.planned) is (waits_in is None)


def test_slow_fields_go_along_with_others() -> None:
    made = plan(PEOPLE, [row({**FIELDS, "Streak": 10, "XP": 4})], [entry()])
    assert asked(made) == [(Action.UPDATE, {"Name", "XP", "Streak"}, False)]


def test_force_sends_all_fields_of_a_record_and_no_event_again() -> None:
    assert asked(plan(PEOPLE, [row()], [entry()], forced=True)) == [(Action.UPDATE, set(FIELDS), False)]
    events = plan(
        EVENTS,
        [row(event="e", parent="p")],
        [entry(record_id="e", parent_id="p")],
        parents={"p": entry(record_id="p")},
        forced=True,
    )
    assert events.planned == ()


@pytest.mark.parametrize("standing", [Standing.SENT, Standing.SENDING])
def test_who_left_the_view_is_withdrawn_if_the_feed_says_so(standing: Standing) -> None:
    assert asked(plan(PEOPLE, [], [entry(standing)])) == [(Action.WITHDRAW, set(), standing is Standing.SENDING)]
    assert plan(KEPT, [], [entry(standing)]).planned == ()


@pytest.mark.parametrize("entries", [[], [entry(Standing.WITHDRAWN)]])
def test_what_was_never_there_needs_no_withdrawal(entries: list[LedgerEntry]) -> None:
    assert plan(PEOPLE, [], entries) == Plan(key="1")


def test_several_events_of_a_key_are_planned_one_by_one() -> None:
    rows = [row(event=e, parent="p") for e in ("sent", "sending", "new")]
    entries = [
        entry(record_id="sent", parent_id="p"),
        entry(Standing.SENDING, record_id="sending", parent_id="p"),
    ]
    made = plan(EVENTS, rows, entries, parents={"p": entry(record_id="p", crm_id="crm-p")})
    assert [(p.operation.record_id, p.operation.uncertain) for p in made.planned] == [("sending", True), ("new", False)]
    assert {p.operation.parent_crm_id for p in made.planned} == {"crm-p"}


@pytest.mark.parametrize("standing", [None, Standing.SENDING, Standing.WITHDRAWN])
def test_an_event_waits_for_its_parent(standing: Standing | None) -> None:
    parents = {} if standing is None else {"p": entry(standing, record_id="p")}
    made = plan(EVENTS, [row(event="e", parent="p")], [], parents=parents)
    assert (made.planned, made.missing) == ((), {"p"})


def test_an_event_without_a_parent_has_nowhere_to_go() -> None:
    assert plan(EVENTS, [row(event="e")], []) == Plan(key="1")


def test_an_orphaned_event_is_withdrawn_and_then_looked_at_again() -> None:
    parents = {"p": entry(record_id="p", crm_id="crm-new")}
    made = plan(EVENTS, [row(event="e", parent="p")], [entry(record_id="e")], parents=parents)
    assert asked(made) == [(Action.WITHDRAW, set(), False)]
    assert made.again
    gone = plan(EVENTS, [], [entry(record_id="e")])
    assert asked(gone) == [(Action.WITHDRAW, set(), False)]


@pytest.mark.parametrize("value", [[], {}, float("nan"), float("inf"), b"bytes"])
def test_a_value_that_is_no_scalar_is_refused_with_its_field(value: Any) -> None:
    [refused] = plan(PEOPLE, [row({"Name": "Ada", "XP": value})], [entry()]).refused
    assert (refused.reason, refused.field) == (Reason.WRONG_TYPE, "XP")


def test_a_view_with_two_rows_for_one_record_is_refused_and_withdraws_nothing() -> None:
    made = plan(PEOPLE, [row(), row({**FIELDS, "XP": 1})], [entry()])
    assert [r.reason for r in made.refused] == [Reason.INVALID_VALUE]
    assert made.planned == ()


def test_an_event_without_identity_is_refused() -> None:
    made = plan(EVENTS, [row(event=None, parent="p")], [], parents={"p": entry(record_id="p")})
    assert [(r.reason, r.field) for r in made.refused] == [(Reason.INVALID_VALUE, "event_id")]


_values = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(min_size=1, max_size=5), _values), st.binary(min_size=16, max_size=64))
def test_planning_what_was_just_delivered_asks_for_nothing(fields: dict[str, Any], key: bytes) -> None:
    first = plan_key(KEPT, Known(key="1", rows=[row(fields or {"a": 1})], entries=[]), key).planned[0]
    after = LedgerEntry(
        record_id="1", key="1", standing=Standing.SENT, field_hashes=first.field_hashes, row_hash=first.row_hash
    )
    assert plan_key(KEPT, Known(key="1", rows=[row(fields or {"a": 1})], entries=[after]), key) == Plan(key="1")


@given(_values, _values)
def test_hashes_tell_values_apart_and_types_too(one: Any, other: Any) -> None:
    same = type(one) is type(other) and repr(one) == repr(other)
    assert (field_hash(KEY, "f", one) == field_hash(KEY, "f", other)) == same


def test_a_hash_says_nothing_without_the_key_and_the_field() -> None:
    assert field_hash(KEY, "a", True) != field_hash(KEY, "b", True)
    assert field_hash(KEY, "a", True) != field_hash(b"another key 1234", "a", True)
    assert "Ada" not in field_hash(KEY, "Name", "Ada")
