"""Tasks over real HTTP against the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from sinks.base import Action, Delivered, Effect, Operation, Refused
from sinks.errors import SinkError
from sinks.reasons import Reason
from tests.integration.zoho.conftest import Crm


async def a_contact(crm: Crm, record_id: str = "u1") -> str:
    sink = await crm.contacts()
    operation = Operation(record_id=record_id, action=Action.CREATE, fields={"Last_Name": "Lovelace"})
    (made,) = await sink.deliver([operation])
    assert isinstance(made, Delivered)
    assert made.crm_id
    return made.crm_id


def task(event_id: str, parent: str | None, **rest: Any) -> Operation:
    fields = {"Subject": "Quest completed"}
    return Operation(record_id=event_id, action=Action.CREATE, fields=fields, parent_crm_id=parent, **rest)


async def test_a_task_hangs_on_its_contact_and_carries_the_events_identity(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.tasks()
    (outcome,) = await sink.deliver([task("e1", contact)])
    assert isinstance(outcome, Delivered)
    assert outcome.effect is Effect.CREATED
    (stored,) = crm.stored("Tasks")
    assert stored["Event_ID"] == "e1"
    assert contact in repr(stored["Who_Id"])
    assert crm.calls("insert")[-1].workflows is False


async def test_sending_an_event_again_finds_it(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.tasks()
    (first,) = await sink.deliver([task("e1", contact)])
    outcomes = await sink.deliver([task("e1", contact), task("e2", contact)])
    assert [o.effect for o in outcomes if isinstance(o, Delivered)] == [Effect.FOUND, Effect.CREATED]
    assert outcomes[0].crm_id == first.crm_id  # type: ignore[union-attr]
    assert len(crm.stored("Tasks")) == 2


async def test_a_duplicate_on_another_field_is_not_a_success(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.tasks()
    details = {"api_name": "Reference", "json_path": "$.data[0].Reference", "id": "5725767000000524157"}
    crm.break_("refuse", kind="insert", code="DUPLICATE_DATA", details=details, records=[0])
    (outcome,) = await sink.deliver([task("e1", contact)])
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DUPLICATE_IN_CRM


async def test_a_lost_answer_leaves_one_task(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.tasks()
    crm.break_("apply_then_lose", kind="insert", module="Tasks", times=1)
    with pytest.raises(SinkError) as lost:
        await sink.deliver([task("e1", contact)])
    assert lost.value.maybe_applied
    (outcome,) = await sink.deliver([task("e1", contact, uncertain=True)])
    assert isinstance(outcome, Delivered)
    assert outcome.effect is Effect.FOUND
    assert outcome.crm_id == crm.stored("Tasks")[0]["id"]


async def test_a_lost_contact_is_told_apart(crm: Crm) -> None:
    contact = await a_contact(crm)
    await (await crm.contacts()).deliver([Operation(record_id="u1", action=Action.WITHDRAW, crm_id=contact)])
    sink = await crm.tasks()
    outcomes = await sink.deliver([task("e1", contact), task("e2", None)])
    assert [o.reason for o in outcomes if isinstance(o, Refused)] == [Reason.PARENT_NOT_DELIVERED] * 2


async def test_without_a_known_contact_nothing_is_sent(crm: Crm) -> None:
    sink = await crm.tasks()
    await sink.deliver([task("e1", None)])
    assert crm.calls("insert") == []


async def test_changing_and_making_tasks_in_one_delivery_keeps_the_order_of_outcomes(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.tasks()
    (made,) = await sink.deliver([task("e1", contact)])
    assert isinstance(made, Delivered)
    change = Operation(record_id="e1", action=Action.UPDATE, fields={"Subject": "Changed"}, crm_id=made.crm_id)
    outcomes = await sink.deliver([task("e0", contact), change, task("e2", contact)])
    assert [(o.record_id, o.effect) for o in outcomes if isinstance(o, Delivered)] == [
        ("e0", Effect.CREATED),
        ("e1", Effect.UPDATED),
        ("e2", Effect.CREATED),
    ]
    assert {t["Event_ID"]: t["Subject"] for t in crm.stored("Tasks")}["e1"] == "Changed"


async def test_a_refused_second_half_leaves_the_first_half_in_doubt(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.tasks()
    (made,) = await sink.deliver([task("e1", contact)])
    assert isinstance(made, Delivered)
    crm.break_("status", kind="update", status=429)
    change = Operation(record_id="e1", action=Action.UPDATE, fields={"Subject": "Changed"}, crm_id=made.crm_id)
    with pytest.raises(SinkError) as error:
        await sink.deliver([task("e2", contact), change])
    assert (error.value.reason, error.value.maybe_applied) == (Reason.CONCURRENCY_LIMIT, True)


async def test_a_change_of_a_vanished_task_says_that_it_is_gone(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.tasks()
    (made,) = await sink.deliver([task("e1", contact)])
    assert isinstance(made, Delivered)
    await sink.deliver([Operation(record_id="e1", action=Action.WITHDRAW, crm_id=made.crm_id)])
    change = Operation(record_id="e1", action=Action.UPDATE, fields={"Subject": "Changed"}, crm_id=made.crm_id)
    (outcome,) = await sink.deliver([change])
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.RECORD_GONE


async def test_withdrawing_a_task_by_its_event(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.tasks()
    await sink.deliver([task("e1", contact), task("e2", contact)])
    outcomes = await sink.deliver(
        [Operation(record_id=event, action=Action.WITHDRAW) for event in ("e1", "never-there")]
    )
    assert all(isinstance(o, Delivered) and o.effect is Effect.WITHDRAWN for o in outcomes)
    assert [t["Event_ID"] for t in crm.stored("Tasks")] == ["e2"]


async def test_a_change_whose_id_is_not_known_finds_its_task_or_makes_it(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink = await crm.tasks()
    await sink.deliver([task("e1", contact)])
    changes = [
        Operation(record_id=event, action=Action.UPDATE, fields={"Subject": "Changed"}, parent_crm_id=contact)
        for event in ("e1", "e2")
    ]
    outcomes = await sink.deliver(changes)
    assert [o.effect for o in outcomes if isinstance(o, Delivered)] == [Effect.UPDATED, Effect.CREATED]
    assert {t["Event_ID"]: t["Subject"] for t in crm.stored("Tasks")} == {"e1": "Changed", "e2": "Changed"}
