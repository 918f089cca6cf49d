"""Whatever happens on the way, once everything is delivered the sink holds what the views say, and nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.delivery.batching import into_calls
from cdc.delivery.calls import Answers, call
from cdc.delivery.conclude import Case, Conclusion, Context, conclude
from cdc.delivery.planner import Known, plan_key
from cdc.routing.feeds import Feed, Lane, parse_profile
from cdc.state.claims import Claim
from cdc.state.records import LedgerEntry, Standing, ViewRow
from cdc.state.settle import Fate
from sinks.base import Action, Operation
from sinks.errors import SinkError
from sinks.reasons import Reason
from tests.support.sinks import Fault, MemorySink

HASH_KEY = b"h" * 32
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROFILE = parse_profile(
    "model",
    Path("model"),
    {
        "people": {
            "sink": "memory.people",
            "view": "v",
            "key": "id",
            "gone": "delete",
            "mandatory": ["Name"],
            "watch": {"t": {"key": "id"}},
        },
        "awards": {
            "sink": "memory.awards",
            "view": "w",
            "key": "id",
            "once": "event_id",
            "needs": "people",
            "parent": "person",
            "watch": {"u": {"key": "id"}},
        },
    },
)
PEOPLE, AWARDS = PROFILE.feeds["people"], PROFILE.feeds["awards"]


class Mishap(Enum):
    """What happens to one delivery."""

    NONE = "none"
    DOWN = "down"  # refused before anything is done
    LOST = "lost"  # done, and the answer is lost
    CRASH = "crash"  # done and answered, and we die before it is recorded
    BAD = "bad"  # answered in a form that can't be read
    REFUSED = "refused"  # the record is refused for a while


@dataclass
class World:
    """The application, our memory, and the outside system."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    awards: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)  # key -> person, event ids
    ledger: dict[tuple[str, str], LedgerEntry] = field(default_factory=dict)
    dirty: set[tuple[str, str]] = field(default_factory=set)
    sinks: dict[str, MemorySink] = field(
        default_factory=lambda: {"people": MemorySink(), "awards": MemorySink(unique=False)}
    )

    def rows(self, feed: Feed, key: str) -> list[ViewRow]:
        if feed is PEOPLE:
            fields = self.people.get(key)
            return [] if fields is None else [_row(key, None, None, fields)]
        person, events = self.awards.get(key, ("", ()))
        return [_row(key, event, person, {"Title": event}) for event in events]

    def deliver(self, name: str, key: str, mishap: Mishap) -> None:
        feed, sink = PROFILE.feeds[name], self.sinks[name]
        self.dirty.discard((name, key))
        entries = tuple(e for (f, _), e in self.ledger.items() if f == name and e.key == key)
        parents = {e.record_id: e for (f, _), e in self.ledger.items() if f == "people"}
        plan = plan_key(feed, Known(key=key, rows=self.rows(feed, key), entries=entries, parents=parents), HASH_KEY)
        for planned in plan.planned:
            if planned.operation.action is Action.CREATE:
                self._write(
                    name,
                    LedgerEntry(
                        record_id=planned.operation.record_id,
                        key=key,
                        standing=Standing.SENDING,
                        parent_id=planned.parent_id,
                    ),
                )
        answers = Answers()
        sink.faults = [_fault(mishap)] if plan.planned else []
        sink.refuse = _refusing(mishap)
        operations = [p.operation for p in plan.planned]
        for group in into_calls(operations, 100, lambda o: o.action):
            if answers.failure is None:
                asyncio.run(call(sink, group, answers, 5))
        if mishap is Mishap.CRASH:
            self.dirty.add((name, key))
            return
        claim = Claim(
            key=key,
            lane=Lane.LIVE,
            generation=1,
            forced=False,
            attempts=0,
            dirty_at=NOW,
            last_lsn=None,
            deferred_until=None,
            approved=None,
            entries=entries,
        )
        coming = frozenset(p for p in plan.missing if p in self.people)
        context = Context(feed=feed, now=NOW, jitter=0.0, lane_seconds={Lane.ROLLUP: 1.0, Lane.DAILY: 1.0})
        self._record(feed, conclude(context, [Case(claim=claim, plan=plan, missing=coming)], answers))

    def _record(self, feed: Feed, result: Conclusion) -> None:
        for sent in result.sent:
            self._write(
                feed.name,
                LedgerEntry(
                    record_id=sent.record_id,
                    key=sent.key,
                    standing=Standing.SENT,
                    parent_id=sent.parent_id,
                    crm_id=sent.crm_id,
                    row_hash=sent.row_hash,
                    field_hashes=sent.field_hashes,
                ),
            )
        for record_id in result.withdrawn:
            old = self.ledger[feed.name, record_id]
            self._write(feed.name, LedgerEntry(record_id=record_id, key=old.key, standing=Standing.WITHDRAWN))
        for record_id in result.unsent:
            del self.ledger[feed.name, record_id]
        if feed is PEOPLE:
            self._dependents(result)
        self.dirty |= {(feed.name, v.key) for v in result.verdicts if v.fate is not Fate.DONE}

    def _dependents(self, result: Conclusion) -> None:
        for (name, record_id), entry in list(self.ledger.items()):
            hangs = name == "awards" and entry.standing is not Standing.WITHDRAWN
            if hangs and entry.parent_id in result.bereaved:
                self._write(
                    name, LedgerEntry(record_id=record_id, key=entry.key, standing=entry.standing, crm_id=entry.crm_id)
                )
                self.dirty.add((name, entry.key))
        self.dirty |= {("awards", key) for key, (person, _) in self.awards.items() if person in result.created}

    def _write(self, feed: str, entry: LedgerEntry) -> None:
        self.ledger[feed, entry.record_id] = entry


def _row(key: str, event_id: str | None, parent_id: str | None, fields: Mapping[str, Any]) -> ViewRow:
    return ViewRow(key=key, event_id=event_id, parent_id=parent_id, fields=fields, row_hash=repr(fields).encode())


def _fault(mishap: Mishap) -> Fault | None:
    return {
        Mishap.DOWN: Fault(before=SinkError(Reason.UNAVAILABLE)),
        Mishap.LOST: Fault(after=SinkError(Reason.OUTCOME_UNKNOWN, maybe_applied=True)),
        Mishap.BAD: Fault(after=SinkError(Reason.BAD_ANSWER, maybe_applied=True)),
    }.get(mishap)


def _refusing(mishap: Mishap) -> Any:
    def refuse(_: Operation) -> Reason | None:
        return Reason.INVALID_VALUE if mishap is Mishap.REFUSED else None

    return refuse


_persons = st.sampled_from(["1", "2"])
_award_keys = st.sampled_from(["a", "b", "c"])
_values = (
    st.none()
    | st.integers(-3, 3)
    | st.text(max_size=3)
    | st.booleans()
    | st.floats(allow_nan=False, width=16, allow_infinity=False)
)
_fields = st.fixed_dictionaries({"Name": st.text(max_size=3), "XP": _values, "Level": _values})
_steps = st.one_of(
    st.tuples(st.just("person"), _persons, st.none() | _fields),
    st.tuples(st.just("award"), _award_keys, st.tuples(_persons, st.integers(0, 3))),
    st.tuples(
        st.just("deliver"), st.tuples(st.sampled_from(["people", "awards"]), st.integers(0, 5)), st.sampled_from(Mishap)
    ),
    st.tuples(st.just("lose_contact"), _persons, st.none()),
    st.tuples(st.just("round"), st.none(), st.none()),
)


@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.lists(_steps, min_size=10, max_size=40))
def test_the_sinks_end_up_equal_to_the_views(unique: bool, steps: list[tuple[str, Any, Any]]) -> None:
    world = World()
    world.sinks["people"].unique = unique
    for kind, what, how in steps:
        if kind == "person":
            world.people.pop(what, None)
            if how is not None:
                world.people[what] = how
            world.dirty.add(("people", what))
        elif kind == "award":
            person, events = how
            # An award stays with its person, and its past events stay in the view.
            old = world.awards.get(what, (person, ()))
            world.awards[what] = (old[0], tuple(f"{what}-{n}" for n in range(max(events, len(old[1])))))
            world.dirty.add(("awards", what))
        elif kind == "lose_contact":
            sink = world.sinks["people"]
            for held in sink.of(what):
                del sink.records[held.crm_id]
        elif kind == "round":
            for name, key in sorted(world.dirty, reverse=True):
                world.deliver(name, key, Mishap.NONE)
        else:
            feed, choice = what
            keys = sorted(key for name, key in world.dirty if name == feed)
            if keys:
                world.deliver(feed, keys[choice % len(keys)], how)

    # Somebody's deletion in the outside system is seen when the record is next written.
    world.dirty |= {("people", key) for key in world.people}
    for key, person in world.people.items():
        world.people[key] = {**person, "Seen": True}
    for _ in range(20):
        for name, key in sorted(world.dirty, reverse=True):
            world.deliver(name, key, Mishap.NONE)

    assert world.sinks["people"].fields() == world.people
    wanted = {event for person, events in world.awards.values() if person in world.people for event in events}
    assert set(world.sinks["awards"].fields()) == wanted
    contacts = set(world.sinks["people"].records)
    assert all(held.parent_crm_id in contacts for held in world.sinks["awards"].records.values())
    waiting = {key for key, (person, events) in world.awards.items() if events and person in world.people}
    assert not {key for name, key in world.dirty if name == "people"}
    assert not {key for name, key in world.dirty if name == "awards"} & waiting


@given(st.lists(_steps, max_size=20))
def test_once_delivered_nothing_more_is_asked(steps: list[tuple[str, Any, Any]]) -> None:
    world = World()
    for kind, what, how in steps:
        if kind == "person" and how is not None:
            world.people[what] = how
    for key in world.people:
        world.deliver("people", key, Mishap.NONE)
        calls = len(world.sinks["people"].calls)
        world.deliver("people", key, Mishap.NONE)
        assert len(world.sinks["people"].calls) == calls
