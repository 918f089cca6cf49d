from urllib.parse import quote

import pytest

from tests.contract.simulator.conftest import Start
from tests.contract.simulator.support import Crm, items


async def fill(crm: Crm, count: int) -> None:
    for start in range(0, count, 100):
        data = [{"Last_Name": f"L{number}"} for number in range(start, min(start + 100, count))]
        assert (await crm.insert("Contacts", *data)).status_code == 201


async def test_one_record_with_all_fields_or_some(crm: Crm) -> None:
    record_id = await crm.contact(Total_XP=3)
    [whole] = items(await crm.get(f"/Contacts/{record_id}"))
    assert (whole["id"], whole["Total_XP"], whole["Full_Name"], whole["Email"]) == (record_id, 3, "Doe", None)
    [some] = items(await crm.get(f"/Contacts/{record_id}?fields=Total_XP,Nope"))
    assert some == {"Total_XP": 3, "id": record_id}


@pytest.mark.parametrize(("record_id", "status"), [("5725767000000999999", 204), ("External-1", 400)])
async def test_a_record_that_is_not_there(crm: Crm, record_id: str, status: int) -> None:
    assert (await crm.get(f"/Contacts/{record_id}")).status_code == status


async def test_a_list_needs_fields(crm: Crm) -> None:
    answer = await crm.get("/Contacts")
    assert (answer.status_code, answer.json()["code"]) == (400, "REQUIRED_PARAM_MISSING")
    assert answer.json()["details"] == {"param_name": "fields"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("fields=" + ",".join(f"f{number}" for number in range(51)), "LIMIT_EXCEEDED"),
        ("fields=id&per_page=201", "INVALID_DATA"),
        ("fields=id&per_page=0", "INVALID_DATA"),
        ("fields=id&page=x", "INVALID_DATA"),
        ("fields=id&page=11", "DISCRETE_PAGINATION_LIMIT_EXCEEDED"),
        ("fields=id&page_token=made-up", "INVALID_DATA"),
        ("fields=id&page_token=made-up&page=2", "AMBIGUITY_DURING_PROCESSING"),
        ("fields=id&sort_by=Last_Name", "INVALID_DATA"),
        ("fields=id&sort_order=up", "INVALID_DATA"),
    ],
)
async def test_list_parameters_out_of_bounds(crm: Crm, query: str, code: str) -> None:
    await crm.contact()
    answer = await crm.get(f"/Contacts?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_an_empty_list_is_204_without_a_body(crm: Crm) -> None:
    answer = await crm.get("/Contacts?fields=id")
    assert (answer.status_code, answer.content) == (204, b"")


async def test_pages_by_number_then_by_token(crm: Crm) -> None:
    await fill(crm, 2_100)
    seen: list[str] = []
    answer = await crm.get("/Contacts?fields=Last_Name&sort_by=id&sort_order=asc&page=10")
    assert answer.json()["info"]["more_records"] is True
    assert answer.json()["info"]["count"] == 200
    token = ""
    while True:
        more = f"&page_token={token}" if token else ""
        answer = await crm.get(f"/Contacts?fields=Last_Name&sort_by=id&sort_order=asc{more}")
        seen += [one["Last_Name"] for one in items(answer)]
        token = answer.json()["info"]["next_page_token"]
        if not answer.json()["info"]["more_records"]:
            break
    assert token is None
    assert seen == [f"L{number}" for number in range(2_100)]


async def test_a_page_token_is_bound_to_its_list_and_expires(crm: Crm) -> None:
    await fill(crm, 3)
    token = (await crm.get("/Contacts?fields=id&per_page=1")).json()["info"]["next_page_token"]
    other = await crm.get(f"/Contacts?fields=id,Last_Name&per_page=1&page_token={token}")
    assert other.json()["code"] == "TOKEN_BOUND_DATA_MISMATCH"
    await crm.post("/_sim/clock", {"seconds": 24 * 3600 + 1})
    await crm.sign_in()
    late = await crm.get(f"/Contacts?fields=id&per_page=1&page_token={token}")
    assert late.json()["code"] == "EXPIRED_VALUE"


async def test_modified_since_shows_what_changed_and_304_for_nothing(crm: Crm) -> None:
    old = await crm.contact()
    await crm.post("/_sim/clock", {"seconds": 60})
    now = (await crm.get("/_sim/clock")).json()["now"]
    nothing = await crm.get("/Contacts?fields=id", headers={"If-Modified-Since": now})
    assert (nothing.status_code, nothing.content) == (304, b"")
    await crm.post("/_sim/clock", {"seconds": 60})
    new = await crm.contact()
    found = await crm.get("/Contacts?fields=id", headers={"If-Modified-Since": now})
    assert [one["id"] for one in items(found)] == [new]
    assert (await crm.get(f"/Contacts/{old}", headers={"If-Modified-Since": now})).status_code == 304
    wrong = await crm.get("/Contacts?fields=id", headers={"If-Modified-Since": "yesterday"})
    assert wrong.json()["code"] == "INVALID_DATA"


async def test_deleted_records_are_listed(crm: Crm) -> None:
    assert (await crm.get("/Contacts/deleted")).status_code == 204
    record_id = await crm.contact()
    await crm.delete(f"/Contacts/{record_id}")
    [grave] = items(await crm.get("/Contacts/deleted?type=recycle"))
    assert (grave["id"], grave["type"], grave["display_name"]) == (record_id, "recycle", "Doe")
    assert (await crm.get("/Contacts/deleted?type=permanent")).status_code == 204
    assert (await crm.get("/Contacts/deleted?type=some")).status_code == 400


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("email=B@ex.com", ["B"]),
        ("word=re", ["A"]),
        ("criteria=" + quote("(Last_Name:equals:a)"), ["A"]),
        ("criteria=" + quote("((Total_XP:greater_than:5)and(User_Type:equals:Student))"), ["B"]),
        ("criteria=" + quote("((Last_Name:starts_with:A)or(Total_XP:between:10,20))"), ["B", "A"]),
        ("criteria=" + quote("(Last_Name:in:A,B)"), ["B", "A"]),
        ("criteria=" + quote("(Last_Name:not_equal:A)"), ["B"]),
        ("criteria=" + quote("(First_Name:equals:a\\(b\\))"), ["B"]),
        ("phone=123", []),
    ],
)
async def test_search(crm: Crm, query: str, found: list[str]) -> None:
    await crm.insert(
        "Contacts",
        {"Last_Name": "A", "Total_XP": 5, "User_Type": "Student", "Title": "On Return"},
        {"Last_Name": "B", "First_Name": "a(b)", "Total_XP": 10, "User_Type": "Student", "Email": "b@ex.com"},
    )
    answer = await crm.get(f"/Contacts/search?{query}")
    if found:
        assert [one["Last_Name"] for one in items(answer)] == found
    else:
        assert answer.status_code == 204
    assert (await crm.get(f"/Contacts/actions/count?{query}")).json() == {"count": len(found)}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "criteria=Last_Name",
        "criteria=" + quote("(Nope:equals:A)"),
        "criteria=" + quote("(Last_Name:like:A)"),
        "criteria=" + quote("(Total_XP:equals:many)"),
        "criteria=" + quote("(Description:equals:A)"),
        "criteria=" + quote("(Last_Name:equals:A"),
        "criteria=" + quote("(" + "and".join(["(Last_Name:equals:A)"] * 11) + ")"),
        "word=a",
    ],
)
async def test_a_search_that_makes_no_sense_is_refused(crm: Crm, query: str) -> None:
    assert (await crm.get(f"/Contacts/search?{query}")).status_code == 400


async def test_the_search_index_lags_behind_writes(start: Start) -> None:
    crm = await start(search_lag=60.0)
    await crm.contact(Email="a@ex.com")
    assert (await crm.get("/Contacts/search?email=a@ex.com")).status_code == 204
    await crm.post("/_sim/clock", {"seconds": 61})
    assert len(items(await crm.get("/Contacts/search?email=a@ex.com"))) == 1


async def test_count_of_everything(crm: Crm) -> None:
    await crm.contact()
    assert (await crm.get("/Contacts/actions/count")).json() == {"count": 1}
    both = await crm.get("/Contacts/actions/count?cvid=1&word=ab")
    assert both.json()["code"] == "AMBIGUITY_DURING_PROCESSING"
