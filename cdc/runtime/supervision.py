"""Tells a service manager how the process does, as systemd's sd_notify does: READY, STATUS, WATCHDOG, STOPPING.

The watchdog is fed while capture and delivery turn, or know why they don't: standing by, a gap that awaits a decision,
a database or a CRM that is away. To be started anew helps none of those. It helps a loop that hangs, and nothing else.

Sources: systemd's manual, sd_notify(3) and sd_watchdog_enabled(3). The three variables are systemd's, and no settings.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

import structlog

from cdc.waiting import wait_at_most

log = structlog.get_logger()

STUCK_SECONDS: Final = 120.0
"""A loop that hasn't turned for so long hangs: everything that it waits for has a shorter limit."""
_LONGEST_SECONDS: Final = 10.0
_SHARE: Final = 3


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """Whoever started us and wants to know.

    Attributes:
        address: of its socket.
        watchdog_seconds: how often it wants to hear from us; None if it doesn't.
    """

    address: str
    watchdog_seconds: float | None

    @classmethod
    def found(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """Find it in the environment; None if nobody wants to know."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return None
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        micros = environment.get("WATCHDOG_USEC", "")
        return cls(address, int(micros) / 1e6 if is_ours and micros.isdigit() and int(micros) else None)

    def tell(self, **fields: str) -> None:
        """Send a message; a manager that doesn't listen is no reason to stop."""
        message = "\n".join(f"{name}={value}" for name, value in fields.items())
        target = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as end:
            try:
                end.sendto(message.encode(), target)
            except OSError as error:
                log.warning("service_manager_not_told", error=type(error).__name__)


@dataclass(frozen=True, slots=True)
class Pulse:
    """How a process does.

    Attributes:
        words: for people.
        is_ready: it has begun, or knows why it can't.
        still_seconds: for how long a loop that ought to turn hasn't; 0 while it knows why.
    """

    words: str
    is_ready: bool
    still_seconds: float


async def supervise(manager: ServiceManager, pulse: Callable[[], Pulse], stop: asyncio.Event) -> None:
    """Tell the manager how we do until `stop` is set, and then that we stop."""
    seconds = min(_LONGEST_SECONDS, (manager.watchdog_seconds or _LONGEST_SECONDS * _SHARE) / _SHARE)
    ready = False
    while not stop.is_set():
        now = pulse()
        fields = {"STATUS": now.words}
        if now.is_ready and not ready:
            fields["READY"], ready = "1", True
        if now.still_seconds < STUCK_SECONDS:
            fields["WATCHDOG"] = "1"
        else:
            log.error("watchdog_not_fed", still_seconds=round(now.still_seconds), status=now.words)
        manager.tell(**fields)
        await wait_at_most(stop, seconds)
    manager.tell(STOPPING="1", STATUS="stopping: finishing what is in flight")
