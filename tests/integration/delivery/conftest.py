"""A small application with people and awards, its views, two sinks in memory, and workers on one outbox."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cdc.delivery.options import DeliveryOptions
from cdc.delivery.worker import CreditsUsed, Worker
from cdc.routing.feeds import Lane, Profile, parse_profile
from cdc.state.database import Pool, open_pool
from cdc.state.outbox import Mark, make_due, mark
from tests.integration.delivery.backfill import Backfill, MakeBackfill
from tests.support.postgres import Database
from tests.support.sinks import MemorySink
from tests.support.waiting import until

_SCHEMA = """
create table people (id int primary key, name text, streak int, badness int not null default 1,
                     visible boolean not null default true);
create table awards (id int primary key, person int not null, title text);
create view v_people as
    select id, name as "Name", streak as "Streak", 10 / badness as "Ratio" from people where visible;
create view v_awards as
    select id, 'award-' || id as event_id, person, title as "Title" from awards;
"""

_FEEDS: dict[str, Any] = {
    "people": {
        "sink": "memory.people",
        "view": "v_people",
        "key": "id",
        "gone": "delete",
        "mandatory": ["Name"],
        "withdraw_limit": 3,
        "watch": {"people": {"key": "id"}},
        "fields": {"Streak": {"label": "Streak", "type": "integer", "lane": "daily"}},
    },
    "awards": {
        "sink": "memory.awards",
        "view": "v_awards",
        "key": "id",
        "once": "event_id",
        "needs": "people",
        "parent": "person",
        "watch": {"awards": {"key": "id"}},
    },
}

OPTIONS = DeliveryOptions(
    hash_key=b"k" * 32,
    worker_id="w1",
    lease_seconds=30,
    call_seconds=1,
    settle_seconds=2,
    drain_seconds=5,
    idle_seconds=0.5,
)


@dataclass(slots=True)
class App:
    """The application's database, and what the tests do with it."""

    database: Database
    source: Pool
    state: Pool
    profile: Profile
    people: MemorySink = field(default_factory=lambda: MemorySink(name="memory.people"))
    awards: MemorySink = field(default_factory=lambda: MemorySink(name="memory.awards", unique=False))

    def worker(
        self,
        *,
        credits_used: Mapping[str, CreditsUsed] | None = None,
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> Worker:
        return Worker(
            source=self.source,
            state=self.state,
            profile=self.profile,
            sinks={"memory.people": self.people, "memory.awards": self.awards},
            options=replace(OPTIONS, **options),
            credits_used=credits_used or {},
            clock=clock,
            chance=lambda: 0.0,
        )

    @asynccontextmanager
    async def working(self, worker: Worker | None = None) -> AsyncIterator[Worker]:
        """Run a worker for the time of the block, and stop it in good order."""
        running = worker or self.worker()
        stop = asyncio.Event()
        task = asyncio.create_task(running.run(stop))
        try:
            yield running
        finally:
            stop.set()
            await task

    async def settle_down(self, worker: Worker | None = None, *, hurried: bool = False) -> None:
        """Run a worker until nothing is left that it could do; hurried, nothing gathers or waits for its day."""

        async def is_done() -> bool:
            if hurried:
                async with self.state.connection() as conn:
                    await make_due(conn)
            return await self.is_idle()

        async with self.working(worker):
            await until(is_done, what="the worker is idle")

    async def is_idle(self) -> bool:
        """Tell whether nothing is claimed or due, now or later. What is parked or waits after a failure isn't."""
        [(idle,)] = await self.fetch(
            "select not exists (select from cdc.outbox"
            " where parked_at is null and (reason is null or due_at <= now() or claimed_until > now()))"
        )
        return bool(idle)

    async def execute(self, statement: str, params: Sequence[Any] = ()) -> None:
        async with self.source.connection() as conn:
            await conn.execute(statement.encode(), params)

    async def fetch(self, statement: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        async with self.state.connection() as conn:
            return await (await conn.execute(statement.encode(), params)).fetchall()

    async def add_person(self, person: int, name: str = "Ada", **columns: Any) -> None:
        given = {"id": person, "name": name, **columns}
        marks = ", ".join("%s" for _ in given)
        await self.execute(f"insert into people ({', '.join(given)}) values ({marks})", list(given.values()))
        await self.ring("people", person)

    async def add_award(self, award: int, person: int) -> None:
        await self.execute("insert into awards values (%s, %s, 'Title')", [award, person])
        await self.ring("awards", award)

    async def ring(self, feed: str, *keys: int, lane: Lane = Lane.LIVE, **more: Any) -> None:
        """Mark keys dirty, as capture does."""
        now = datetime.now(UTC)
        async with self.state.connection() as conn, conn.transaction():
            await mark(conn, [Mark(feed=feed, key=str(k), lane=lane, dirty_at=now, **more) for k in keys])

    async def outbox(self, feed: str) -> dict[str, dict[str, Any]]:
        rows = await self.fetch("select key, to_jsonb(o) from cdc.outbox o where feed = %s", [feed])
        return dict(rows)

    async def ledger(self, feed: str) -> dict[str, dict[str, Any]]:
        rows = await self.fetch("select record_id, to_jsonb(g) from cdc.ledger g where feed = %s", [feed])
        return dict(rows)


@pytest.fixture
async def app(database: Database) -> AsyncIterator[App]:
    database.apply_state()
    database.execute(_SCHEMA)
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(open_pool(database.dsn, purpose="source", size=6))
        state = await stack.enter_async_context(open_pool(database.dsn, purpose="state", size=8))
        yield App(database, source, state, parse_profile("small", Path("small"), _FEEDS))


@pytest.fixture
async def make_backfill(database: Database) -> AsyncIterator[MakeBackfill]:
    """Start a CRM with settings of the test's own, beside a database with people and no workers yet."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> Backfill:
            return await stack.enter_async_context(Backfill.open(database, **settings))

        yield make


@pytest.fixture
async def backfill(make_backfill: MakeBackfill) -> Backfill:
    return await make_backfill()
