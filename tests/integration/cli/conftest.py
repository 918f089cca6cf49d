"""Commands in this process, over a real database and a simulator in a thread."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cdc.settings import Settings
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.server import RunningSimulator
from tests.support.cli import app
from tests.support.postgres import Database
from tests.support.simulators import simulator_beside

KEY = "bm90LWEtcmVhbC1rZXktYnV0LTMyLWJ5dGVzLWxvbmc="


@dataclass(frozen=True)
class Place:
    """Where a command runs.

    Attributes:
        port: a free one, whose address is registered with the client.
    """

    folder: Path
    environment: pytest.MonkeyPatch
    crm: RunningSimulator
    port: int

    def run(self, *arguments: str, types: str | None = None) -> Any:
        return CliRunner().invoke(app, arguments, input=types)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def place(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    """An empty folder, a database without the cdc schema, a simulator without custom fields."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    for name in ("SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    port = free_port()
    config = SimulatorConfig(bare=True, device_interval=1, redirect_uris=(f"http://localhost:{port}/",))
    with simulator_beside(config) as crm:
        for name in ("ZOHO_ACCOUNTS_URL", "ZOHO_API_DOMAIN", "ZOHO_UPLOAD_URL"):
            monkeypatch.setenv(name, crm.url)
        monkeypatch.setenv("DATABASE_URL", database.dsn)
        monkeypatch.setenv("CDC_SLOT", f"s_{database.name}")
        yield Place(tmp_path, monkeypatch, crm, port)
