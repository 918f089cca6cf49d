"""What both ways of reading the slot share: making groups durable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection

from cdc.lsn import Lsn
from cdc.routing.collector import Collector
from cdc.routing.feeds import Lane
from cdc.routing.groups import Group
from cdc.routing.router import Route
from cdc.source.preflight import TransportName
from cdc.source.visibility import wait_until_visible
from cdc.state.capture import CaptureStore

IDLE_ADVANCE_BYTES: Final = 64 * 1024
"""An idle position follows the WAL in steps of this size. Each step is a write, which makes WAL itself."""
TRAILING_SECONDS: Final = 40.0
"""So long after the last step one small one follows. The server lets go of WAL only when a record of the running
transactions is acknowledged. It writes one 15 s after the last activity, or 10 s later when its background writer
hibernates. Source: PostgreSQL source, bgwriter.c.
"""


@dataclass(frozen=True, slots=True)
class CaptureConfig:
    """What capture needs to know.

    Attributes:
        source_dsn: the database with the slot.
        state_dsn: the database with the cdc schema.
        routes: by qualified table name.
        lane_seconds: length of each lane's window.
        group_changes: changes in one state transaction, at most; of distinct keys a quarter of that.
        poll_seconds: pause between two reads of an idle slot, for the transport `poll`.
        slot_failover: a new slot is one that standbys keep a copy of, where the server can do that.
    """

    source_dsn: str
    state_dsn: str
    slot: str
    publication: str
    transport: TransportName
    routes: Mapping[str, Route]
    lane_seconds: Mapping[Lane, float]
    group_changes: int = 100_000
    poll_seconds: float = 0.5
    slot_failover: bool = False


class Session:
    """One connection to the slot, and those to source and state that go with it.

    Attributes:
        durable: how far the WAL is captured and stored. The slot is acknowledged up to here, never beyond.
        is_storing: a group was taken and is not durable yet.
        turned_at: when reading last took a turn, on the monotonic clock.
    """

    def __init__(
        self,
        config: CaptureConfig,
        source: AsyncConnection[Any],
        store: CaptureStore,
        collector: Collector,
        on_stored: Callable[[Group], None],
    ) -> None:
        self.config = config
        self.collector = collector
        self._source = source
        self._store = store
        self._on_stored = on_stored
        self.durable: Lsn = collector.progress.lsn
        self.is_storing = False
        self.turned_at = self._storing_since = time.monotonic()
        self._is_inside = collector.progress.open_lsn is not None
        self._moved_at: float | None = time.monotonic()  # None once the small step has followed

    def has_captured(self, lsn: Lsn) -> bool:
        """True when everything that committed before `lsn` is durable in the outbox."""
        return self.collector.progress.lsn >= lsn and not self.collector.has_news and not self.is_storing

    @property
    def still_seconds(self) -> float:
        """For how long nothing has moved: reading hasn't taken a turn, or a group isn't stored."""
        return time.monotonic() - (min(self.turned_at, self._storing_since) if self.is_storing else self.turned_at)

    @property
    def is_full(self) -> bool:
        """True when what was gathered is enough for one state transaction."""
        limit = self.config.group_changes
        return self.collector.size >= limit or self.collector.keys >= max(1, limit // 4)

    async def store_group(self) -> None:
        """Make durable what has been gathered."""
        self.is_storing, self._storing_since = True, time.monotonic()
        group = self.collector.take()
        await wait_until_visible(self._source, group.xids)
        await self._store.record(group)
        self.is_storing = False
        self.durable = group.progress.lsn
        self._is_inside = group.progress.open_lsn is not None
        self._moved_at = time.monotonic()
        self._on_stored(group)

    async def store_idle_position(self, *, at_once: bool = False) -> None:
        """Let the position follow the WAL while nothing of ours is in it.

        A position inside a transaction doesn't wait for a long step: all of its changes may be stored and its commit
        yet to come, and a peek that finds the slot where it was would give it again from its beginning.

        Args:
            at_once: however small the step.
        """
        progress = self.collector.progress
        ahead = progress.lsn - self.durable
        is_large = ahead >= IDLE_ADVANCE_BYTES
        if is_large or (ahead > 0 and (at_once or self._is_inside or self._is_trailing_due)):
            await self._store.advance(progress)
            self.durable = progress.lsn
            self._is_inside = progress.open_lsn is not None
            self._moved_at = time.monotonic() if is_large else None

    @property
    def _is_trailing_due(self) -> bool:
        return self._moved_at is not None and time.monotonic() - self._moved_at >= TRAILING_SECONDS
