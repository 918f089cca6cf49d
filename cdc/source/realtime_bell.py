"""What the Realtime client's callbacks leave behind for us.

They are called synchronously by the client's listener, and an exception in one would end it in silence: the connection
stays up, heartbeats go on, and nothing is ever heard again. So nothing here raises, and nothing here waits. What can't
be read is not lost either: it asks for a sweep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cdc.routing.rings import ring_of
from cdc.routing.router import Route
from cdc.state.doorbell import Touch

CANARY_TABLE: Final = "cdc.realtime_canary"
_MOST_KEYS: Final = 100_000
"""Keys that may wait to be stored. Beyond that they are dropped and a sweep is asked for, so that memory is bounded."""


class Bell:
    """Gathers dirty keys from events.

    Args:
        routes: by qualified table name.
        pipeline: whose canary is ours.
        ask_for_sweep: called with one word, when something may have been missed.

    Attributes:
        touched: keys that have yet to be stored.
        events: how many changes have been heard that have yet to be stored.
        news: set while there are any.
    """

    def __init__(self, routes: Mapping[str, Route], pipeline: str, ask_for_sweep: Callable[[str], None]) -> None:
        self._routes = routes
        self._pipeline = pipeline
        self._ask_for_sweep = ask_for_sweep
        self._beat: str | None = None
        self.touched: dict[tuple[str, str], Touch] = {}
        self.events = 0
        self.news = asyncio.Event()
        self.beat_heard = asyncio.Event()

    def expect(self, beat: str) -> None:
        """Wait for the canary with this text from now on."""
        self._beat = beat
        self.beat_heard.clear()

    def on_change(self, payload: Mapping[str, Any]) -> None:
        """Take one event of the client."""
        try:
            self._take(payload["data"])
        except Exception:  # noqa: BLE001 - whatever it is, it would end the client's listener in silence
            self._ask_for_sweep("unreadable")

    def take(self) -> tuple[dict[tuple[str, str], Touch], int]:
        """Hand over what has been gathered: the keys, and how many events they come from."""
        touched, events = self.touched, self.events
        self.touched, self.events = {}, 0
        self.news.clear()
        return touched, events

    def _take(self, data: Mapping[str, Any]) -> None:
        table = f"{data['schema']}.{data['table']}"
        if table == CANARY_TABLE:
            self._take_canary(data)
            return
        if data["errors"]:  # such as 413: the row was too large, so parts of it are missing
            self._ask_for_sweep("error_event")
        route = self._routes.get(table)
        if route is None:
            return
        ring = ring_of(route, data["type"], data.get("record"), data.get("old_record"))
        if not ring.is_whole:
            self._ask_for_sweep("incomplete")
        at = _commit_time(data["commit_timestamp"])
        for key, lane in ring.keys.items():
            touch = Touch(lane, at)
            known = self.touched.get(key)
            self.touched[key] = touch if known is None else known.join(touch)
        if len(self.touched) > _MOST_KEYS:
            self.touched.clear()
            self._ask_for_sweep("too_many")
        self.events += 1
        self.news.set()

    def _take_canary(self, data: Mapping[str, Any]) -> None:
        record = data.get("record") or {}
        if record.get("pipeline") == self._pipeline and record.get("beat") == self._beat:
            self.beat_heard.set()


def _commit_time(text: str) -> datetime:
    """Read the commit's time; a clock that is ahead of ours, or no time at all, counts as now."""
    now = datetime.now(UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return now
    return min(now, at if at.tzinfo else at.replace(tzinfo=UTC))
