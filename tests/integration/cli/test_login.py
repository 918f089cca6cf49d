"""`cdc login zoho`: what a person sees, and what is stored."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from cdc.cli import signing
from cdc.errors import ConfigError, KeyMissing, StateError
from cdc.state.database import migrate
from cdc.state.envelope import Key
from tests.integration.cli.conftest import KEY, Place
from tests.support.postgres import Database


@pytest.fixture
def ready(place: Place, database: Database) -> Place:
    """The tables are there, and the client is set."""
    asyncio.run(migrate(database.dsn))
    place.environment.setenv("ZOHO_CLIENT_ID", place.crm.client_id)
    place.environment.setenv("ZOHO_CLIENT_SECRET", place.crm.client_secret)
    place.environment.setenv("CDC_ENCRYPTION_KEY", KEY)
    return place


def a_code(place: Place) -> str:
    return str(httpx.post(f"{place.crm.url}/_sim/codes", json={}).json()["code"])


def stored(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("select client_id, data_center, supersedes is not null from cdc.zoho_tokens")


def test_a_person_accepts_on_another_device(ready: Place, database: Database) -> None:
    devices = ready.crm.simulation.devices

    over = threading.Event()

    def accept() -> None:
        while not devices._requests:
            if over.wait(0.02):
                return
        [request] = devices._requests.values()
        data = {"user_code": request.user_code, "decision": "accept"}
        httpx.post(f"{ready.crm.url}/oauth/v3/device", data=data)

    person = threading.Thread(target=accept)
    person.start()
    result = ready.run("login", "zoho", "--device")
    over.set()
    person.join()
    assert result.exit_code == 0, result.output
    assert f"{ready.crm.url}/oauth/v3/device" in result.stderr
    assert re.search(r"enter +[A-Z]{4}-[A-Z]{4}", result.stderr)
    assert "Simulated Organisation" in result.stdout
    assert "edition       standard" in result.stdout
    assert "20 refresh tokens" in result.stderr
    assert stored(database) == [(ready.crm.client_id, "US", False)]
    for secret in (ready.crm.client_secret, *ready.crm.simulation.tokens._refresh):
        assert secret not in result.output


def test_a_browser_comes_back_to_this_machine(ready: Place, database: Database) -> None:
    ready.environment.setenv("DISPLAY", ":0")
    threads: list[threading.Thread] = []
    seen: list[str] = []

    def browse(url: str) -> bool:
        def go() -> None:
            with httpx.Client(follow_redirects=True) as browser:
                page = browser.get(url)
                [question] = re.findall(r'name="question" value="([^"]+)"', page.text)
                data = {"question": question, "decision": "accept"}
                seen.append(browser.post(f"{ready.crm.url}/oauth/v2/auth", data=data).text)

        threads.append(threading.Thread(target=go))
        threads[0].start()
        return True

    ready.environment.setattr(signing.webbrowser, "open", browse)
    result = ready.run("login", "zoho", "--browser", "--port", str(ready.port))
    for thread in threads:
        thread.join()
    assert result.exit_code == 0, result.output
    assert "You can close this tab" in seen[0]
    assert stored(database) == [(ready.crm.client_id, "US", False)]
    with pytest.raises(httpx.ConnectError):  # it listened for as long as it waited, and no longer
        httpx.get(f"http://127.0.0.1:{ready.port}/")


def test_over_ssh_the_way_back_is_shown(ready: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 50000 10.0.0.2 22")
    monkeypatch.setenv("USER", "ops")

    said: list[str] = []
    monkeypatch.setattr("rich.console.Console.print", lambda _, line="": said.append(str(line)))
    monkeypatch.setattr(signing, "waiting_for_browser", _nobody_comes)
    result = ready.run("login", "zoho", "--browser", "--port", str(ready.port))
    assert isinstance(result.exception, ConfigError), result.output
    assert f"ssh -N -L {ready.port}:localhost:{ready.port} ops@10.0.0.2" in "\n".join(said)


@asynccontextmanager
async def _nobody_comes(port: int, state: str) -> AsyncIterator[asyncio.Future[dict[str, str]]]:
    answer: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    answer.set_result({"state": state, "error": "access_denied"})
    yield answer


def test_a_second_sign_in_replaces_what_is_configured_until_that_is_changed(ready: Place, database: Database) -> None:
    ready.environment.setenv("ZOHO_REFRESH_TOKEN", "1000.from.before")
    first = ready.run("login", "zoho", "--code", types=f"{a_code(ready)}\n")
    assert first.exit_code == 0, first.output
    assert "isn't needed any more" in first.stderr
    assert "1000.from.before" not in first.output
    assert stored(database) == [(ready.crm.client_id, "US", True)]


def test_a_client_that_isnt_set_is_asked_for(ready: Place, database: Database) -> None:
    ready.environment.delenv("ZOHO_CLIENT_ID")
    ready.environment.delenv("ZOHO_CLIENT_SECRET")
    result = ready.run("login", "zoho", "--code", types=f"{a_code(ready)}\n")
    assert isinstance(result.exception, ConfigError)
    assert "there is nobody to ask" in str(result.exception)
    assert stored(database) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--device", "--code"), "one way to sign in at a time"),
        (("--code", "--data-center", "moon"), "no data centre 'MOON'"),
        (("--code",), "spent, too old"),
    ],
)
def test_what_goes_wrong_is_explained_and_stores_nothing(
    ready: Place, database: Database, arguments: tuple[str, ...], words: str
) -> None:
    result = ready.run("login", "zoho", *arguments, types="1000.never\n")
    assert isinstance(result.exception, ConfigError), result.output
    assert words in str(result.exception)
    assert result.exception.fix
    assert stored(database) == []


def test_a_sign_in_that_opens_no_crm_is_given_back(ready: Place, database: Database) -> None:
    rule = {"action": "status", "status": 403, "body": {"code": "NO_PERMISSION"}, "kind": "org"}
    httpx.post(f"{ready.crm.url}/_sim/faults", json=[rule])
    before = len(ready.crm.simulation.tokens._refresh)
    result = ready.run("login", "zoho", "--code", types=f"{a_code(ready)}\n")
    assert isinstance(result.exception, ConfigError), result.output
    assert "the CRM refuses" in str(result.exception)
    assert stored(database) == []
    assert len(ready.crm.simulation.tokens._refresh) == before


def test_nobody_is_asked_for_what_couldnt_be_kept(ready: Place, database: Database) -> None:
    assert ready.run("login", "zoho", "--code", types=f"{a_code(ready)}\n").exit_code == 0
    ready.environment.setenv("CDC_ENCRYPTION_KEY", Key.new().text())
    code = a_code(ready)
    refused = ready.run("login", "zoho", "--code", types=f"{code}\n")
    assert isinstance(refused.exception, KeyMissing)
    database.execute("drop schema cdc cascade")
    early = ready.run("login", "zoho", "--code", types=f"{code}\n")
    assert isinstance(early.exception, StateError)
    assert "cdc setup" in str(early.exception)
    assert code in ready.crm.simulation.tokens._codes, "the code is still good"
