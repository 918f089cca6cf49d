"""Contacts over real HTTP against the simulator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sinks.base import Action, Column, Delivered, Effect, Operation, Refused
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.contacts import ContactsSink
from tests.integration.zoho.conftest import Crm


def create(record_id: str, **fields: Any) -> Operation:
    return Operation(record_id=record_id, action=Action.CREATE, fields={"Last_Name": "Lovelace", **fields})


def update(record_id: str, **fields: Any) -> Operation:
    return Operation(record_id=record_id, action=Action.UPDATE, fields={"Last_Name": "Lovelace", **fields})


def withdraw(record_id: str, crm_id: str | None = None) -> Operation:
    return Operation(record_id=record_id, action=Action.WITHDRAW, crm_id=crm_id)


async def test_creations_and_updates_go_out_in_one_call_without_workflows(crm: Crm) -> None:
    sink = await crm.contacts()
    (made,) = await sink.deliver([create("u1", Total_XP=10)])
    before = len(crm.calls("upsert"))
    outcomes = await sink.deliver([update("u1", Total_XP=20), create("u2", Total_XP=None)])
    assert [type(o) for o in outcomes] == [Delivered, Delivered]
    assert [o.effect for o in outcomes if isinstance(o, Delivered)] == [Effect.UPDATED, Effect.CREATED]
    assert [o.record_id for o in outcomes] == ["u1", "u2"]
    assert isinstance(made, Delivered)
    assert outcomes[0].crm_id == made.crm_id  # type: ignore[union-attr]
    calls = crm.calls("upsert")
    assert len(calls) == before + 1
    assert calls[-1].workflows is False
    assert {(c["External_ID"], c.get("Total_XP")) for c in crm.stored("Contacts")} == {("u1", 20), ("u2", None)}


async def test_a_creation_that_finds_its_record_changes_it_and_says_so(crm: Crm) -> None:
    sink = await crm.contacts()
    await sink.deliver([create("u1", First_Name="A")])
    (outcome,) = await sink.deliver([create("u1", First_Name="B")])
    assert isinstance(outcome, Delivered)
    assert outcome.effect is Effect.UPDATED  # written as a whole: FOUND would have it sent a second time
    assert [c["First_Name"] for c in crm.stored("Contacts")] == ["B"]


async def test_an_update_of_a_vanished_contact_is_reported_as_created(crm: Crm) -> None:
    sink = await crm.contacts()
    (made,) = await sink.deliver([create("u1")])
    assert isinstance(made, Delivered)
    await sink.deliver([withdraw("u1", made.crm_id)])
    (again,) = await sink.deliver([update("u1")])
    assert isinstance(again, Delivered)
    assert again.effect is Effect.CREATED


async def test_a_bad_record_fails_alone(crm: Crm) -> None:
    sink = await crm.contacts()
    outcomes = await sink.deliver(
        [create("u1"), create("u2", First_Name="x" * 41), create("u3", Email="not an address"), create("u4")]
    )
    assert isinstance(outcomes[0], Delivered)
    assert isinstance(outcomes[3], Delivered)
    too_long, bad = outcomes[1], outcomes[2]
    assert isinstance(too_long, Refused)
    assert (too_long.reason, too_long.field) == (Reason.FIELD_TOO_LONG, "First_Name")
    assert too_long.detail == "INVALID_DATA First_Name, maximum_length 40"
    assert isinstance(bad, Refused)
    assert bad.field == "Email"
    assert "not an address" not in repr(outcomes)


async def test_when_all_records_fail_each_still_has_its_outcome(crm: Crm) -> None:
    sink = await crm.contacts()
    outcomes = await sink.deliver([create(f"u{n}", Last_Name=None) for n in range(3)])
    assert [o.reason for o in outcomes if isinstance(o, Refused)] == [Reason.REQUIRED_FIELD_MISSING] * 3


async def test_refused_as_202_is_read_record_by_record_too(open_crm: Any) -> None:
    crm = await open_crm(refused_status=202)
    sink = await crm.contacts()
    (outcome,) = await sink.deliver([create("u1", Last_Name=None)])
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.REQUIRED_FIELD_MISSING


async def test_a_taken_value_of_another_unique_field_is_a_duplicate_in_the_crm(crm: Crm) -> None:
    sink = await crm.contacts()
    details = {"api_name": "Email", "json_path": "$.data[0].Email", "id": "5725767000000524157"}
    crm.break_("refuse", kind="upsert", code="DUPLICATE_DATA", details=details, records=[0])
    (outcome,) = await sink.deliver([create("u2", Email="a@example.org")])
    assert isinstance(outcome, Refused)
    assert (outcome.reason, outcome.field) == (Reason.DUPLICATE_IN_CRM, "Email")


async def test_a_contact_matched_by_another_unique_field_is_reported(open_crm: Any) -> None:
    crm = await open_crm(unique_email=True)
    sink = await crm.contacts()
    await sink.deliver([create("u1", Email="a@example.org")])
    with capture_logs() as logs:
        await sink.deliver([create("u2", Email="a@example.org")])
    assert [line["fields"] for line in logs if line["event"] == "zoho_matched_on_other_field"] == [["Email"]]
    assert "example.org" not in repr(logs)


async def test_an_applied_call_whose_answer_is_lost_is_in_doubt_and_converges(crm: Crm) -> None:
    sink = await crm.contacts()
    crm.break_("apply_then_lose", kind="upsert", times=1)
    with pytest.raises(SinkError) as lost:
        await sink.deliver([create("u1")])
    assert lost.value.maybe_applied
    assert lost.value.reason is Reason.OUTCOME_UNKNOWN
    assert len(crm.calls("upsert")) == 1, "a write that may have been carried out isn't repeated inside the call"
    (outcome,) = await sink.deliver([create("u1")])
    assert isinstance(outcome, Delivered)
    assert len(crm.stored("Contacts")) == 1


@pytest.mark.parametrize("fault", ["short_answer", "reorder_answer"])
async def test_an_answer_that_does_not_match_the_request_is_in_doubt(crm: Crm, fault: str) -> None:
    sink = await crm.contacts()
    crm.break_(fault, kind="upsert", times=1)
    operations = [create("u1"), create("u2", First_Name="x" * 41), create("u3")]
    if fault == "reorder_answer":
        operations = operations[1:]
    with pytest.raises(SinkError) as error:
        await sink.deliver(operations)
    assert (error.value.reason, error.value.maybe_applied) == (Reason.BAD_ANSWER, True)


async def test_ids_that_stand_in_each_others_place_are_an_answer_out_of_order(crm: Crm) -> None:
    """The new one between them would be given a wrong id, and all that hangs on it go to somebody else."""
    sink = await crm.contacts()
    first, second = [o for o in await sink.deliver([create("u1"), create("u2")]) if isinstance(o, Delivered)]
    operations = [
        replace(update("u1"), crm_id=first.crm_id),
        create("u3"),
        create("u4"),
        replace(update("u2"), crm_id=second.crm_id),
    ]
    crm.break_("reorder_answer", kind="upsert", times=1)
    with pytest.raises(SinkError) as error:
        await sink.deliver(operations)
    assert (error.value.reason, error.value.maybe_applied) == (Reason.BAD_ANSWER, True)
    again = await sink.deliver(operations)
    ids = {record["External_ID"]: record["id"] for record in crm.stored("Contacts")}
    assert {o.record_id: o.crm_id for o in again if isinstance(o, Delivered)} == ids


async def test_withdrawing_by_id_deletes(crm: Crm) -> None:
    sink = await crm.contacts()
    made = await sink.deliver([create("u1"), create("u2")])
    outcomes = await sink.deliver([withdraw(o.record_id, o.crm_id) for o in made if isinstance(o, Delivered)])
    assert [o.effect for o in outcomes if isinstance(o, Delivered)] == [Effect.WITHDRAWN] * 2
    assert crm.stored("Contacts") == []
    assert crm.calls("coql") == [], "nothing needs to be looked up"


async def test_withdrawing_without_an_id_looks_the_record_up(crm: Crm) -> None:
    sink = await crm.contacts()
    ids = [f"u{n}" for n in range(60)]
    await sink.deliver([create(i) for i in ids])
    outcomes = await sink.deliver([withdraw(i) for i in [*ids, "never-there"]])
    assert len(outcomes) == 61
    assert all(isinstance(o, Delivered) and o.effect is Effect.WITHDRAWN for o in outcomes)
    assert crm.stored("Contacts") == []
    assert len(crm.calls("coql")) == 2, "fifty ids a look-up"


async def test_withdrawing_by_a_stale_id_finds_the_record_that_bears_our_identity(crm: Crm) -> None:
    sink = await crm.contacts()
    (first,) = await sink.deliver([create("u1")])
    assert isinstance(first, Delivered)
    await sink.deliver([withdraw("u1", first.crm_id)])
    await sink.deliver([create("u1")])
    (outcome,) = await sink.deliver([withdraw("u1", first.crm_id)])
    assert isinstance(outcome, Delivered)
    assert crm.stored("Contacts") == []


@pytest.mark.parametrize("name", ["it's", "back\\slash", "'') or (id > 0"])
async def test_odd_record_ids_are_looked_up_without_touching_others(crm: Crm, name: str) -> None:
    sink = await crm.contacts()
    await sink.deliver([create("bystander"), create(name)])
    (outcome,) = await sink.deliver([withdraw(name)])
    assert isinstance(outcome, Delivered)
    assert [c["External_ID"] for c in crm.stored("Contacts")] == ["bystander"]


async def test_misuse_is_refused_before_anything_is_sent(crm: Crm) -> None:
    sink = await crm.contacts()
    before = len(crm.calls())
    with pytest.raises(ValueError, match="differ"):
        await sink.deliver([create("u1"), update("u1")])
    with pytest.raises(ValueError, match="limit"):
        await sink.deliver([create(f"u{n}") for n in range(101)])
    with pytest.raises(ValueError, match="batches of their own"):
        await sink.deliver([create("u1"), withdraw("u2")])
    with pytest.raises(SinkError, match="FIELD_NOT_IN_CRM"):
        await sink.deliver([create("u1", Surprise=1)])
    assert await sink.deliver([]) == []
    assert len(crm.calls()) == before


async def test_a_full_batch_costs_ten_credits(crm: Crm) -> None:
    sink = await crm.contacts()
    await sink.deliver([create(f"u{n}") for n in range(100)])
    assert ("upsert", 10) in crm.books.entries
    assert crm.books.total == crm.simulator.simulation.credits.used


async def test_a_view_that_does_not_fit_is_described(crm: Crm) -> None:
    sink = ContactsSink(crm.client, external_id="External_ID__c", mandatory=())
    misfits = await sink.fit(
        [
            Column(name="Last_Name", type="text", max_length=90),
            Column(name="User_Type", type="text", values=frozenset({"Parent", "Wizard"})),
            Column(name="Total_XP", type="text"),
            Column(name="Nothing", type="text"),
            Column(name="Created_Time", type="timestamp with time zone"),
        ]
    )
    assert {(m.column, m.reason) for m in misfits} == {
        ("Last_Name", Reason.FIELD_TOO_LONG),
        ("Last_Name", Reason.REQUIRED_FIELD_MISSING),
        ("User_Type", Reason.PICKLIST_VALUE_UNKNOWN),
        ("Total_XP", Reason.WRONG_TYPE),
        ("Nothing", Reason.FIELD_NOT_IN_CRM),
        ("Created_Time", Reason.REQUEST_REFUSED),
    }
    assert "Wizard" not in repr(misfits)


async def test_labels_and_old_names_resolve_to_what_the_crm_calls_the_field(crm: Crm) -> None:
    sink = ContactsSink(crm.client, external_id="External ID", mandatory=("last name",))
    assert await sink.fit([Column(name="last name", type="text"), Column(name="Total_XP__c", type="integer")]) == []
    fields = {"last name": "Lovelace", "Total_XP__c": 7}
    await sink.deliver([Operation(record_id="u1", action=Action.CREATE, fields=fields)])
    (stored,) = crm.stored("Contacts")
    assert (stored["External_ID"], stored["Last_Name"], stored["Total_XP"]) == ("u1", "Lovelace", 7)
