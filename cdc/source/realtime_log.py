"""What the Realtime client logs, without what it says: its messages hold row values, and an address with the key in it.

The one line that matters is the one about a message that it couldn't read, since the message is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

log = structlog.get_logger()

_LIBRARY: Final = "realtime"
_TRANSPORT: Final = "websockets"
_KNOWN: Final = (
    # how the line begins, what it means
    ("Unrecognized message format", "unreadable_message"),
    ("Connection attempt failed", "connect_failed"),
    ("Connection failed permanently", "connect_failed"),
    ("WebSocket connection closed", "closed"),
    ("Auto-reconnect disabled", "closed"),
    ("join push error", "join_refused"),
    ("join push timeout", "join_timed_out"),
)
_DROPPING: Final = frozenset({"unreadable_message", "unknown"})


class _Listener(logging.Handler):
    def __init__(self, on_dropped: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._on_dropped = on_dropped

    def emit(self, record: logging.LogRecord) -> None:
        words = str(record.msg)
        kind = next((kind for start, kind in _KNOWN if words.startswith(start)), "unknown")
        if kind in _DROPPING:  # an error that we don't know may be a dropped message under a new name
            log.warning("realtime_client_error", kind=kind)
            self._on_dropped(kind)


@contextmanager
def client_log(on_dropped: Callable[[str], None]) -> Iterator[None]:
    """Listen to the client's log for the length of the block, and let none of it out.

    Args:
        on_dropped: called with one word when a message may have been dropped.
    """
    listener = _Listener(on_dropped)
    library, transport = logging.getLogger(_LIBRARY), logging.getLogger(_TRANSPORT)
    before = (library.propagate, library.level, transport.propagate)
    library.addHandler(listener)
    library.propagate = transport.propagate = False
    library.setLevel(logging.ERROR)  # below that it prints every message it gets
    quiet = logging.NullHandler()  # without any handler Python would print warnings by itself
    transport.addHandler(quiet)
    try:
        yield
    finally:
        library.removeHandler(listener)
        transport.removeHandler(quiet)
        library.propagate, level, transport.propagate = before
        library.setLevel(level)
