import pytest

from tests.contract.simulator.support import Crm, items


async def rows(crm: Crm, query: str) -> list[dict[str, object]]:
    answer = await crm.post("/coql", {"select_query": query})
    assert answer.status_code in {200, 204}, answer.text
    return items(answer) if answer.status_code == 200 else []


async def fill(crm: Crm) -> None:
    await crm.insert(
        "Contacts",
        {"Last_Name": "A", "Total_XP": 1, "External_ID": "k1", "Signup_Date": "2024-01-01", "Parent_Linked": True},
        {"Last_Name": "B", "Total_XP": 2, "External_ID": "k2", "Last_Active_At": "2024-06-01T00:00:00+00:00"},
        {"Last_Name": "C'", "External_ID": "k3"},
    )


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("External_ID = 'k1'", "A"),
        ("External_ID != 'k1'", "BC"),
        ("External_ID in ('k1', 'k3')", "AC"),
        ("External_ID not in ('k1', 'k3')", "B"),
        ("Total_XP > 1", "B"),
        ("Total_XP >= 1 and Total_XP < 2", "A"),
        ("Total_XP <= 1 or External_ID = 'k3'", "AC"),
        ("(Total_XP = 1 or Total_XP = 2) and Last_Name = 'b'", "B"),
        ("((Total_XP = 1) and (Last_Name = 'A')) or External_ID = 'k2'", "AB"),
        ("Total_XP is null", "C"),
        ("Total_XP is not null", "AB"),
        ("External_ID like 'k%'", "ABC"),
        ("External_ID like '%2'", "B"),
        ("External_ID not like '%2'", "AC"),
        ("Total_XP between 2 and 5", "B"),
        ("Signup_Date = '2024-01-01'", "A"),
        ("Last_Active_At >= '2024-05-31T23:00:00-01:00'", "B"),
        ("Parent_Linked = true", "A"),
        ("Last_Name = 'C\\''", "C"),
        ("Last_Name = 'nobody'", ""),
    ],
)
async def test_conditions(crm: Crm, where: str, found: str) -> None:
    await fill(crm)
    data = await rows(crm, f"select Last_Name, External_ID from Contacts where {where} order by Last_Name")
    assert "".join(str(one["Last_Name"])[0] for one in data) == found


async def test_a_row_holds_the_columns_and_the_id(crm: Crm) -> None:
    contact = await crm.contact(External_ID="k1")
    await crm.insert("Tasks", {"Subject": "S", "Who_Id": {"id": contact}, "Event_ID": "e1"})
    query = f"SELECT Subject, Who_Id, Who_Id.id, Who_Id.External_ID FROM Tasks WHERE Who_Id.id = {contact}"
    [row] = await rows(crm, query)
    assert row.pop("id")
    assert row == {"Subject": "S", "Who_Id": {"id": contact}, "Who_Id.id": contact, "Who_Id.External_ID": "k1"}


async def test_order_limit_and_offset(crm: Crm) -> None:
    await fill(crm)
    base = "select Last_Name from Contacts where Last_Name is not null order by Total_XP desc, Last_Name asc"
    assert [one["Last_Name"] for one in await rows(crm, base)] == ["B", "A", "C'"]
    assert [one["Last_Name"] for one in await rows(crm, f"{base} limit 1 offset 1")] == ["A"]
    assert [one["Last_Name"] for one in await rows(crm, f"{base} limit 1, 2")] == ["A", "C'"]


async def test_keyset_paging_by_id(crm: Crm) -> None:
    await fill(crm)
    seen: list[object] = []
    last = "0"
    while True:
        page = await rows(crm, f"select id, Last_Name from Contacts where id > {last} order by id limit 2")
        if not page:
            break
        seen += [one["Last_Name"] for one in page]
        last = str(page[-1]["id"])
    assert seen == ["A", "B", "C'"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("select id from Contacts", "SYNTAX_ERROR"),
        ("select from Contacts where id > 0", "SYNTAX_ERROR"),
        ("select * from Contacts where id > 0", "SYNTAX_ERROR"),
        ("delete from Contacts where id > 0", "SYNTAX_ERROR"),
        ("select id from Contacts where id > 0 and id > 1 and id > 2", "SYNTAX_ERROR"),
        ("select id from Contacts where (id > 0", "SYNTAX_ERROR"),
        ("select id from Contacts where Last_Name = A", "SYNTAX_ERROR"),
        ("select id from Contacts where Last_Name = 'A' limit x", "SYNTAX_ERROR"),
        ("select Nope from Contacts where id > 0", "INVALID_QUERY"),
        ("select id from Contacts where Nope = 1", "INVALID_QUERY"),
        ("select id from Contacts where Total_XP = 'many'", "INVALID_QUERY"),
        ("select id from Contacts where Description = 'x'", "INVALID_QUERY"),
        ("select id from Contacts where id > 0 order by Nope", "INVALID_QUERY"),
        ("select Who_Id.Nope from Tasks where id > 0", "INVALID_QUERY"),
        ("select id from Students where id > 0", "INVALID_MODULE"),
        ("select id from Notes where id > 0", "INVALID_MODULE"),
        ("select id from Contacts where id > 0 limit 2001", "LIMIT_EXCEEDED"),
        ("select id from Contacts where id > 0 limit 2000 offset 99000", "LIMIT_EXCEEDED"),
        (f"select id from Contacts where id in ({','.join(['1'] * 51)})", "LIMIT_EXCEEDED"),
        (f"select {','.join(['id'] * 51)} from Contacts where id > 0", "LIMIT_EXCEEDED"),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(crm: Crm, query: str, code: str) -> None:
    await fill(crm)
    answer = await crm.post("/coql", {"select_query": query})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_a_call_without_a_query(crm: Crm) -> None:
    assert (await crm.post("/coql", {})).json()["code"] == "MANDATORY_NOT_FOUND"


async def test_nothing_found_is_204(crm: Crm) -> None:
    answer = await crm.post("/coql", {"select_query": "select id from Contacts where id > 0"})
    assert (answer.status_code, answer.content) == (204, b"")
