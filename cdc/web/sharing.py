"""One read for however many ask: the database answers once in two seconds, and each caller gets that answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, Generic, TypeVar

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from cdc.runtime.connections import Connections
from cdc.runtime.limits import credit_limit
from cdc.settings import Settings
from cdc.watch.status import Status, read_status

T = TypeVar("T")

log = structlog.get_logger()

FRESH_SECONDS: Final = 2.0
_READ_SECONDS: Final = 10.0
_SOURCE_SECONDS: Final = 2.0


class SharedRead(Generic[T]):
    """Reads when somebody asks and what is known is older than that; whoever asks meanwhile waits for the same answer.

    A failure is shared, too: a database that is away isn't asked more often than one that answers.

    Args:
        read: gives what is shared.
        fresh_seconds: how long an answer is good, from when it came.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        *,
        fresh_seconds: float = FRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._fresh_seconds = fresh_seconds
        self._clock = clock
        self._reading: asyncio.Task[T] | None = None
        self._good_until = 0.0

    async def now(self) -> T:
        """Give the answer, which is at most so old.

        Raises:
            TimeoutError: if it takes longer than ten seconds.
            Exception: what the read raised.
        """
        reading = self._reading
        if reading is None or (reading.done() and self._clock() >= self._good_until):
            reading = self._reading = asyncio.create_task(self._bounded(), name="shared read")
            reading.add_done_callback(self._note)
        return await asyncio.shield(reading)  # one caller that goes away takes nothing from the others

    async def close(self) -> None:
        """End a read that is under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _bounded(self) -> T:
        async with asyncio.timeout(_READ_SECONDS):
            return await self._read()

    def _note(self, reading: asyncio.Task[T]) -> None:
        self._good_until = self._clock() + self._fresh_seconds
        if not reading.cancelled():
            reading.exception()  # taken note of, even if whoever asked is gone


class StatusFeed(SharedRead[Status]):
    """The status that pages, JSON, health and metrics share."""

    @classmethod
    def of(cls, connections: Connections, settings: Settings) -> StatusFeed:
        """Read it through the process's own connections; without the slot while the source is away."""

        async def read() -> Status:
            await connections.credits.flush()
            async with connections.state.connection() as state, AsyncExitStack() as stack:
                source = None
                try:
                    source = await stack.enter_async_context(connections.source.connection(timeout=_SOURCE_SECONDS))
                except (psycopg.OperationalError, PoolTimeout) as error:
                    log.warning("status_without_source", error=type(error).__name__)
                return await read_status(source, state, settings.cdc_slot, credit_limit=credit_limit(settings))

        return cls(read)
