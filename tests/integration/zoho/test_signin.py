"""Signing in, against simulators that say no as Zoho does."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from sinks.simulator.config import SimulatorConfig
from sinks.simulator.server import RunningSimulator, start_simulator
from sinks.zoho import config as zoho
from sinks.zoho.config import DataCenter, ZohoConfig
from sinks.zoho.consent import authorization_url, exchange_code, read_redirect
from sinks.zoho.device import Device, begin_device, wait_for_device
from sinks.zoho.scopes import SCOPES
from sinks.zoho.signin import Granted, SignInRefused, revoke
from sinks.zoho.transport import Transport

REDIRECT = "http://localhost:53682/"


class Person:
    """Somebody with a browser, and a program that waits for them without waiting."""

    def __init__(self, crm: RunningSimulator, transport: Transport) -> None:
        self.crm = crm
        self.transport = transport
        self.slept: list[float] = []
        self.config = ZohoConfig(
            client_id=crm.client_id, client_secret=crm.client_secret, refresh_token="", accounts_url=crm.url
        )
        self.at: dict[int, str] = {}  # after so many polls: accept or reject

    async def begin(self, config: ZohoConfig | None = None) -> Device:
        return await begin_device(config or self.config, self.transport, SCOPES)

    async def wait(self, device: Device, config: ZohoConfig | None = None) -> Granted:
        async def sleep(seconds: float) -> None:
            decision = self.at.get(len(self.slept))
            self.slept.append(seconds)
            self.crm.simulation.clock.advance(seconds)
            if decision:
                async with httpx.AsyncClient(base_url=self.crm.url) as browser:
                    await browser.post("/oauth/v3/device", data={"user_code": device.user_code, "decision": decision})

        return await wait_for_device(
            config or self.config, self.transport, device, sleep=sleep, clock=lambda: sum(self.slept)
        )

    async def consent(self, config: ZohoConfig, decision: str = "accept", state: str = "state") -> dict[str, str]:
        async with httpx.AsyncClient() as browser:
            page = await browser.get(authorization_url(config, SCOPES, REDIRECT, state))
            [question] = re.findall(r'name="question" value="([^"]+)"', page.text)
            data = {"question": question, "decision": decision}
            away = await browser.post(f"{self.crm.url}/oauth/v2/auth", data=data)
        return {name: values[0] for name, values in parse_qs(urlsplit(away.headers["location"]).query).items()}


@pytest.fixture
async def person() -> AsyncIterator[Person]:
    async with await start_simulator() as crm, Transport() as transport:
        yield Person(crm, transport)


@pytest.fixture
async def abroad(person: Person, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningSimulator]:
    """A second data centre, where the person lives; the client is known in both."""
    config = SimulatorConfig(
        client_id=person.crm.client_id, client_secret=person.crm.client_secret, location="eu", device_interval=0
    )
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(await start_simulator(config))
        centers = {
            name: DataCenter(accounts=crm.url, api=None, upload=None)
            for name, crm in (("US", person.crm), ("EU", there))
        }
        monkeypatch.setattr(zoho, "DATA_CENTERS", MappingProxyType(centers))
        person.crm.simulation.devices.home = there.simulation.devices
        person.config = replace(person.config, accounts_url=None)
        yield there


async def test_a_device_waits_as_long_as_it_is_told_and_no_shorter(person: Person) -> None:
    person.at = {2: "accept"}
    device = await person.begin()
    assert device.url == f"{person.crm.url}/oauth/v3/device"
    assert (device.interval, device.lifetime) == (30, 300), "milliseconds were understood"
    signed_in = await person.wait(device)
    assert person.slept == [30, 30, 30]
    assert set(signed_in.grant.scopes) == set(SCOPES)
    record = signed_in.record(datetime(2026, 1, 1, tzinfo=UTC))
    assert record.client_id == person.crm.client_id
    assert record.data_center == "US"
    assert len(record.minted_at) == 1
    secret = signed_in.grant.refresh_token or ""
    assert secret
    assert secret not in repr(signed_in)
    assert person.crm.client_secret not in repr(signed_in)


async def test_a_device_that_is_told_to_slow_down_does(person: Person) -> None:
    person.at = {3: "accept"}
    device = replace(await person.begin(), interval=12.0)  # as if Zoho had named less than it then allows
    await person.wait(device)
    assert person.slept == [12, 12, 30, 30], "the second poll came too soon"


@pytest.mark.parametrize(
    ("decision", "words"), [({0: "reject"}, r"said no \(access_denied\)"), ({}, r"in time \(expired\)")]
)
async def test_a_device_hears_no(person: Person, decision: dict[int, str], words: str) -> None:
    person.at = decision
    with pytest.raises(SignInRefused, match=words):
        await person.wait(await person.begin())
    assert sum(person.slept) <= 330


async def test_the_network_may_fail_while_a_device_waits(person: Person) -> None:
    person.at = {1: "accept"}
    device = await person.begin()
    async with httpx.AsyncClient(base_url=person.crm.url) as http:
        lost, broken = ({"action": action, "kind": "device_token", "times": 1} for action in ("lose", "html_502"))
        rules = [lost, {**broken, "skip": 1}]
        assert (await http.post("/_sim/faults", json=rules)).status_code == 200
    assert (await person.wait(device)).grant.refresh_token
    assert len(person.slept) == 3


async def test_a_device_goes_on_in_the_data_centre_where_the_person_lives(
    person: Person, abroad: RunningSimulator
) -> None:
    person.at = {0: "accept"}
    signed_in = await person.wait(await person.begin())
    assert signed_in.config.data_center == "EU"
    assert signed_in.config.accounts == abroad.url
    assert [call.codes for call in abroad.simulation.calls.select(kind="device_token")] == [[]]


async def test_a_browser_brings_the_code_to_the_data_centre_that_zoho_names(
    person: Person, abroad: RunningSimulator
) -> None:
    back = await person.consent(person.config)
    config, code = read_redirect(person.config, back, state="state")
    assert (config.data_center, config.accounts) == ("EU", abroad.url)
    signed_in = await exchange_code(config, person.transport, code, redirect_uri=REDIRECT)
    assert signed_in.grant.refresh_token
    assert person.crm.simulation.calls.select(kind="token") == []
    del back["accounts-server"]
    assert read_redirect(person.config, back, state="state")[0].data_center == "EU", "the location is enough"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "another"}, "belongs to another sign-in"),
        ({"state": ""}, "belongs to another sign-in"),
        ({"accounts-server": "https://accounts.zoho.eu.evil.example"}, "isn't one of Zoho's; nothing was sent"),
        ({"accounts-server": "https://accounts.zoho.eu@evil.example"}, "isn't one of Zoho's"),
        ({"accounts-server": "http://accounts.zoho.eu"}, "isn't one of Zoho's"),
        ({"accounts-server": "", "location": "moon"}, "data centre that this program doesn't know"),
        ({"code": ""}, "holds no code"),
        ({"error": "access_denied"}, "the person said no"),
        ({"error": "<script>alert(1)</script>"}, r"Zoho refused \(an error\)"),
    ],
)
async def test_an_answer_that_isnt_ours_or_zohos_is_refused(
    person: Person, changes: dict[str, str], words: str
) -> None:
    back = {"state": "state", "code": "1000.c", "location": "us", "accounts-server": person.crm.url, **changes}
    with pytest.raises(SignInRefused, match=words) as caught:
        read_redirect(person.config, back, state="state")
    assert "1000.c" not in str(caught.value)


async def test_a_known_server_of_zoho_is_followed(person: Person) -> None:
    back = {"state": "state", "code": "c", "accounts-server": "https://accounts.zohocloud.ca/"}
    assert read_redirect(person.config, back, state="state")[0].accounts == "https://accounts.zohocloud.ca"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"client_id": "1000.NOBODY"}, "doesn't know this client id"),
        ({"client_secret": "wrong"}, "client secret is wrong"),
        ({}, "spent, too old"),
    ],
)
async def test_a_code_that_isnt_taken_is_explained(person: Person, change: dict[str, str], words: str) -> None:
    code = person.crm.simulation.tokens.new_code() if change else "1000.never"
    with pytest.raises(SignInRefused, match=words) as caught:
        await exchange_code(replace(person.config, **change), person.transport, code)
    assert caught.value.fix
    assert code not in str(caught.value)


async def test_a_code_from_the_console_works_once_and_what_it_gave_can_be_given_back(person: Person) -> None:
    code = person.crm.simulation.tokens.new_code(SCOPES)
    signed_in = await exchange_code(person.config, person.transport, f" {code}\n")
    with pytest.raises(SignInRefused, match="spent"):
        await exchange_code(person.config, person.transport, code)
    token = signed_in.grant.refresh_token or ""
    await revoke(signed_in.config, person.transport, token)
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": person.crm.client_id}
    answer = await person.transport.send(
        "POST", person.config.token_url, form={**form, "client_secret": person.crm.client_secret}
    )
    assert answer.json == {"error": "invalid_code"}


async def test_a_client_of_another_data_centre_is_unknown(person: Person) -> None:
    elsewhere = replace(person.config, client_id="1000.FROMEU")
    with pytest.raises(SignInRefused, match="doesn't know this client id") as caught:
        await person.begin(elsewhere)
    assert "data centre" in caught.value.fix


async def test_a_server_that_is_away_is_said_to_be(person: Person) -> None:
    nowhere = replace(person.config, accounts_url="http://127.0.0.1:1")
    with pytest.raises(SignInRefused, match="can't be reached"):
        await person.begin(nowhere)
    with pytest.raises(SignInRefused, match="can't be reached"):
        await exchange_code(nowhere, person.transport, "1000.c")


async def test_the_throttle_is_named(person: Person) -> None:
    person.at = {0: "accept"}
    async with httpx.AsyncClient(base_url=person.crm.url) as http:
        body = {"error": "Access Denied", "error_description": "You have made too many requests continuously."}
        rule = {"action": "status", "status": 400, "body": body, "kind": "device_token"}
        await http.post("/_sim/faults", json=[rule])
    with pytest.raises(SignInRefused) as caught:
        await person.wait(await person.begin())
    assert "ten minutes" in str(caught.value)
