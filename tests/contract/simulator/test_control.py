import re

import httpx
import pytest

from tests.contract.simulator.support import Crm


async def test_the_log_tells_what_was_asked_and_what_became_of_it(crm: Crm) -> None:
    await crm.upsert({"Last_Name": "Secretname", "External_ID": "k"}, {}, by=["External_ID"])
    [call] = await crm.calls(kind="upsert", module="Contacts")
    assert (call["method"], call["path"], call["module"]) == ("POST", "/crm/v8/Contacts/upsert", "Contacts")
    assert (call["status"], call["outcome"], call["codes"]) == (207, "partial", ["SUCCESS", "MANDATORY_NOT_FOUND"])
    assert call["duration_ms"] > 0
    assert call["workflows"] is False
    assert "Secretname" not in str(await crm.calls())


async def test_the_log_tells_whether_workflows_were_let_run(crm: Crm) -> None:
    await crm.insert("Contacts", {"Last_Name": "A"})
    await crm.insert("Contacts", {"Last_Name": "A"}, trigger=[])
    assert [call["workflows"] for call in await crm.calls(kind="insert")] == [True, False]


async def test_the_log_can_be_read_in_parts(crm: Crm) -> None:
    for _ in range(3):
        await crm.get("/org")
    calls = await crm.calls(kind="org")
    assert [call["number"] for call in await crm.calls(after=str(calls[0]["number"]))] == [
        call["number"] for call in calls[1:]
    ]
    assert await crm.calls(last="1") == calls[-1:]
    assert (await crm.get("/_sim/calls?after=x")).status_code == 422


async def test_the_history_keeps_every_write_in_order(crm: Crm) -> None:
    record_id = await crm.contact(Total_XP=1)
    await crm.put(f"/Contacts/{record_id}", {"data": [{"Total_XP": 2}]})
    await crm.delete(f"/Contacts/{record_id}")
    history = (await crm.get("/_sim/history/Contacts")).json()
    assert [(one["number"], one["action"], one["fields"].get("Total_XP")) for one in history] == [
        (1, "insert", 1),
        (2, "update", 2),
        (3, "delete", None),
    ]
    assert {one["id"] for one in history} == {record_id}


async def test_a_reset_forgets_records_calls_credits_and_faults(crm: Crm) -> None:
    await crm.contact()
    await crm.fault(action="slow")
    await crm.post("/settings/fields?module=Contacts", {"fields": [{"field_label": "New", "data_type": "date"}]})
    await crm.post("/_sim/reset", {})
    assert await crm.records("Contacts") == []
    assert await crm.calls() == []
    assert (await crm.get("/_sim/credits")).json()["used"] == 0
    assert (await crm.get("/_sim/faults")).json() == []
    assert "New" in crm.running.simulation.org.modules["Contacts"].fields
    await crm.post("/_sim/reset", {"fields": True})
    assert "New" not in crm.running.simulation.org.modules["Contacts"].fields
    assert (await crm.insert("Contacts", {"Last_Name": "A"})).status_code == 201


@pytest.mark.parametrize(
    ("path", "body"), [("/_sim/reset", {"everything": True}), ("/_sim/clock", {"seconds": -1}), ("/_sim/codes", [])]
)
async def test_control_calls_are_checked(crm: Crm, path: str, body: object) -> None:
    assert (await crm.post(path, body)).status_code == 422


async def test_records_of_an_unknown_module(crm: Crm) -> None:
    assert (await crm.get("/_sim/records/Nope")).status_code == 404


async def test_a_foreign_host_name_is_refused(crm: Crm) -> None:
    answer = await crm.get("/_sim/calls", headers={"Host": "attacker.example"})
    assert answer.status_code == 400


async def test_the_page_masks_people_until_asked(crm: Crm) -> None:
    name = "Zimmermann<script>"
    contact = await crm.contact(First_Name="Jane", Last_Name=name, Email="jane@ex.com", Total_XP=4711)
    await crm.insert("Tasks", {"Subject": "Finished by Jane", "Who_Id": {"id": contact}})
    page = await crm.call("GET", "/_sim/../")
    assert page.status_code == 200
    assert "4711" in page.text
    for secret in ("Zimmermann", "jane@ex.com", "Finished by Jane"):
        assert secret not in page.text
    revealed = (await crm.get("/_sim/fragment?reveal=1")).text
    assert "jane@ex.com" in revealed
    assert "Zimmermann&lt;script&gt;" in revealed
    assert name not in revealed


async def test_the_page_brings_everything_it_needs(crm: Crm) -> None:
    async with httpx.AsyncClient(base_url=crm.running.url) as browser:
        page = await browser.get("/")
    assert page.headers["content-type"].startswith("text/html")
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", page.headers["content-security-policy"])
    assert nonce is not None
    assert f'<script nonce="{nonce.group(1)}">' in page.text
    assert not re.search(r"(src|href)=|url\(|@import", page.text)


async def test_the_page_shows_calls_with_their_price(crm: Crm) -> None:
    await crm.upsert(*[{"Last_Name": "A"}] * 95)
    fragment = (await crm.get("/_sim/fragment")).text
    assert "/crm/v8/Contacts/upsert" in fragment
    assert "last 50 of 95" in fragment
    assert "10 cr" in fragment
