"""What both ways of reading the slot share: making groups durable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cdc.lsn import Lsn
from cdc.routing.collector import Collector, Group
from cdc.routing.feeds import Lane
from cdc.routing.router import Route
from cdc.source.preflight import TransportName
from cdc.state.capture import CaptureStore

IDLE_ADVANCE_BYTES: Final = 64 * 1024
"""An idle position follows the WAL in steps of this size. Each step is a write, which makes WAL itself."""


@dataclass(frozen=True, slots=True)
class CaptureConfig:
    """What capture needs to know.

    Attributes:
        source_dsn: the database with the slot.
        state_dsn: the database with the cdc schema.
        routes: by qualified table name.
        lane_seconds: how long each lane gathers.
        group_changes: changes in one state transaction, at most.
        poll_seconds: pause between two reads of an idle slot, for the transport `poll`.
    """

    source_dsn: str
    state_dsn: str
    slot: str
    publication: str
    transport: TransportName
    routes: Mapping[str, Route]
    lane_seconds: Mapping[Lane, float]
    group_changes: int = 20_000
    poll_seconds: float = 0.5


class Session:
    """One connection to the slot, and the one to the state that goes with it.

    Attributes:
        durable: how far the WAL is captured and stored. The slot is acknowledged up to here, never beyond.
    """

    def __init__(
        self, config: CaptureConfig, store: CaptureStore, collector: Collector, on_stored: Callable[[Group], None]
    ) -> None:
        self.config = config
        self.collector = collector
        self._store = store
        self._on_stored = on_stored
        self.durable: Lsn = collector.progress.lsn

    async def store_group(self) -> None:
        """Make durable what has been gathered."""
        group = self.collector.take()
        await self._store.record(group)
        self.durable = group.progress.lsn
        self._on_stored(group)

    async def store_idle_position(self, *, at_once: bool = False) -> None:
        """Let the position follow the WAL while nothing of ours is in it.

        Args:
            at_once: however small the step.
        """
        ahead = self.collector.progress.lsn - self.durable
        if ahead >= IDLE_ADVANCE_BYTES or (at_once and ahead > 0):
            progress = self.collector.progress
            await self._store.advance(progress)
            self.durable = progress.lsn
