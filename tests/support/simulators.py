"""A simulator in a thread of its own, for tests of what runs a loop itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sinks.simulator.config import SimulatorConfig
from sinks.simulator.server import RunningSimulator, start_simulator


@contextmanager
def simulator_beside(config: SimulatorConfig | None = None) -> Iterator[RunningSimulator]:
    """Run a simulator for the length of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulator")
    thread.start()
    try:
        running = asyncio.run_coroutine_threadsafe(start_simulator(config), loop).result(30)
        try:
            yield running
        finally:
            asyncio.run_coroutine_threadsafe(running.close(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
