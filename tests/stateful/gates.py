"""Stops tasks where they touch the outside world, so that a test decides what happens next, and when.

A task with a gate stops before each use of a database and around each call to a sink. There it can be let on, left
standing while others go on, or killed: then it does nothing more, as after `kill -9`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from cdc.state.database import Pool


class Killed(BaseException):
    """The process is dead: nothing that it would have done is done."""


@dataclass(eq=False)
class Gate:
    """Where one task stands.

    Attributes:
        at: the point at which it stopped; None while it runs.
        is_open: it doesn't stop any more.
        is_dead: whatever it reaches, it gets no further.
        deadline: the clock when its last call is given up.
    """

    at: str | None = None
    is_open: bool = False
    is_dead: bool = False
    deadline: float = 0.0
    _go: asyncio.Event = field(default_factory=asyncio.Event)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def reach(self, point: str) -> None:
        """Stop here until somebody lets the task on.

        Raises:
            Killed: if it is dead, or is killed here.
        """
        if not (self.is_open or self.is_dead):
            self.at = point
            self._go.clear()
            self._arrived.set()
            try:
                await self._go.wait()
            finally:
                self.at = None
        if self.is_dead:
            raise Killed

    async def step(self, task: asyncio.Task[Any]) -> None:
        """Let the task on, to the next point or its end."""
        self._arrived.clear()
        self._go.set()
        arrived = asyncio.ensure_future(self._arrived.wait())
        try:
            await asyncio.wait({task, arrived}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrived.cancel()
            with suppress(asyncio.CancelledError):
                await arrived

    async def open(self, task: asyncio.Task[Any]) -> None:
        """Let it run to its end."""
        self.is_open = True
        self._go.set()
        await asyncio.wait({task})

    async def kill(self, task: asyncio.Task[Any]) -> None:
        """End it here and now."""
        self.is_dead = True
        self._go.set()
        await asyncio.wait({task})


GATE: ContextVar[Gate | None] = ContextVar("GATE", default=None)
"""The gate of the running task and of those that it starts; None for a task that nobody stops."""


async def reach(point: str) -> None:
    """Stop at the gate of the running task, if it has one."""
    gate = GATE.get()
    if gate is not None:
        await gate.reach(point)


class GatedPool:
    """A pool that stops a task before it is given a connection."""

    def __init__(self, pool: Pool, name: str) -> None:
        self._pool = pool
        self._name = name

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        await reach(self._name)
        async with self._pool.connection() as conn:
            yield conn


class GatedConnection:
    """A connection that stops a task before a statement, but never inside a transaction, where it would hold locks."""

    def __init__(self, conn: AsyncConnection[Any], purpose: str) -> None:
        self._conn = conn
        self._purpose = purpose

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        if self._conn.info.transaction_status is TransactionStatus.IDLE:
            await reach(self._purpose)
        return await self._conn.execute(*args, **kwargs)


def gated(connect: Callable[..., Any]) -> Callable[..., Any]:
    """Make of `cdc.connection.connect` one whose connections stop their task."""

    async def connect_gated(dsn: str, *, purpose: str, replication: bool = False) -> Any:
        await reach(f"connect {purpose}")
        conn = await connect(dsn, purpose=purpose, replication=replication)
        return conn if replication else GatedConnection(conn, purpose)

    return connect_gated


class ShiftedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be put forward: what was to happen by then happens."""

    shift = 0.0

    def time(self) -> float:
        return super().time() + self.shift
