"""What a service manager is told, over a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.runtime.supervision import STUCK_SECONDS, Pulse, ServiceManager, supervise
from tests.support.waiting import until


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.end.bind("\0" + address[1:] if address.startswith("@") else address)
        self.environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000", "WATCHDOG_PID": str(os.getpid())}
        self.heard: list[dict[str, str]] = []

    def listen(self) -> list[dict[str, str]]:
        while True:
            try:
                message = self.end.recv(4096).decode()
            except BlockingIOError:
                return self.heard
            self.heard.append(dict(line.split("=", 1) for line in message.split("\n")))


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify") if request.param == "file" else f"@optio-cdc-{os.getpid()}")
    yield made
    made.end.close()


async def test_it_hears_of_the_start_of_progress_of_what_hangs_and_of_the_stop(manager: Manager) -> None:
    found = ServiceManager.found(manager.environment)
    assert found is not None
    assert found.watchdog_seconds == 0.06
    now, stop = Pulse("capture starting", is_ready=False, still_seconds=0.0), asyncio.Event()
    running = asyncio.create_task(supervise(found, lambda: now, stop))
    await until(lambda: len(manager.listen()) >= 2, what="two words")
    assert manager.heard[-1] == {"STATUS": "capture starting", "WATCHDOG": "1"}

    now = Pulse("capture capturing", is_ready=True, still_seconds=STUCK_SECONDS - 1)
    await until(lambda: any("READY" in said for said in manager.listen()), what="it is ready")
    await until(lambda: "READY" not in manager.listen()[-1], what="the next word")
    assert manager.heard[-1] == {"STATUS": "capture capturing", "WATCHDOG": "1"}

    now = Pulse("capture capturing", is_ready=True, still_seconds=STUCK_SECONDS)
    await until(lambda: "WATCHDOG" not in manager.listen()[-1], what="the watchdog is not fed")
    stop.set()
    await running
    assert manager.listen()[-1]["STOPPING"] == "1"
    assert sum("READY" in said for said in manager.heard) == 1


async def test_a_manager_that_has_gone_stops_nobody(tmp_path: Path) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(
        supervise(ServiceManager(str(tmp_path / "nobody"), None), lambda: Pulse("", True, 0.0), stop)
    )
    await asyncio.sleep(0)
    stop.set()
    await running


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_a_watchdog_that_is_meant_for_us(environment: dict[str, str], seconds: float | None) -> None:
    found = ServiceManager.found({"NOTIFY_SOCKET": "/run/systemd/notify", **environment})
    assert found is not None
    assert found.watchdog_seconds == seconds


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234"])
def test_without_a_manager_nobody_is_told(address: str | None) -> None:
    assert ServiceManager.found({} if address is None else {"NOTIFY_SOCKET": address}) is None
