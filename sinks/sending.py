"""Whether a call may still be sent: asked right before its bytes leave.

Who calls a sink may do so under a lease. Between the decision to call and the first byte lie waits for a free place, a
token and a connection, and a process may be stopped (SIGSTOP, a paused container) and continued in any of them, when
the lease is long another's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Condition = Callable[[], bool]


def _always() -> bool:
    return True


_condition: ContextVar[Condition] = ContextVar("sending", default=_always)


@contextmanager
def sending_while(condition: Condition) -> Iterator[None]:
    """Let calls to sinks be sent only while the condition holds, for the length of the block and its tasks."""
    token = _condition.set(condition)
    try:
        yield
    finally:
        _condition.reset(token)


def sending_condition() -> Condition:
    """Give the condition in force."""
    return _condition.get()
