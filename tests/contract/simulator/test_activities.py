import pytest

from tests.contract.simulator.support import Crm, codes, details, items


def note(parent: object, **fields: object) -> dict[str, object]:
    return {"Parent_Id": {"module": {"api_name": "Contacts"}, "id": parent}, **fields}


async def test_a_task_hangs_on_its_contact(crm: Crm) -> None:
    contact = await crm.contact(First_Name="Jane")
    task = {"Subject": "Quest", "Who_Id": {"id": contact}, "$se_module": "Contacts", "Status": "Completed"}
    answer = await crm.insert("Tasks", task)
    assert answer.status_code == 201
    [record] = await crm.records("Tasks")
    assert record["Who_Id"] == {"id": contact, "name": "Jane Doe"}
    assert record["Closed_Time"] is not None


@pytest.mark.parametrize(
    ("fields", "code", "name"),
    [
        ({}, "MANDATORY_NOT_FOUND", "Subject"),
        ({"Subject": "x" * 256}, "INVALID_DATA", "Subject"),
        ({"Subject": "S", "Who_Id": {"id": "5725767000000999999"}}, "INVALID_DATA", "Who_Id"),
        ({"Subject": "S", "Who_Id": {"id": "0b5e7d0e-aaaa"}}, "INVALID_DATA", "Who_Id"),
        ({"Subject": "S", "Who_Id": {}}, "INVALID_DATA", "Who_Id"),
        ({"Subject": "S", "Who_Id": "5725767000000999999"}, "INVALID_DATA", "Who_Id"),
        ({"Subject": "S", "What_Id": {"id": "5725767000000999999"}}, "INVALID_DATA", "What_Id"),
        ({"Subject": "S", "Status": "Done"}, "INVALID_DATA", "Status"),
        ({"Subject": "S", "Due_Date": "soon"}, "INVALID_DATA", "Due_Date"),
        ({"Subject": "S", "Event_ID": "x" * 101}, "INVALID_DATA", "Event_ID"),
        ({"Subject": "S", "Closed_Time": "2024-01-01T00:00:00+00:00"}, "INVALID_DATA", "Closed_Time"),
    ],
)
async def test_a_task_that_does_not_fit_is_refused(crm: Crm, fields: dict[str, object], code: str, name: str) -> None:
    answer = await crm.insert("Tasks", fields)
    assert (answer.status_code, codes(answer), details(answer)["api_name"]) == (400, [code], name)


async def test_what_a_task_is_about_needs_its_module(crm: Crm) -> None:
    contact = await crm.contact()
    without = await crm.insert("Tasks", {"Subject": "S", "What_Id": {"id": contact}})
    beside = await crm.insert("Tasks", {"Subject": "S", "What_Id": {"id": contact}, "$se_module": "Contacts"})
    assert (codes(without), codes(beside)) == (["INVALID_DATA"], ["SUCCESS"])


async def test_the_same_event_twice_is_told_with_the_first_ones_id(crm: Crm) -> None:
    first = details(await crm.insert("Tasks", {"Subject": "S", "Event_ID": "e1"}))["id"]
    again = await crm.insert("Tasks", {"Subject": "S", "Event_ID": "e2"}, {"Subject": "S", "Event_ID": "e1"})
    assert (again.status_code, codes(again)) == (207, ["SUCCESS", "DUPLICATE_DATA"])
    assert items(again)[1]["details"]["id"] == first


async def test_a_note_is_added_either_way_and_read_from_its_contact(crm: Crm) -> None:
    contact, other = await crm.contact(), await crm.contact()
    assert (await crm.insert("Notes", note(contact, Note_Title="first"))).status_code == 201
    added = await crm.post(f"/Contacts/{contact}/Notes", {"data": [{"Note_Content": "second"}]})
    assert added.status_code == 201
    await crm.insert("Notes", note(other, Note_Title="elsewhere"))
    found = await crm.get(f"/Contacts/{contact}/Notes?fields=Note_Title,Note_Content,Parent_Id")
    assert [(one["Note_Title"], one["Note_Content"]) for one in items(found)] == [(None, "second"), ("first", None)]
    assert {one["Parent_Id"]["id"] for one in items(found)} == {contact}
    assert items(found)[0]["Parent_Id"]["module"]["api_name"] == "Contacts"
    assert found.json()["info"]["more_records"] is False


async def test_the_notes_of_a_contact_need_fields_and_may_be_none(crm: Crm) -> None:
    contact = await crm.contact()
    assert (await crm.get(f"/Contacts/{contact}/Notes")).json()["code"] == "REQUIRED_PARAM_MISSING"
    empty = await crm.get(f"/Contacts/{contact}/Notes?fields=id")
    assert (empty.status_code, empty.content) == (204, b"")
    assert (await crm.get("/Contacts/123/Notes?fields=id")).status_code == 400
    assert (await crm.post("/Contacts/123/Notes", {"data": [{"Note_Title": "T"}]})).status_code == 400


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "EXPECTED_FIELD_MISSING"),
        ({"Note_Title": " ", "Note_Content": ""}, "EXPECTED_FIELD_MISSING"),
        ({"Note_Title": "x" * 121}, "MULTIPLE_OR_MULTI_ERRORS"),
        ({"Note_Title": "x" * 121, "Note_Content": "c"}, "INVALID_DATA"),
        ({"Note_Title": "T", "Note_Content": "x" * 65536}, "INVALID_DATA"),
    ],
)
async def test_a_note_holds_a_title_or_a_content_within_bounds(crm: Crm, fields: dict[str, object], code: str) -> None:
    answer = await crm.insert("Notes", note(await crm.contact(), **fields))
    assert (answer.status_code, codes(answer)) == (400, [code])


@pytest.mark.parametrize(
    "parent",
    [
        {},
        {"Parent_Id": "{id}", "$se_module": "Contacts"},
        {"Parent_Id": {"id": "{id}"}, "$se_module": "Contacts"},
        {"Parent_Id": {"id": "{id}", "module": "Contacts"}},
        {"Parent_Id": {"id": "{id}", "module": {"api_name": "Leads"}}},
        {"Parent_Id": {"id": "123", "module": {"api_name": "Contacts"}}},
    ],
    ids=["none", "before v4", "no module", "module as text", "wrong module", "unknown id"],
)
async def test_a_note_needs_its_parent_in_the_present_form(crm: Crm, parent: dict[str, object]) -> None:
    contact = await crm.contact()

    def filled(value: object) -> object:
        if isinstance(value, dict):
            return {name: filled(one) for name, one in value.items()}
        return contact if value == "{id}" else value

    answer = await crm.insert("Notes", {"Note_Title": "T", **{name: filled(one) for name, one in parent.items()}})
    assert answer.status_code == 400
    assert codes(answer)[0] in {"INVALID_DATA", "MANDATORY_NOT_FOUND"}
    assert details(answer)["api_name"] == "Parent_Id"


async def test_the_same_note_twice_is_two_notes(crm: Crm) -> None:
    contact = await crm.contact()
    for _ in range(2):
        await crm.insert("Notes", note(contact, Note_Title="T"))
    assert len(await crm.records("Notes")) == 2


async def test_a_note_cannot_be_emptied(crm: Crm) -> None:
    made = details(await crm.insert("Notes", note(await crm.contact(), Note_Title="T")))["id"]
    answer = await crm.put(f"/Notes/{made}", {"data": [{"Note_Title": None}]})
    assert codes(answer) == ["EXPECTED_FIELD_MISSING"]
