import pytest

from sinks.simulator.fields import DataType, Field
from tests.contract.simulator.conftest import Start
from tests.contract.simulator.support import Crm, codes, details, items


def add_unique_field(crm: Crm, name: str) -> None:
    """A second unique field, as an administrator adds it."""
    module = crm.running.simulation.org.modules["Contacts"]
    module.fields[name] = Field(api_name=name, label=name, type=DataType.TEXT, unique=True, custom=True)


async def test_it_inserts_and_then_updates(crm: Crm) -> None:
    first = await crm.upsert({"Last_Name": "A", "External_ID": "k"}, by=["External_ID"])
    assert first.status_code == 200
    assert items(first)[0] | {"details": {}} == {
        "code": "SUCCESS",
        "details": {},
        "message": "record added",
        "status": "success",
        "action": "insert",
        "duplicate_field": None,
    }
    second = await crm.upsert({"Last_Name": "B", "External_ID": "k"}, by=["External_ID"])
    assert details(second)["id"] == details(first)["id"]
    assert {name: items(second)[0][name] for name in ("message", "action", "duplicate_field")} == {
        "message": "record updated",
        "action": "update",
        "duplicate_field": "External_ID",
    }
    assert [record["Last_Name"] for record in await crm.records("Contacts")] == ["B"]


@pytest.mark.parametrize("module", ["Tasks", "Notes"])
async def test_it_is_refused_for_activities_and_notes(crm: Crm, module: str) -> None:
    answer = await crm.post(f"/{module}/upsert", {"data": [{"Subject": "S"}]})
    assert (answer.status_code, answer.json()["code"]) == (400, "NOT_SUPPORTED")


@pytest.mark.parametrize(
    ("by", "path"),
    [
        (["Last_Name"], "$.duplicate_check_fields[0]"),
        (["External_ID", "Nope"], "$.duplicate_check_fields[1]"),
        ("External_ID", "$.duplicate_check_fields"),
        ([], "$.duplicate_check_fields"),
        (["External_ID"] * 11, "$.duplicate_check_fields"),
    ],
)
async def test_it_looks_only_in_unique_and_system_fields(crm: Crm, by: object, path: str) -> None:
    body = {"data": [{"Last_Name": "A"}], "duplicate_check_fields": by}
    answer = await crm.post("/Contacts/upsert", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_DATA")
    assert answer.json()["details"]["json_path"] == path


async def test_the_address_plays_no_part_when_only_the_external_id_is_listed(crm: Crm) -> None:
    await crm.contact(External_ID="k1", Email="a@ex.com")
    answer = await crm.upsert({"Last_Name": "B", "External_ID": "k2", "Email": "a@ex.com"}, by=["External_ID"])
    assert items(answer)[0]["action"] == "insert"


async def test_without_a_list_the_address_is_looked_at_first(crm: Crm) -> None:
    by_address = await crm.contact(Email="a@ex.com")
    answer = await crm.upsert({"Last_Name": "B", "Email": "a@ex.com", "External_ID": "k2"})
    assert (details(answer)["id"], items(answer)[0]["duplicate_field"]) == (by_address, "Email")


async def test_other_unique_fields_are_looked_at_after_those_listed(crm: Crm) -> None:
    add_unique_field(crm, "Badge_No")
    holder = await crm.contact(Badge_No="7")
    answer = await crm.upsert({"Last_Name": "B", "External_ID": "new", "Badge_No": "7"}, by=["External_ID"])
    assert (details(answer)["id"], items(answer)[0]["duplicate_field"]) == (holder, "Badge_No")


async def test_two_unique_fields_that_point_to_two_records_are_a_duplicate(crm: Crm) -> None:
    add_unique_field(crm, "Badge_No")
    await crm.contact(External_ID="k1")
    other = await crm.contact(Badge_No="7")
    answer = await crm.upsert({"Last_Name": "B", "External_ID": "k1", "Badge_No": "7"}, by=["External_ID"])
    assert codes(answer) == ["DUPLICATE_DATA"]
    assert (details(answer)["api_name"], details(answer)["id"]) == ("Badge_No", other)


async def test_an_address_that_two_records_share_matches_neither(crm: Crm) -> None:
    for _ in range(2):
        await crm.contact(Email="a@ex.com")
    answer = await crm.upsert({"Last_Name": "B", "Email": "a@ex.com"}, by=["Email"])
    assert codes(answer) == ["DUPLICATE_DATA"]
    assert details(answer)["more_records"] is True


@pytest.mark.parametrize("there_before", [False, True])
async def test_the_second_of_two_equal_keys_in_one_call_is_refused(crm: Crm, there_before: bool) -> None:
    if there_before:
        await crm.contact(External_ID="k")
    same = [{"Last_Name": name, "External_ID": "k"} for name in ("A", "B")]
    answer = await crm.upsert(*same, by=["External_ID"])
    assert (answer.status_code, codes(answer)) == (207, ["SUCCESS", "DUPLICATE_DATA"])
    assert [record["Last_Name"] for record in await crm.records("Contacts")] == ["A"]


@pytest.mark.parametrize("key", [None, ""])
async def test_an_empty_key_inserts_every_time(crm: Crm, key: str | None) -> None:
    for _ in range(2):
        await crm.upsert({"Last_Name": "A", "External_ID": key}, by=["External_ID"])
    assert len(await crm.records("Contacts")) == 2


async def test_an_update_by_upsert_must_hold_the_mandatory_fields_too(start: Start) -> None:
    strict, lenient = await start(), await start(upsert_demands_mandatory=False)
    for crm in (strict, lenient):
        await crm.contact(External_ID="k")
    part = {"External_ID": "k", "Total_XP": 5}
    assert codes(await strict.upsert(part, by=["External_ID"])) == ["MANDATORY_NOT_FOUND"]
    assert codes(await lenient.upsert(part, by=["External_ID"])) == ["SUCCESS"]


async def test_an_id_has_no_place_in_it(crm: Crm) -> None:
    answer = await crm.upsert({"id": "1", "Last_Name": "A"})
    assert codes(answer) == ["NOT_ALLOWED"]
