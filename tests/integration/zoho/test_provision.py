"""Making custom fields over real HTTP against a bare organisation."""

from __future__ import annotations

from typing import Any

from sinks.base import Column
from sinks.zoho.contacts import ContactsSink
from sinks.zoho.provision import FieldSpec, create_fields

SPECS = (
    FieldSpec(name="External_ID", label="External ID", type="text", length=36, unique=True),
    FieldSpec(name="User_Type", label="User Type", type="picklist", values=("Student", "Parent")),
    *(FieldSpec(name=f"Count_{n}", label=f"Count {n}", type="integer", length=9) for n in range(6)),
)


async def test_missing_fields_are_made_and_the_view_then_fits(open_crm: Any) -> None:
    crm = await open_crm(bare=True)
    made = await create_fields(crm.client, "Contacts", SPECS)
    assert [(m.spec.name, m.field.api_name if m.field else None, m.problem) for m in made] == [
        (s.name, s.name, "") for s in SPECS
    ]
    assert [c.method for c in crm.calls() if c.method == "POST" and "fields" in c.path] == ["POST"] * 2
    sink = ContactsSink(crm.client, external_id="External_ID", mandatory=("Last_Name",))
    columns = [
        Column(name="Last_Name", type="text"),
        Column(name="User_Type", type="text", values=frozenset({"Parent"})),
    ]
    assert await sink.fit([*columns, Column(name="Count_5", type="bigint")]) == []


async def test_a_second_run_makes_nothing(open_crm: Any) -> None:
    crm = await open_crm(bare=True)
    await create_fields(crm.client, "Contacts", SPECS[:2])
    assert await create_fields(crm.client, "Contacts", SPECS[:2]) == []


async def test_a_field_that_the_crm_refuses_is_reported_and_the_others_are_made(open_crm: Any) -> None:
    crm = await open_crm(bare=True, max_unique_fields=1)
    wanted = (SPECS[0], FieldSpec(name="Other_ID", label="Other ID", type="text", unique=True), SPECS[1])
    made = await create_fields(crm.client, "Contacts", wanted)
    assert [m.field is not None for m in made] == [True, False, True]
    assert "LIMIT_EXCEEDED" in made[1].problem


async def test_the_name_that_the_crm_made_of_a_label_is_read_back(open_crm: Any) -> None:
    crm = await open_crm(bare=True)
    specs = (FieldSpec(name="Total_XP", label="Total XP (all)", type="integer", length=9),)
    made = await create_fields(crm.client, "Contacts", specs)
    assert [m.field.api_name if m.field else None for m in made] == ["Total_XP_all"]
    assert await create_fields(crm.client, "Contacts", specs) == []
