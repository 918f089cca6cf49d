"""How a person consents: on a device's behalf, and by a redirect."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from tests.contract.simulator.conftest import Start
from tests.contract.simulator.support import Crm

REDIRECT = "http://localhost:53682/"
SCOPE = "ZohoCRM.org.READ,ZohoCRM.coql.READ"


async def device(crm: Crm, **changes: str) -> httpx.Response:
    form = {
        "client_id": crm.running.client_id, "grant_type": "device_request", "scope": SCOPE, "access_type": "offline",
    }  # fmt: skip
    return await crm.http.post("/oauth/v3/device/code", data={**form, **changes})


async def poll(crm: Crm, code: str, **changes: str) -> dict[str, object]:
    await crm.post("/_sim/clock", {"seconds": 31})
    form = {**crm.credentials, "grant_type": "device_token", "code": code}
    answer = await crm.http.post("/oauth/v3/device/token", data={**form, **changes})
    assert answer.status_code == 200
    return dict(answer.json())


async def decide(crm: Crm, user_code: str, decision: str) -> httpx.Response:
    return await crm.http.post("/oauth/v3/device", data={"user_code": user_code, "decision": decision})


async def test_a_device_gets_its_tokens_once_the_person_has_accepted_and_only_once(crm: Crm) -> None:
    started = (await device(crm)).json()
    assert (started["interval"], started["expires_in"]) == (30_000, 300_000)
    code = started["device_code"]
    assert await poll(crm, code) == {"error": "authorization_pending"}
    page = await crm.http.get(started["verification_uri_complete"])
    assert "ZohoCRM.coql.READ" in page.text
    assert (await decide(crm, started["user_code"].lower(), "accept")).status_code == 200
    tokens = await poll(crm, code)
    assert tokens["scope"] == SCOPE.replace(",", " ")
    assert "access_token" in (await crm.mint(refresh_token=str(tokens["refresh_token"]))).json()
    assert await poll(crm, code) == {"error": "invalid_code"}


async def test_a_device_that_asks_too_often_is_slowed_down(crm: Crm) -> None:
    code = (await device(crm)).json()["device_code"]
    form = {**crm.credentials, "grant_type": "device_token", "code": code}
    said = [(await crm.http.post("/oauth/v3/device/token", data=form)).json()["error"] for _ in range(2)]
    assert said == ["authorization_pending", "slow_down"]


async def test_a_device_is_told_no_and_told_when_it_is_too_late(crm: Crm) -> None:
    refused, late = (await device(crm)).json(), (await device(crm)).json()
    await decide(crm, refused["user_code"], "reject")
    assert await poll(crm, refused["device_code"]) == {"error": "access_denied"}
    await crm.post("/_sim/clock", {"seconds": 300})
    assert (await decide(crm, late["user_code"], "accept")).status_code == 400
    assert await poll(crm, late["device_code"]) == {"error": "expired"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": "1000.NOBODY"}, "invalid_client"),
        ({"scope": "ZohoCRM.everything.ALL"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"grant_type": "device"}, "unsupported_grant_type"),
    ],
)
async def test_a_device_that_asks_wrongly_is_refused_with_status_200(
    crm: Crm, changes: dict[str, str], error: str
) -> None:
    answer = await device(crm, **changes)
    assert (answer.status_code, answer.json()) == (200, {"error": error})


async def test_polls_need_the_secret(crm: Crm) -> None:
    code = (await device(crm)).json()["device_code"]
    assert await poll(crm, code, client_secret="wrong") == {"error": "invalid_client_secret"}
    assert await poll(crm, "1004.unknown") == {"error": "invalid_code"}


async def ask(crm: Crm, **changes: str) -> httpx.Response:
    query = {
        "response_type": "code", "client_id": crm.running.client_id, "scope": SCOPE, "redirect_uri": REDIRECT,
        "access_type": "offline", "prompt": "consent", "state": "s+/=&1",
    }  # fmt: skip
    return await crm.http.get(f"/oauth/v2/auth?{urlencode({**query, **changes})}")


async def consent(crm: Crm, decision: str = "accept", **changes: str) -> dict[str, str]:
    page = await ask(crm, **changes)
    [question] = re.findall(r'name="question" value="([^"]+)"', page.text)
    away = await crm.http.post("/oauth/v2/auth", data={"question": question, "decision": decision})
    assert away.status_code == 302
    assert away.headers["location"].startswith(f"{REDIRECT}?")
    return {name: values[0] for name, values in parse_qs(urlsplit(away.headers["location"]).query).items()}


async def exchange(crm: Crm, code: str, redirect_uri: str = REDIRECT) -> dict[str, object]:
    return dict((await crm.mint(grant_type="authorization_code", code=code, redirect_uri=redirect_uri)).json())


async def test_a_consent_sends_the_browser_back_with_a_code_that_works_once(crm: Crm) -> None:
    back = await consent(crm)
    assert (back["state"], back["location"], back["accounts-server"]) == ("s+/=&1", "us", crm.running.url)
    assert "refresh_token" in await exchange(crm, back["code"])
    assert await exchange(crm, back["code"]) == {"error": "invalid_code"}


async def test_a_code_is_good_for_its_own_address_and_for_a_minute(crm: Crm) -> None:
    wrong = (await consent(crm))["code"]
    assert await exchange(crm, wrong, "http://localhost:53682") == {"error": "invalid_redirect_uri"}
    assert await exchange(crm, wrong) == {"error": "invalid_code"}
    late = (await consent(crm))["code"]
    await crm.post("/_sim/clock", {"seconds": 61})
    assert await exchange(crm, late) == {"error": "invalid_code"}


async def test_without_offline_there_is_no_refresh_token_and_later_ones_need_consent(crm: Crm) -> None:
    assert "refresh_token" not in await exchange(crm, (await consent(crm, access_type="online"))["code"])
    assert "refresh_token" not in await exchange(crm, (await consent(crm, prompt=""))["code"])
    assert "refresh_token" in await exchange(crm, (await consent(crm))["code"])


async def test_a_refused_consent_says_so(crm: Crm) -> None:
    assert await consent(crm, "reject") == {"state": "s+/=&1", "error": "access_denied"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": "1000.NOBODY"}, "invalid_client"),
        ({"redirect_uri": "http://localhost:53682"}, "invalid_redirect_uri"),
        ({"redirect_uri": "http://evil.example/"}, "invalid_redirect_uri"),
        ({"scope": "ZohoCRM.everything.ALL"}, "invalid_scope"),
        ({"response_type": "token"}, "invalid_response_type"),
    ],
)
async def test_a_browser_that_was_sent_wrongly_stays(crm: Crm, changes: dict[str, str], error: str) -> None:
    answer = await ask(crm, **changes)
    assert answer.status_code == 400
    assert error in answer.text


async def test_a_question_is_answered_once(crm: Crm) -> None:
    [question] = re.findall(r'name="question" value="([^"]+)"', (await ask(crm)).text)
    for status in (302, 400):
        answer = await crm.http.post("/oauth/v2/auth", data={"question": question, "decision": "accept"})
        assert answer.status_code == status


async def test_a_person_of_another_data_centre_has_their_tokens_there_alone(start: Start) -> None:
    here = await start()
    there = await start(client_id=here.running.client_id, client_secret=here.running.client_secret, location="eu")
    here.running.simulation.devices.home = there.running.simulation.devices
    started = (await device(here)).json()
    await decide(here, started["user_code"], "accept")
    assert await poll(there, started["device_code"]) == {"error": "invalid_code"}
    assert await poll(here, started["device_code"]) == {"error": "other_dc", "user_location": "eu"}
    assert "refresh_token" in await poll(there, started["device_code"])

    back = await consent(here)
    assert (back["location"], back["accounts-server"]) == ("eu", there.running.url)
    assert await exchange(here, back["code"]) == {"error": "invalid_code"}
    assert "refresh_token" in await exchange(there, back["code"])
