import asyncio
import time
from typing import Any

import httpx
import pytest

from tests.contract.simulator.support import Crm, codes, items
from tests.support.waiting import until

PEOPLE = [{"Last_Name": name, "External_ID": f"k-{name}"} for name in "ABC"]


async def upsert(crm: Crm) -> httpx.Response:
    return await crm.upsert(*PEOPLE, by=["External_ID"])


async def test_single_records_are_refused_and_their_neighbours_are_not(crm: Crm) -> None:
    await crm.fault(action="refuse", code="RECORD_LOCKED", message="record locked", records=[1], times=1)
    answer = await upsert(crm)
    assert (answer.status_code, codes(answer)) == (207, ["SUCCESS", "RECORD_LOCKED", "SUCCESS"])
    assert len(await crm.records("Contacts")) == 2
    assert codes(await upsert(crm)) == ["SUCCESS"] * 3


async def test_a_poison_record_is_refused_wherever_it_comes(crm: Crm) -> None:
    await crm.fault(action="refuse", where={"External_ID": "k-B"}, details={"api_name": "Email"})
    for _ in range(2):
        answer = await upsert(crm)
        assert codes(answer) == ["SUCCESS", "INVALID_DATA", "SUCCESS"]
        assert items(answer)[1]["details"] == {"api_name": "Email"}
    assert (await crm.contact(External_ID="k-D")) != ""
    [rule] = (await crm.get("/_sim/faults")).json()
    assert rule["struck"] == 2


async def test_a_chance_is_repeatable_by_its_seed(crm: Crm) -> None:
    async def run() -> list[str]:
        await crm.post("/_sim/reset", {})
        await crm.fault(action="refuse", code="INTERNAL_ERROR", probability=0.5, seed=7)
        return [code for _ in range(10) for code in codes(await upsert(crm))]

    first = await run()
    assert first == await run()
    assert {"SUCCESS", "INTERNAL_ERROR"} == set(first)


async def test_a_lost_answer_after_the_work_was_done(crm: Crm) -> None:
    await crm.fault(action="apply_then_lose", kind="upsert", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await upsert(crm)
    assert len(await crm.records("Contacts")) == 3
    [call] = await crm.calls(kind="upsert")
    assert (call["outcome"], call["status"], call["faults"]) == ("answer lost", None, ["apply_then_lose"])
    assert call["codes"] == ["SUCCESS"] * 3
    assert [item["action"] for item in items(await upsert(crm))] == ["update"] * 3


async def test_a_lost_call_did_nothing(crm: Crm) -> None:
    await crm.fault(action="lose", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await upsert(crm)
    assert await crm.records("Contacts") == []
    assert (await crm.get("/_sim/credits")).json()["used"] == 0


@pytest.mark.parametrize(("action", "records"), [("hang", 0), ("apply_then_hang", 3)])
async def test_a_call_that_never_answers(crm: Crm, action: str, records: int) -> None:
    await crm.fault(action=action, times=1)
    with pytest.raises(httpx.ReadTimeout):
        await crm.call("POST", "/Contacts/upsert", json={"data": PEOPLE}, timeout=0.3)
    assert len(await crm.records("Contacts")) == records
    assert (await upsert(crm)).status_code == 200


async def test_closing_does_not_wait_for_calls_that_hang(crm: Crm) -> None:
    await crm.fault(action="hang")
    hanging = asyncio.create_task(upsert(crm))
    await until(lambda: crm.calls(kind="upsert"))
    begun = time.monotonic()
    await crm.running.close()
    with pytest.raises(httpx.RemoteProtocolError):
        await hanging
    assert time.monotonic() - begun < 2


async def test_a_delayed_call_is_carried_out_though_the_caller_gave_up(crm: Crm) -> None:
    await crm.fault(action="delay", seconds=0.4, times=1)
    with pytest.raises(httpx.ReadTimeout):
        await crm.call("POST", "/Contacts/upsert", json={"data": PEOPLE}, timeout=0.1)
    assert await crm.records("Contacts") == []
    await until(lambda: crm.records("Contacts"))
    assert len(await crm.records("Contacts")) == 3


async def test_slow_strikes_every_call(crm: Crm) -> None:
    await crm.fault(action="slow", seconds=0.1, times=1)
    for _ in range(2):
        await crm.get("/org")
    assert all(call["duration_ms"] >= 100 for call in await crm.calls(kind="org"))


STATUSES: list[tuple[dict[str, Any], int, str]] = [
    ({"action": "status", "status": 500}, 500, "INTERNAL_ERROR"),
    ({"action": "status", "status": 503}, 503, "SERVICE_UNAVAILABLE"),
    ({"action": "status", "status": 429}, 429, "TOO_MANY_REQUESTS"),
    ({"action": "status", "status": 400, "body": {"code": "AUTHORIZATION_FAILED"}}, 400, "AUTHORIZATION_FAILED"),
    ({"action": "credits_gone"}, 429, "TOO_MANY_REQUESTS"),
    ({"action": "wrong_scope"}, 401, "OAUTH_SCOPE_MISMATCH"),
    ({"action": "invalidate_access_tokens"}, 401, "INVALID_TOKEN"),
    ({"action": "revoke_token"}, 401, "INVALID_TOKEN"),
]


@pytest.mark.parametrize(("rule", "status", "code"), STATUSES)
async def test_answers_in_place_of_the_real_one(crm: Crm, rule: dict[str, Any], status: int, code: str) -> None:
    await crm.fault(**rule, kind="upsert", times=1)
    answer = await upsert(crm)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await crm.records("Contacts") == []


async def test_credits_gone_shows_in_the_header(crm: Crm) -> None:
    await crm.fault(action="credits_gone")
    assert (await crm.get("/org")).headers["X-API-CREDITS-REMAINING"] == "0"


async def test_headers_and_text_of_a_status(crm: Crm) -> None:
    await crm.fault(action="status", status=503, body="<h1>Maintenance</h1>", headers={"Retry-After": "9"})
    answer = await crm.get("/org")
    assert (answer.text, answer.headers["content-type"]) == ("<h1>Maintenance</h1>", "text/html; charset=utf-8")
    assert answer.headers["Retry-After"] == "9"


async def test_a_502_is_a_page_and_no_json(crm: Crm) -> None:
    await crm.fault(action="html_502")
    answer = await crm.get("/org")
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html; charset=utf-8")


async def test_a_refreshed_token_mends_an_invalidated_one_but_not_a_revoked_one(crm: Crm) -> None:
    await crm.fault(action="invalidate_access_tokens", kind="org", times=1)
    assert (await crm.get("/org")).status_code == 401
    await crm.sign_in()
    assert (await crm.get("/org")).status_code == 200
    await crm.fault(action="revoke_token", kind="org", times=1)
    assert (await crm.get("/org")).status_code == 401
    assert (await crm.mint()).json() == {"error": "invalid_code"}
    await crm.post("/_sim/reset", {"tokens": True})
    await crm.sign_in()
    assert (await crm.get("/org")).status_code == 200


async def test_short_and_reordered_answers(crm: Crm) -> None:
    await crm.fault(action="short_answer", times=1)
    assert len(items(await upsert(crm))) == 2
    await crm.fault(action="reorder_answer", times=1)
    backwards = [item["details"]["id"] for item in items(await upsert(crm))]
    assert backwards == sorted(backwards, reverse=True)


async def test_rules_match_by_module_method_path_and_kind(crm: Crm) -> None:
    misses = [{"module": "Tasks"}, {"method": "PUT"}, {"path": "/crm/v8/*/deleted"}, {"kind": "insert"}]
    for miss in misses:
        await crm.fault(action="status", status=500, **miss)
    assert (await upsert(crm)).status_code == 200
    hits = [{"module": "Contacts"}, {"method": "POST"}, {"path": "/crm/v8/*/upsert"}, {"kind": ["insert", "upsert"]}]
    for hit in hits:
        await crm.call("DELETE", "/_sim/faults")
        await crm.fault(action="status", status=500, **hit)
        assert (await upsert(crm)).status_code == 500


async def test_the_token_endpoint_can_fail_too(crm: Crm) -> None:
    await crm.fault(action="html_502", kind="token", times=1)
    assert (await crm.mint()).status_code == 502
    assert "access_token" in (await crm.mint()).json()


async def test_skip_and_times_count_the_calls_that_match(crm: Crm) -> None:
    await crm.fault(action="status", status=500, kind="org", skip=1, times=2)
    await crm.get("/settings/modules")
    assert [(await crm.get("/org")).status_code for _ in range(4)] == [200, 500, 500, 200]


async def test_a_call_without_a_valid_token_uses_no_fault_up(crm: Crm) -> None:
    await crm.fault(action="apply_then_lose", times=1)
    headers = {"Authorization": "Zoho-oauthtoken stale"}
    assert (await crm.call("POST", "/Contacts/upsert", json={"data": PEOPLE}, headers=headers)).status_code == 401
    with pytest.raises(httpx.RemoteProtocolError):
        await upsert(crm)


@pytest.mark.parametrize(
    "rule", [{"action": "explode"}, {"action": "hang", "tmies": 1}, {"action": "delay", "times": 0}]
)
async def test_a_rule_that_makes_no_sense_is_refused(crm: Crm, rule: dict[str, Any]) -> None:
    answer = await crm.call("POST", "/_sim/faults", json=[rule])
    assert answer.status_code == 422
    assert (await crm.get("/_sim/faults")).json() == []
