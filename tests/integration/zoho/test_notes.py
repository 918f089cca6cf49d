"""Notes over real HTTP against the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from sinks.base import Action, Column, Delivered, Effect, Operation, Refused
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.notes import NotesSink, reference
from tests.integration.zoho.conftest import Crm
from tests.integration.zoho.test_tasks import a_contact


def note(event_id: str, parent: str | None, *, content: str = "Earned a badge", **rest: Any) -> Operation:
    fields = {"Note_Title": "Badge", "Note_Content": content}
    return Operation(record_id=event_id, action=Action.CREATE, fields=fields, parent_crm_id=parent, **rest)


async def test_a_note_ends_with_its_reference_and_shows_nothing_of_the_identity(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.notes()
    (outcome,) = await sink.deliver([note("award-1", contact)])
    assert isinstance(outcome, Delivered)
    assert outcome.effect is Effect.CREATED
    (stored,) = crm.stored("Notes")
    assert stored["Note_Content"] == f"Earned a badge\n\n{reference('award-1')}"
    assert "award-1" not in stored["Note_Content"]


async def test_a_lost_answer_leaves_one_note(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.notes()
    crm.break_("apply_then_lose", kind="insert", module="Notes", times=1)
    with pytest.raises(SinkError) as lost:
        await sink.deliver([note("a1", contact), note("a2", contact)])
    assert lost.value.maybe_applied
    outcomes = await sink.deliver([note(a, contact, uncertain=True) for a in ("a1", "a2", "a3")])
    assert [o.effect for o in outcomes if isinstance(o, Delivered)] == [Effect.FOUND, Effect.FOUND, Effect.CREATED]
    assert len(crm.stored("Notes")) == 3
    assert [c.method for c in crm.calls() if c.path.endswith("/Notes")] == ["POST", "GET", "POST"]


async def test_a_call_that_was_lost_before_it_was_applied_is_made_good(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.notes()
    crm.break_("lose", kind="insert", module="Notes", times=1)
    with pytest.raises(SinkError):
        await sink.deliver([note("a1", contact)])
    (outcome,) = await sink.deliver([note("a1", contact, uncertain=True)])
    assert isinstance(outcome, Delivered)
    assert outcome.effect is Effect.CREATED
    assert len(crm.stored("Notes")) == 1


async def test_the_look_up_reads_all_pages(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.notes()
    ids = [f"a{n}" for n in range(250)]
    for start in range(0, 250, 100):
        await sink.deliver([note(a, contact) for a in ids[start : start + 100]])
    outcomes = await sink.deliver([note(a, contact, uncertain=True) for a in (ids[0], ids[249])])
    assert [o.effect for o in outcomes if isinstance(o, Delivered)] == [Effect.FOUND] * 2
    assert len(crm.stored("Notes")) == 250


async def test_a_note_of_another_contact_is_not_taken_for_it(crm: Crm) -> None:
    first, second = await a_contact(crm, "u1"), await a_contact(crm, "u2")
    sink = await crm.notes()
    await sink.deliver([note("a1", first)])
    (outcome,) = await sink.deliver([note("a2", second, uncertain=True)])
    assert isinstance(outcome, Delivered)
    assert outcome.effect is Effect.CREATED


async def test_a_lost_contact_is_told_apart(crm: Crm) -> None:
    contact = await a_contact(crm)
    await (await crm.contacts()).deliver([Operation(record_id="u1", action=Action.WITHDRAW, crm_id=contact)])
    sink = await crm.notes()
    outcomes = await sink.deliver([note("a1", contact), note("a2", contact, uncertain=True), note("a3", None)])
    assert [o.reason for o in outcomes if isinstance(o, Refused)] == [Reason.PARENT_NOT_DELIVERED] * 3


async def test_withdrawing_by_id_and_by_reference(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.notes()
    made = await sink.deliver([note(a, contact) for a in ("a1", "a2", "a3")])
    first = made[0]
    assert isinstance(first, Delivered)
    outcomes = await sink.deliver(
        [
            Operation(record_id="a1", action=Action.WITHDRAW, crm_id=first.crm_id),
            Operation(record_id="a2", action=Action.WITHDRAW, parent_crm_id=contact),
            Operation(record_id="never-there", action=Action.WITHDRAW, parent_crm_id=contact),
            Operation(record_id="without-contact", action=Action.WITHDRAW),
        ]
    )
    assert all(isinstance(o, Delivered) and o.effect is Effect.WITHDRAWN for o in outcomes)
    assert [reference("a3") in n["Note_Content"] for n in crm.stored("Notes")] == [True]


async def test_withdrawing_again_is_no_failure(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.notes()
    (made,) = await sink.deliver([note("a1", contact)])
    assert isinstance(made, Delivered)
    gone = Operation(record_id="a1", action=Action.WITHDRAW, crm_id=made.crm_id, parent_crm_id=contact)
    for _ in range(2):
        (outcome,) = await sink.deliver([gone])
        assert isinstance(outcome, Delivered)


async def test_the_reference_counts_towards_the_longest_text(crm: Crm) -> None:
    sink = NotesSink(crm.client)
    longest = 65_535 - len("\n\n" + reference("a"))
    assert await sink.fit([Column(name="Note_Content", type="text", max_length=longest)]) == []
    (misfit,) = await sink.fit([Column(name="Note_Content", type="text", max_length=longest + 1)])
    assert misfit.reason is Reason.FIELD_TOO_LONG
    await sink.fit([Column(name="Note_Content", type="text")])
    contact = await a_contact(crm)
    operation = Operation(
        record_id="a1", action=Action.CREATE, fields={"Note_Content": "x" * longest}, parent_crm_id=contact
    )
    (outcome,) = await sink.deliver([operation])
    assert isinstance(outcome, Delivered)
