"""Waiting for events, but not for ever; and a clock for leases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_CANCEL_AGAIN_SECONDS = 0.5


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or when the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Do some work, unless it is stopped meanwhile: then it is cancelled, and None is returned."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        stopping.cancel()
        while not working.done():  # a cancellation that meets the end of a wait is lost before Python 3.12 (gh-86296)
            working.cancel()
            await asyncio.wait({working}, timeout=_CANCEL_AGAIN_SECONDS)
        await asyncio.gather(working, stopping, return_exceptions=True)
    return None


async def wait_for_any(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Return when one of the events is set, or when the time is over; None for no end."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def lease_seconds() -> float:
    """Give the seconds of a clock that never goes back, and goes on while the process or the machine is stopped.

    CLOCK_MONOTONIC goes on while a process is stopped, and stands still while Linux sleeps; CLOCK_BOOTTIME doesn't.
    Source: clock_gettime(2).
    """
    return time.clock_gettime(_LEASE_CLOCK)


_LEASE_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
