"""How long a stop may take: whoever stops us kills us afterwards, and a cut that we make ourselves is told in the log.

Everything that may hang has a limit of its own, but they add up, and a database that neither answers nor closes its
connections hangs what nothing can cancel. To be cut off is as safe as `kill -9`: what was claimed comes back with the
end of its lease, and what was captured and not stored is read again.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any, Final

import structlog

log = structlog.get_logger()

CANCEL_SECONDS: Final = 3.0
"""So long after the drain's end everything is cancelled."""
EXIT_SECONDS: Final = 4.5
"""So long after it the process exits, whatever it does. With the default drain of 20 s that is 24.5 s after the signal:
Render, Docker Compose with our file, and Kubernetes kill after 30 s."""


class StopLimit:
    """Ends a process that doesn't come to its end after it was told to.

    Args:
        drain_seconds: how long what is in flight may take.
        exit_code: of a process that had to be cut off.
    """

    def __init__(self, drain_seconds: float, exit_code: int) -> None:
        self._drain_seconds = drain_seconds
        self._exit_code = exit_code

    def begin(self, work: asyncio.Task[Any]) -> None:
        """Count from now on. A thread has the last word, since the loop itself may be what hangs."""
        loop = asyncio.get_running_loop()
        loop.call_later(self._drain_seconds + CANCEL_SECONDS, self._cancel, work)
        last = threading.Timer(self._drain_seconds + EXIT_SECONDS, self._exit)
        last.daemon = True
        last.start()

    def _cancel(self, work: asyncio.Task[Any]) -> None:
        log.warning("stop_cut_short", after_seconds=self._drain_seconds + CANCEL_SECONDS)
        work.cancel()

    def _exit(self) -> None:
        log.error("stop_cut_off", after_seconds=self._drain_seconds + EXIT_SECONDS)
        os._exit(self._exit_code)
