import httpx
import pytest

from tests.contract.simulator.conftest import Start
from tests.contract.simulator.support import Crm, codes, details, items


async def test_results_come_in_the_order_of_the_request(crm: Crm) -> None:
    answer = await crm.insert("Contacts", {"Last_Name": "A"}, {}, {"Last_Name": "C"})
    assert answer.status_code == 207
    assert codes(answer) == ["SUCCESS", "MANDATORY_NOT_FOUND", "SUCCESS"]
    assert items(answer)[1]["details"]["json_path"] == "$.data[1].Last_Name"
    assert [record["Last_Name"] for record in await crm.records("Contacts")] == ["A", "C"]


async def test_a_success_names_the_record_and_its_times(crm: Crm) -> None:
    answer = await crm.insert("Contacts", {"Last_Name": "A"})
    assert answer.status_code == 201
    found = details(answer)
    assert len(found["id"]) == 19
    assert found["id"].isdecimal()
    assert set(found) == {"id", "Created_Time", "Modified_Time", "Created_By", "Modified_By"}


async def test_all_refused_is_400_with_results(crm: Crm) -> None:
    answer = await crm.insert("Contacts", {}, {})
    assert (answer.status_code, codes(answer)) == (400, ["MANDATORY_NOT_FOUND"] * 2)


async def test_other_documented_statuses_can_be_chosen(start: Start) -> None:
    crm = await start(mixed_status=202, refused_status=202)
    assert (await crm.insert("Contacts", {})).status_code == 202


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{not json", "INVALID_DATA"),
        (b"[]", "INVALID_DATA"),
        (b"", "INVALID_DATA"),
        (b'{"data":[{"Last_Name":NaN}]}', "INVALID_DATA"),
        (b"{}", "MANDATORY_NOT_FOUND"),
        (b'{"data":[]}', "INVALID_DATA"),
        (b'{"data":{}}', "INVALID_DATA"),
        (b'{"data":[{"Last_Name":"A"}],"trigger":"workflow"}', "INVALID_DATA"),
        (b'{"data":[{"Last_Name":"A"}],"trigger":["workflows"]}', "INVALID_DATA"),
    ],
)
async def test_an_unreadable_body_is_refused_as_a_whole(crm: Crm, body: bytes, code: str) -> None:
    answer = await crm.call("POST", "/Contacts", content=body)
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (400, code, "error")
    assert await crm.records("Contacts") == []


async def test_a_body_needs_no_content_type(crm: Crm) -> None:
    answer = await crm.call("POST", "/Contacts", content=b'{"data":[{"Last_Name":"A"}]}')
    assert answer.status_code == 201


async def test_more_than_a_hundred_records_are_refused(crm: Crm) -> None:
    answer = await crm.insert("Contacts", *[{"Last_Name": "A"}] * 101)
    assert (answer.status_code, answer.json()["code"]) == (400, "LIMIT_EXCEEDED")
    assert answer.json()["details"]["limit"] == 100
    assert (await crm.insert("Contacts", *[{"Last_Name": "A"}] * 100)).status_code == 201


async def test_an_item_that_is_no_object_fails_alone(crm: Crm) -> None:
    answer = await crm.insert("Contacts", {"Last_Name": "A"}, "B")
    assert (answer.status_code, codes(answer)) == (207, ["SUCCESS", "INVALID_DATA"])


async def test_an_unknown_module_is_refused(crm: Crm) -> None:
    answer = await crm.insert("Students", {"Last_Name": "A"})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_MODULE")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/crm/v3/Contacts", 404, "INVALID_URL_PATTERN"),
        ("PATCH", "/crm/v8/Contacts", 405, "INVALID_REQUEST_METHOD"),
    ],
)
async def test_wrong_paths_and_methods(crm: Crm, method: str, path: str, status: int, code: str) -> None:
    answer = await crm.call(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_unique_value_is_taken_once(crm: Crm) -> None:
    first = await crm.contact(External_ID="Key-1")
    answer = await crm.insert("Contacts", {"Last_Name": "B", "External_ID": "key-1"})
    assert (answer.status_code, codes(answer)) == (400, ["DUPLICATE_DATA"])
    found = details(answer)
    assert found["api_name"] == "External_ID"
    assert found["id"] == found["duplicate_record"]["id"] == first
    assert found["duplicate_record"]["module"]["api_name"] == "Contacts"
    assert found["more_records"] is False


async def test_a_unique_value_is_free_again_after_a_deletion(crm: Crm) -> None:
    first = await crm.contact(External_ID="k")
    await crm.delete(f"/Contacts/{first}")
    await crm.contact(External_ID="k")


async def test_a_unique_value_is_free_again_after_it_was_changed(crm: Crm) -> None:
    first = await crm.contact(External_ID="k")
    await crm.put(f"/Contacts/{first}", {"data": [{"External_ID": "other"}]})
    second = await crm.contact(External_ID="k")
    refused = await crm.put(f"/Contacts/{second}", {"data": [{"External_ID": "other"}]})
    assert codes(refused) == ["DUPLICATE_DATA"]
    assert (await crm.put(f"/Contacts/{second}", {"data": [{"External_ID": "k"}]})).status_code == 200


async def test_the_same_address_twice_is_no_duplicate_unless_the_organisation_says_so(start: Start) -> None:
    lenient, strict = await start(), await start(unique_email=True)
    for crm in (lenient, strict):
        await crm.contact(Email="a@ex.com")
    assert (await lenient.insert("Contacts", {"Last_Name": "B", "Email": "a@ex.com"})).status_code == 201
    refused = await strict.insert("Contacts", {"Last_Name": "B", "Email": "A@ex.com"})
    assert details(refused)["api_name"] == "Email"


async def test_updating_many_goes_by_id(crm: Crm) -> None:
    first, second = await crm.contact(), await crm.contact()
    answer = await crm.put(
        "/Contacts",
        {
            "data": [
                {"id": first, "Last_Name": "A"},
                {"id": int(second), "Last_Name": "B"},  # a number is taken as well
                {"id": "1", "Last_Name": "C"},
                {"Last_Name": "D"},
                {"id": first, "Last_Name": "E"},
            ]
        },
    )
    assert answer.status_code == 207
    assert codes(answer) == ["SUCCESS", "SUCCESS", "INVALID_DATA", "MANDATORY_NOT_FOUND", "DUPLICATE_DATA"]
    assert items(answer)[2]["message"] == "the id given seems to be invalid"
    assert [record["Last_Name"] for record in await crm.records("Contacts")] == ["A", "B"]


async def test_deleting_many_tells_each_id_apart(crm: Crm) -> None:
    first = await crm.contact()
    answer = await crm.delete(f"/Contacts?ids={first},123")
    assert answer.status_code == 207
    assert items(answer)[0] == {
        "code": "SUCCESS",
        "details": {"id": first},
        "message": "record deleted",
        "status": "success",
    }
    assert items(answer)[1]["code"] == "INVALID_DATA"
    assert items(answer)[1]["details"] == {"id": "123"}
    assert (await crm.delete(f"/Contacts/{first}")).status_code == 400


async def test_deleting_needs_ids_and_no_more_than_a_hundred(crm: Crm) -> None:
    assert (await crm.delete("/Contacts")).json()["code"] == "REQUIRED_PARAM_MISSING"
    many = ",".join(map(str, range(1, 102)))
    assert (await crm.delete(f"/Contacts?ids={many}")).json()["code"] == "LIMIT_EXCEEDED"


async def test_a_deleted_contact_takes_its_notes_and_leaves_its_tasks(crm: Crm) -> None:
    contact, other = await crm.contact(), await crm.contact()
    for parent in (contact, other):
        await crm.insert("Tasks", {"Subject": "S", "Who_Id": {"id": parent}})
        await crm.post(f"/Contacts/{parent}/Notes", {"data": [{"Note_Title": "T"}]})
    await crm.delete(f"/Contacts/{contact}")
    assert [task["Who_Id"] and task["Who_Id"]["id"] for task in await crm.records("Tasks")] == [None, other]
    assert [note["Parent_Id"]["id"] for note in await crm.records("Notes")] == [other]


async def test_the_connection_survives_a_refused_call(crm: Crm) -> None:
    for _ in range(3):
        answer: httpx.Response = await crm.insert("Contacts", {})
        assert answer.status_code == 400
    assert await crm.contact()
