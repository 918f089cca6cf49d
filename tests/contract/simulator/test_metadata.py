from typing import Any

import pytest

from tests.contract.simulator.conftest import Start
from tests.contract.simulator.support import Crm

FIELDS = "/settings/fields?module=Contacts"


async def fields_of(crm: Crm, module: str) -> dict[str, dict[str, Any]]:
    answer = await crm.get(f"/settings/fields?module={module}")
    return {field["api_name"]: field for field in answer.json()["fields"]}


async def create(crm: Crm, *fields: dict[str, Any], module: str = "Contacts") -> tuple[int, list[dict[str, Any]]]:
    answer = await crm.post(f"/settings/fields?module={module}", {"fields": list(fields)})
    return answer.status_code, answer.json().get("fields", [answer.json()])


@pytest.mark.parametrize(
    ("module", "name", "label", "kind", "length", "unique"),
    [
        ("Contacts", "External_ID", "External ID", "text", 36, True),
        ("Contacts", "Display_Name", "Display Name", "text", 100, False),
        ("Contacts", "User_Type", "User Type", "picklist", 120, False),
        ("Contacts", "Signup_Date", "Signup Date", "date", 20, False),
        ("Contacts", "XP_STEM", "XP STEM", "integer", 9, False),
        ("Contacts", "Portfolio_URL", "Portfolio URL", "website", 450, False),
        ("Contacts", "Parent_Linked", "Parent Linked", "boolean", 5, False),
        ("Contacts", "Last_Active_At", "Last Active At", "datetime", 120, False),
        ("Tasks", "Event_ID", "Event ID", "text", 100, True),
        ("Tasks", "Event_Type", "Event Type", "picklist", 120, False),
        ("Tasks", "XP_Earned", "XP Earned", "integer", 9, False),
    ],
)
async def test_the_first_plans_fields_are_there(
    crm: Crm, module: str, name: str, label: str, kind: str, length: int, unique: bool
) -> None:
    field = (await fields_of(crm, module))[name]
    assert (field["field_label"], field["data_type"], field["length"]) == (label, kind, length)
    assert bool(field["unique"]) is unique
    assert field["custom_field"] is True


async def test_a_bare_organisation_has_only_standard_fields(start: Start) -> None:
    crm = await start(bare=True)
    for module in ("Contacts", "Tasks", "Notes"):
        assert not any(field["custom_field"] for field in (await fields_of(crm, module)).values())
    assert (await crm.insert("Contacts", {"Last_Name": "A", "External_ID": "k"})).status_code == 201


async def test_metadata_tells_what_is_enforced(crm: Crm) -> None:
    fields = await fields_of(crm, "Contacts")
    assert fields["Last_Name"]["system_mandatory"] is True
    assert fields["Last_Name"]["length"] == 80
    assert fields["Created_Time"]["read_only"] is True
    assert fields["XP_Art"]["json_type"] == "integer"
    assert fields["Parent_Linked"]["json_type"] == "boolean"
    assert [one["actual_value"] for one in fields["LMS_Platform"]["pick_list_values"]] == [
        "None",
        "Canvas",
        "Google Classroom",
        "Schoology",
        "Moodle",
    ]
    who = (await fields_of(crm, "Tasks"))["Who_Id"]
    assert who["lookup"]["module"]["api_name"] == "Contacts"
    ids = [field["id"] for field in fields.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("path", "code"),
    [("/settings/fields", "REQUIRED_PARAM_MISSING"), ("/settings/fields?module=Nope", "INVALID_MODULE")],
)
async def test_fields_of_no_module(crm: Crm, path: str, code: str) -> None:
    answer = await crm.get(path)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_modules_organisation_and_user(crm: Crm) -> None:
    modules = (await crm.get("/settings/modules")).json()["modules"]
    assert {"Contacts", "Tasks", "Notes"} <= {module["api_name"] for module in modules}
    [contacts] = (await crm.get("/settings/modules/Contacts")).json()["modules"]
    assert contacts["plural_label"] == "Contacts"
    [org] = (await crm.get("/org")).json()["org"]
    assert org["zgid"].isdecimal()
    [user] = (await crm.get("/users?type=CurrentUser")).json()["users"]
    assert user["status"] == "active"


async def test_a_made_field_is_there_at_once_and_enforced(crm: Crm) -> None:
    status, [item] = await create(crm, {"field_label": "School Code", "data_type": "text", "length": 4})
    assert (status, item["code"]) == (201, "SUCCESS")
    field = (await fields_of(crm, "Contacts"))["School_Code"]
    assert field["id"] == item["details"]["id"]
    answer = await crm.insert("Contacts", {"Last_Name": "A", "School_Code": "12345"})
    assert answer.json()["data"][0]["details"]["maximum_length"] == 4


async def test_a_unique_field_made_later_counts_the_records_before_it(crm: Crm) -> None:
    status, _ = await create(crm, {"field_label": "Badge No", "data_type": "text", "length": 9, "unique": {}})
    assert status == 201
    assert bool((await fields_of(crm, "Contacts"))["Badge_No"]["unique"])
    await crm.contact(Badge_No="7")
    assert (await crm.insert("Contacts", {"Last_Name": "B", "Badge_No": "7"})).status_code == 400


async def test_labels_that_meet_in_one_name_get_a_digit(crm: Crm) -> None:
    _, [item] = await create(crm, {"field_label": "XP (Art)", "data_type": "integer"})
    fields = await fields_of(crm, "Contacts")
    assert fields["XP_Art1"]["id"] == item["details"]["id"]


PICKLIST = {"field_label": "Colour", "data_type": "picklist"}


@pytest.mark.parametrize(
    ("field", "code", "name"),
    [
        ({"data_type": "text"}, "MANDATORY_NOT_FOUND", "field_label"),
        ({"field_label": "New"}, "MANDATORY_NOT_FOUND", "data_type"),
        ({"field_label": "x" * 26, "data_type": "text"}, "INVALID_DATA", "field_label"),
        ({"field_label": "???", "data_type": "text"}, "INVALID_DATA", "field_label"),
        ({"field_label": "external id", "data_type": "text"}, "DUPLICATE_DATA", "field_label"),
        ({"field_label": "Modified Time", "data_type": "text"}, "RESERVED_KEYWORD_NOT_ALLOWED", "field_label"),
        ({"field_label": "New", "data_type": "string"}, "INVALID_DATA", "data_type"),
        ({"field_label": "New", "data_type": "text", "length": 256}, "INVALID_DATA", "length"),
        ({"field_label": "New", "data_type": "integer", "length": 10}, "INVALID_DATA", "length"),
        ({"field_label": "New", "data_type": "text", "api_name": "New__c"}, "NOT_ALLOWED", "api_name"),
        ({"field_label": "New", "data_type": "boolean", "unique": {}}, "NOT_ALLOWED", "unique"),
        ({"field_label": "New", "data_type": "text", "unique": True}, "INVALID_DATA", "unique"),
        (PICKLIST, "MANDATORY_NOT_FOUND", "pick_list_values"),
        (PICKLIST | {"pick_list_values": ["red"]}, "MANDATORY_NOT_FOUND", "display_value"),
        (PICKLIST | {"pick_list_values": [{"display_value": "red"}] * 2}, "DUPLICATE_DATA", "display_value"),
    ],
)
async def test_a_field_that_cannot_be_made(crm: Crm, field: dict[str, Any], code: str, name: str) -> None:
    before = await fields_of(crm, "Contacts")
    status, [item] = await create(crm, field)
    assert (status, item["code"], item["details"]["api_name"]) == (400, code, name)
    assert await fields_of(crm, "Contacts") == before


async def test_five_fields_a_call_and_none_for_notes(crm: Crm) -> None:
    six = [{"field_label": f"New {number}", "data_type": "boolean"} for number in range(6)]
    assert (await create(crm, *six))[1][0]["code"] == "LIMIT_EXCEEDED"
    assert (await create(crm, *six[:5]))[0] == 201
    assert (await create(crm, six[5], module="Notes"))[1][0]["code"] == "NOT_SUPPORTED"


async def test_a_call_may_make_some_and_refuse_others(crm: Crm) -> None:
    good, bad = {"field_label": "New", "data_type": "date"}, {"field_label": "External ID", "data_type": "date"}
    status, made = await create(crm, good, bad)
    assert (status, [item["code"] for item in made]) == (207, ["SUCCESS", "DUPLICATE_DATA"])


async def test_a_module_holds_only_so_many_unique_fields(start: Start) -> None:
    crm = await start(max_unique_fields=1)
    _, [item] = await create(crm, {"field_label": "Badge No", "data_type": "text", "unique": {}})
    assert item["code"] == "LIMIT_EXCEEDED"
    assert item["details"]["limit"] == 1
