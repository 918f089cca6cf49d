"""Wait for a condition, never for a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(
    predicate: Callable[[], T | Awaitable[T]], within: float = 10.0, *, what: str = "", interval: float = 0.02
) -> T:
    """Poll `predicate`, sync or async, until it returns something true, and return that.

    Args:
        predicate: what to ask; an exception that it raises ends the wait.
        within: seconds from now.
        what: names the condition in the failure; the predicate's own name if empty.
        interval: seconds between two questions.

    Raises:
        AssertionError: at the deadline, with the condition and its last answer.
    """
    deadline = time.monotonic() + within
    while True:
        answer = predicate()
        value: T = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() >= deadline:
            condition = what or getattr(predicate, "__qualname__", repr(predicate))
            raise AssertionError(f"after {within:g} s still not so: {condition} (last answer: {value!r})")
        await asyncio.sleep(interval)
