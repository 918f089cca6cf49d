"""Each rule about a value, as one row: what is sent, and what Zoho says."""

from typing import Any

import pytest

from tests.contract.simulator.support import Crm, codes, details, items

TYPE = "expected_data_type"

REFUSED = [
    ("Last_Name", "x" * 81, {"maximum_length": 80}),
    ("First_Name", "x" * 41, {"maximum_length": 40}),
    ("External_ID", "x" * 37, {"maximum_length": 36}),
    ("Last_Name", 5, {TYPE: "string"}),
    ("Email", "not an address", {TYPE: "email"}),
    ("Email", "a" * 95 + "@ex.com", {"maximum_length": 100}),
    ("Total_XP", "5", {TYPE: "integer"}),
    ("Total_XP", 5.0, {TYPE: "integer"}),
    ("Total_XP", True, {TYPE: "integer"}),
    ("Total_XP", "", {TYPE: "integer"}),
    ("Total_XP", 1_000_000_000, {"maximum_length": 9}),
    ("Total_XP", -1_000_000_000, {"maximum_length": 9}),
    ("Parent_Linked", "true", {TYPE: "boolean"}),
    ("Parent_Linked", 1, {TYPE: "boolean"}),
    ("Signup_Date", "2024-02-30", {TYPE: "date"}),
    ("Signup_Date", "2024-2-3", {TYPE: "date"}),
    ("Signup_Date", "2024-02-03T00:00:00+00:00", {TYPE: "date"}),
    ("Last_Active_At", "2024-02-03T10:00:00", {TYPE: "datetime"}),
    ("Last_Active_At", "2024-02-03T10:00:00.123+00:00", {TYPE: "datetime"}),
    ("Last_Active_At", "2024-02-03 10:00:00+00:00", {TYPE: "datetime"}),
    ("Last_Active_At", "2024-02-03T10:00:00Z", {TYPE: "datetime"}),
    ("Last_Active_At", "2024-02-03T25:00:00+00:00", {TYPE: "datetime"}),
    ("User_Type", "Teacher", {"supported_values": ["Student", "Parent", "Advisor", "Admin", "Observer"]}),
    ("User_Type", "student", {"supported_values": ["Student", "Parent", "Advisor", "Admin", "Observer"]}),
    ("Portfolio_URL", "nowhere", {TYPE: "website"}),
    ("Portfolio_URL", "https://ex.com/" + "x" * 450, {"maximum_length": 450}),
    ("Full_Name", "Jane Doe", {}),
    ("Created_Time", "2024-02-03T10:00:00+00:00", {}),
    ("Account_Name", "1234", {TYPE: "jsonobject"}),
    ("Account_Name", {"id": "1234"}, {}),
    ("Owner", {"id": "1234"}, {}),
]


@pytest.mark.parametrize(("name", "value", "why"), REFUSED, ids=[f"{row[0]}-{n}" for n, row in enumerate(REFUSED)])
async def test_a_value_that_does_not_fit_is_refused(crm: Crm, name: str, value: object, why: dict[str, Any]) -> None:
    answer = await crm.insert("Contacts", {"Last_Name": "Doe", name: value})
    assert answer.status_code == 400
    assert codes(answer) == ["INVALID_DATA"]
    assert details(answer) == {**why, "api_name": name, "json_path": f"$.data[0].{name}"}
    assert await crm.records("Contacts") == []


TAKEN = [
    ("Last_Name", "x" * 80, "x" * 80),
    ("Total_XP", 999_999_999, 999_999_999),
    ("Total_XP", None, None),
    ("Parent_Linked", True, True),
    ("Parent_Linked", None, False),
    ("Signup_Date", "2024-02-29", "2024-02-29"),
    ("Last_Active_At", "2024-02-03T10:00:00+00:00", "2024-02-03T03:00:00-07:00"),
    ("User_Type", "Student", "Student"),
    ("LMS_Platform", "Google Classroom", "Google Classroom"),
    ("Portfolio_URL", "https://ex.com/p/jane", "https://ex.com/p/jane"),
    ("Email", "jane.o'neil+x@sub.ex.com", "jane.o'neil+x@sub.ex.com"),
    ("Phone", "+1 (555) 010-2030", "+1 (555) 010-2030"),
    ("First_Name", "", None),
]


@pytest.mark.parametrize(("name", "value", "kept"), TAKEN, ids=[f"{row[0]}-{n}" for n, row in enumerate(TAKEN)])
async def test_a_value_that_fits_is_kept(crm: Crm, name: str, value: object, kept: object) -> None:
    answer = await crm.insert("Contacts", {"Last_Name": "Doe", name: value})
    assert answer.status_code == 201, answer.text
    assert (await crm.records("Contacts"))[0][name] == kept


async def test_an_unknown_name_is_ignored_without_a_word(crm: Crm) -> None:
    answer = await crm.insert("Contacts", {"Last_Name": "Doe", "External_ID__c": "lost"})
    assert (answer.status_code, codes(answer)) == (201, ["SUCCESS"])
    [record] = await crm.records("Contacts")
    assert record["External_ID"] is None
    assert "External_ID__c" not in record


@pytest.mark.parametrize("last_name", [None, "", "   "])
async def test_an_empty_mandatory_field_is_as_good_as_none(crm: Crm, last_name: str | None) -> None:
    answer = await crm.insert("Contacts", {"Last_Name": last_name})
    assert codes(answer) == ["MANDATORY_NOT_FOUND"]
    assert details(answer) == {"api_name": "Last_Name", "json_path": "$.data[0].Last_Name"}


async def test_several_faults_of_one_record_come_together(crm: Crm) -> None:
    answer = await crm.insert("Contacts", {"Total_XP": "5", "Signup_Date": "soon"})
    assert codes(answer) == ["MULTIPLE_OR_MULTI_ERRORS"]
    errors = details(answer)["errors"]
    assert {(error["code"], error["details"]["api_name"]) for error in errors} == {
        ("INVALID_DATA", "Total_XP"),
        ("INVALID_DATA", "Signup_Date"),
        ("MANDATORY_NOT_FOUND", "Last_Name"),
    }


async def test_null_clears_and_an_absent_key_leaves_alone(crm: Crm) -> None:
    record_id = await crm.contact(First_Name="Jane", Total_XP=7)
    answer = await crm.put("/Contacts", {"data": [{"id": record_id, "Total_XP": None}]})
    assert items(answer)[0]["message"] == "record updated"
    [record] = await crm.records("Contacts")
    assert (record["First_Name"], record["Total_XP"]) == ("Jane", None)


async def test_null_on_a_mandatory_field_fails(crm: Crm) -> None:
    record_id = await crm.contact()
    answer = await crm.put(f"/Contacts/{record_id}", {"data": [{"Last_Name": None}]})
    assert (answer.status_code, codes(answer)) == (400, ["MANDATORY_NOT_FOUND"])


async def test_the_full_name_follows_its_parts(crm: Crm) -> None:
    record_id = await crm.contact(First_Name="Jane")
    await crm.put(f"/Contacts/{record_id}", {"data": [{"Last_Name": "Roe"}]})
    assert (await crm.records("Contacts"))[0]["Full_Name"] == "Jane Roe"
