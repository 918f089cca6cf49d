"""Contacts with a view of their own, delivered to a simulated CRM over real HTTP, some of them in bulk jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cdc.delivery.options import BulkOptions, DeliveryOptions
from cdc.delivery.worker import CreditsUsed, Worker
from cdc.routing.feeds import Lane, Profile, parse_profile
from cdc.state.control import BULK_SCOPE
from cdc.state.database import Pool, open_pool
from cdc.state.outbox import Mark, mark
from cdc.state.pauses import pause, resume
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.faults import FaultRule
from sinks.simulator.server import RunningSimulator, start_simulator
from sinks.zoho.auth import Authenticator, MemoryTokens
from sinks.zoho.bulk import BulkWrite
from sinks.zoho.client import NoBook, ZohoClient
from sinks.zoho.config import ZohoConfig
from sinks.zoho.contacts import ContactsSink
from sinks.zoho.transport import Transport
from tests.support.postgres import Database
from tests.support.sinks import MemorySink
from tests.support.waiting import until

SCHEMA = """
create table people (id int primary key, name text, email text, xp int, visible boolean not null default true);
create table awards (id int primary key, person int not null, title text);
create view v_people as
    select 'p' || id as pid, name as "Last_Name", email as "Email", xp as "Total_XP" from people where visible;
create view v_awards as select id, 'award-' || id as event_id, 'p' || person as person, title as "Title" from awards;
"""

_FEEDS: dict[str, Any] = {
    "people": {
        "sink": "zoho.contacts",
        "view": "v_people",
        "key": "pid",
        "external_id": "External_ID",
        "gone": "delete",
        "mandatory": ["Last_Name"],
        "watch": {"people": {"key": "id"}},
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

BULK = BulkOptions(rows=100, job_from=4, portion=3, poll_seconds=0.02, poll_longest=0.05, retreat_seconds=600)
OPTIONS = DeliveryOptions(
    hash_key=b"k" * 32,
    worker_id="w1",
    lease_seconds=10,
    call_seconds=3,
    settle_seconds=2,
    drain_seconds=5,
    idle_seconds=0.3,
    budget_seconds=0.2,
    bulk=BULK,
)


@dataclass(slots=True)
class Backfill:
    """The application, the CRM, and what tests do with them."""

    database: Database
    source: Pool
    state: Pool
    simulator: RunningSimulator
    client: ZohoClient
    profile: Profile
    awards: MemorySink = field(default_factory=lambda: MemorySink(name="memory.awards", unique=False))

    @classmethod
    @asynccontextmanager
    async def open(cls, database: Database, **settings: Any) -> AsyncIterator[Backfill]:
        database.apply_state()
        database.execute(SCHEMA)
        async with AsyncExitStack() as stack:
            source = await stack.enter_async_context(open_pool(database.dsn, purpose="source", size=6))
            state = await stack.enter_async_context(open_pool(database.dsn, purpose="state", size=10))
            config = SimulatorConfig(**{"bulk_delay": 0.0, **settings})
            crm = await stack.enter_async_context(await start_simulator(config))
            account = ZohoConfig(
                client_id=crm.client_id,
                client_secret=crm.client_secret,
                refresh_token=crm.refresh_token,
                accounts_url=crm.url,
                upload_url=crm.url,
                timeout=2.0,
            )
            transport = await stack.enter_async_context(Transport(timeout=2.0))
            client = ZohoClient(account, Authenticator(account, MemoryTokens(), transport), transport, NoBook())
            yield cls(database, source, state, crm, client, parse_profile("small", Path("small"), _FEEDS))

    # -- the application ---------------------------------------------------------------------------------------------

    def people(self, *ids: int, **columns: Any) -> None:
        """Make people, or change them."""
        given = {"name": "Doe", **columns}
        names, marks = ", ".join(given), ", ".join("%s" for _ in given)
        changes = ", ".join(f"{name} = excluded.{name}" for name in given)
        for who in ids:
            self.database.execute(
                f"insert into people (id, {names}) values (%s, {marks}) on conflict (id) do update set {changes}",
                [who, *given.values()],
            )

    async def ring(self, *ids: int, lane: Lane = Lane.BULK) -> None:
        now = datetime.now(UTC)
        async with self.state.connection() as conn, conn.transaction():
            await mark(conn, [Mark(feed="people", key=f"p{n}", lane=lane, dirty_at=now) for n in ids])

    # -- delivery ----------------------------------------------------------------------------------------------------

    def worker(self, name: str = "w1", *, credits_used: CreditsUsed | None = None, **options: Any) -> Worker:
        contacts = ContactsSink(self.client, external_id="External_ID", mandatory=("Last_Name",))
        bulk = {name: options.pop(name) for name in list(options) if name in BulkOptions.__dataclass_fields__}
        return Worker(
            source=self.source,
            state=self.state,
            profile=self.profile,
            sinks={"people": contacts, "awards": self.awards},
            options=replace(OPTIONS, worker_id=name, bulk=replace(BULK, **bulk), **options),
            bulk_sinks={"people": BulkWrite(self.client, contacts)},
            credits_used={} if credits_used is None else {"zoho": credits_used},
            chance=lambda: 0.0,
        )

    @asynccontextmanager
    async def working(self, worker: Worker | None = None) -> AsyncIterator[Worker]:
        running = worker or self.worker()
        stop = asyncio.Event()
        task = asyncio.create_task(running.run(stop))
        try:
            yield running
            assert not task.done(), task.result()
        finally:
            stop.set()
            await task

    async def settle(self, worker: Worker | None = None) -> None:
        """Run a worker until the outbox is empty."""
        async with self.working(worker):
            await until(self.is_empty, 20, what="everything is delivered")

    def is_empty(self) -> bool:
        return self.database.execute("select count(*) from cdc.outbox") == [(0,)]

    async def pause(self) -> None:
        async with self.state.connection() as conn:
            await pause(conn, BULK_SCOPE, actor="a test")

    async def go_on(self) -> None:
        async with self.state.connection() as conn:
            await resume(conn, [BULK_SCOPE])

    # -- what came of it ---------------------------------------------------------------------------------------------

    def jobs(self) -> list[str]:
        return [row[0] for row in self.database.execute("select state from cdc.bulk_job order by id")]

    def outbox(self) -> dict[str, Any]:
        return dict(self.database.execute("select key, to_jsonb(o) from cdc.outbox o where feed = 'people'"))

    def ledger(self) -> dict[str, Any]:
        return dict(self.database.execute("select record_id, to_jsonb(g) from cdc.ledger g where feed = 'people'"))

    def contacts(self) -> dict[str, dict[str, Any]]:
        """What the CRM holds, by our id."""
        found = list(self.simulator.simulation.records.tables["Contacts"].records.values())
        held = {one["External_ID"]: one for one in found}
        assert len(held) == len(found), "doubles in the CRM"
        return held

    def in_step(self) -> bool:
        """Tell whether CRM, view and ledger say the same."""
        wanted = {
            row[0]: row[1:]
            for row in self.database.execute('select pid, "Last_Name", "Email", "Total_XP" from v_people')
        }
        held = {who: (c["Last_Name"], c.get("Email"), c.get("Total_XP")) for who, c in self.contacts().items()}
        known = {who: entry["crm_id"] for who, entry in self.ledger().items() if entry["state"] == "sent"}
        return wanted == held and known == {who: c["id"] for who, c in self.contacts().items()}

    def calls(self, kind: str) -> list[Any]:
        return self.simulator.simulation.calls.select(kind=kind)

    def break_(self, action: str, **rule: Any) -> None:
        self.simulator.simulation.faults.add(FaultRule.model_validate({"action": action, **rule}))

    def mend(self) -> None:
        self.simulator.simulation.faults.clear()

    async def until_job(self, state: str) -> None:
        await until(lambda: state in self.jobs(), 20, what=f"a job is {state}")


MakeBackfill = Callable[..., Awaitable[Backfill]]
