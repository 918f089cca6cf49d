"""The simulator as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[3]


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "sinks.simulator", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # our own program
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        try:
            yield started
        finally:
            if started.poll() is None:
                started.kill()


def announced(started: subprocess.Popen[str]) -> dict[str, Any]:
    assert started.stdout is not None
    return dict(json.loads(started.stdout.readline()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_announces_itself_serves_and_ends_cleanly(number: signal.Signals) -> None:
    with process("--json", "--bare") as started:
        where = announced(started)
        assert set(where) == {"url", "client_id", "client_secret", "refresh_token"}
        with httpx.Client(base_url=where.pop("url")) as client:
            token = client.post("/oauth/v2/token", data={"grant_type": "refresh_token", **where}).json()
            headers = {"Authorization": f"Zoho-oauthtoken {token['access_token']}"}
            fields = client.get("/crm/v8/settings/fields?module=Contacts", headers=headers).json()["fields"]
            assert not any(field["custom_field"] for field in fields)
            started.send_signal(number)
            rest, errors = started.communicate(timeout=20)
    assert (started.returncode, rest, errors) == (0, "", "")


def test_it_ends_cleanly_while_a_call_hangs() -> None:
    with process("--json") as started:
        where = announced(started)
        with httpx.Client(base_url=where.pop("url")) as client:
            client.post("/_sim/faults", json=[{"action": "hang", "kind": "token"}])
            with pytest.raises(httpx.ReadTimeout):
                client.post("/oauth/v2/token", data={"grant_type": "refresh_token", **where}, timeout=0.5)
            started.send_signal(signal.SIGTERM)
            _, errors = started.communicate(timeout=20)
    assert (started.returncode, errors) == (0, "")


def test_people_get_the_settings_as_text() -> None:
    with process() as started:
        assert started.stdout is not None
        lines = [started.stdout.readline() for _ in range(4)]
        started.terminate()
        started.communicate(timeout=20)
    assert "http://127.0.0.1:" in lines[0]
    assert [line.split("=")[0] for line in lines[1:]] == ["ZOHO_CLIENT_ID", "ZOHO_CLIENT_SECRET", "ZOHO_REFRESH_TOKEN"]
    assert started.returncode == 0
