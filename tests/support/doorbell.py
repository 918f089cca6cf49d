"""A small application, a Realtime server beside it, and the transport that listens to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

from cdc.connection import connect
from cdc.routing.feeds import Lane, Profile
from cdc.routing.router import build_routes
from cdc.runtime.connections import Connections
from cdc.runtime.doorbell import DoorbellSweeper
from cdc.source.realtime import Realtime
from cdc.source.realtime_key import RealtimeKey
from cdc.source.realtime_session import RealtimeConfig
from cdc.source.setup import plan_realtime_setup
from cdc.source.statements import run_setup
from cdc.state.database import migrate, open_pool
from tests.support.capture import SCHEMA, write_profile
from tests.support.phoenix import KEY, Phoenix
from tests.support.phoenix_slot import PUBLICATION
from tests.support.postgres import Database
from tests.support.waiting import until

CANARY_SECONDS = 0.4
WITHIN = 40.0


@dataclass
class Bellboy:
    """Realtime and its sweeper, running.

    Attributes:
        realtime: the transport.
        sweeper: beside it; sweeps on the timer only if the test says so.
    """

    database: Database
    phoenix: Phoenix
    realtime: Realtime
    sweeper: DoorbellSweeper
    _next: int = field(default=0)

    def write(self) -> str:
        """Add a person; gives the key."""
        self._next += 1
        key = f"p{self._next}"
        self.database.execute("insert into people (id) values (%s)", [key])
        return key

    def lane(self, key: str, feed: str = "people") -> str | None:
        """The lane in which a key is dirty: `live` was heard, `bulk` was found by a sweep."""
        rows = self.database.execute("select lane from cdc.outbox where feed = %s and key = %s", [feed, key])
        return str(rows[0][0]) if rows else None

    async def until_dirty(self, key: str, feed: str = "people") -> str:
        lane = await until(lambda: self.lane(key, feed), WITHIN, what=f"{feed} {key} is dirty")
        return str(lane)

    async def until_heard(self) -> None:
        """Wait until the bell rings for what is written now, whatever was lost before."""

        def rings() -> bool:
            key = self.write()
            keys.append(key)
            return any(self.lane(key) == "live" for key in keys)

        keys: list[str] = []
        await until(rings, WITHIN, what="a change is heard", interval=0.1)

    async def until_lost(self, cause: str, after: int = 0) -> None:
        await until(lambda: cause in self.realtime.lost[after:], WITHIN, what=f"lost for {cause}")

    async def until_swept(self) -> None:
        await until(lambda: not self.sweeper.is_owed, WITHIN, what="no sweep is owed")

    def state(self) -> dict[str, Any]:
        names = ("state", "cause", "joined_at", "heard_at", "latency_ms", "rebuilds", "swept_at", "sweep_ms")
        [row] = self.database.execute(f"select {', '.join(names)} from cdc.doorbell")
        return dict(zip(names, row, strict=True))


@dataclass
class House:
    """The database, set up, and the server."""

    database: Database
    profile: Profile
    phoenix: Phoenix

    @classmethod
    @asynccontextmanager
    async def open(cls, database: Database, folder: Path) -> AsyncIterator[Self]:
        database.execute(SCHEMA)
        database.execute(f"create publication {PUBLICATION}")  # every project has it
        profile = write_profile(folder / "shop")
        await migrate(database.dsn)
        house = cls(database, profile, cast(Any, None))
        await house.set_up()
        async with Phoenix.open(database.dsn) as house.phoenix:
            yield house

    async def set_up(self) -> list[str]:
        """Run what is missing; return its SQL."""
        conn = await connect(self.database.dsn, purpose="setup")
        try:
            plan = await plan_realtime_setup(conn, self.profile)
            await run_setup(conn, plan)
        finally:
            await conn.close()
        return [statement.sql for statement in plan]

    def config(self, **changes: Any) -> RealtimeConfig:
        options: dict[str, Any] = {
            "source_dsn": self.database.dsn,
            "state_dsn": self.database.dsn,
            "pipeline": self.database.name,
            "url": self.phoenix.url,
            "key": RealtimeKey(KEY),
            "routes": build_routes(self.profile),
            "lane_seconds": {Lane.ROLLUP: 300.0},
            "canary_seconds": CANARY_SECONDS,
            "ready_seconds": 1.0,
        }
        return RealtimeConfig(**{**options, **changes})

    @asynccontextmanager
    async def ringing(self, *, every_seconds: float = 3600.0, **changes: Any) -> AsyncIterator[Bellboy]:
        """Listen for the length of the block; then stop, and raise what it ended with."""
        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(open_pool(self.database.dsn, purpose="test", size=4))
            connections = Connections(pool, pool, cast(Any, None), cast(Any, None), b"k" * 32)
            config = self.config(**changes)
            realtime, stop = Realtime(config), asyncio.Event()
            sweeper = DoorbellSweeper(connections, self.profile, config.pipeline, realtime, every_seconds=every_seconds)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(realtime.run(stop))
                tasks.create_task(sweeper.run(stop))
                try:
                    yield Bellboy(self.database, self.phoenix, realtime, sweeper)
                finally:
                    stop.set()
