"""A whole pipeline beside a simulated CRM, both in this process, for comparing the two three ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cdc.connection import connect
from cdc.routing.feeds import Profile, load_profile
from cdc.runtime.connections import Connections, open_connections
from cdc.runtime.environment import Environment
from cdc.runtime.pipeline import Pipeline
from cdc.runtime.reconcile.run import Outcome, Request, reconcile
from cdc.runtime.reconcile.site import Site, open_site
from cdc.settings import Settings, load_settings
from cdc.source.setup import plan_setup
from cdc.source.statements import run_setup
from cdc.state.database import migrate
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.faults import FaultRule
from sinks.simulator.server import RunningSimulator, start_simulator
from sinks.simulator.store import Table
from sinks.zoho.config import ZohoConfig
from tests.support.postgres import Database

SCHEMA = """
create table people (id text primary key, name text not null, email text, xp int not null default 0, phone text,
                     consent boolean not null default true, at timestamptz not null default '2026-01-02T03:04:05Z');
create table events (id bigint primary key, person text not null, title text not null);
"""
VIEWS = """
create schema if not exists cdc;
create view cdc.people as
    select id as person_id, name as "Last_Name", email as "Email", xp as "Total_XP", phone as "Phone",
           at as "Last_Active_At", xp > 1000 as "Parent_Linked"
    from people where consent;
create view cdc.events as select id as event_key, 'event-' || id as event_id, person, title as "Subject" from events;
"""
FEEDS = """
[people]
sink = "zoho.contacts"
view = "cdc.people"
key = "person_id"
external_id = "External_ID"
gone = "delete"
mandatory = ["Last_Name"]
[people.watch]
people = { key = "id" }
[people.owners]
Phone = "theirs"
Last_Name = "ours"

[events]
sink = "zoho.tasks"
view = "cdc.events"
key = "event_key"
external_id = "Event_ID"
once = "event_id"
needs = "people"
parent = "person"
mandatory = ["Subject"]
[events.watch]
events = { key = "id" }
"""
KEY = "0" * 64


@dataclass(slots=True)
class Ground:
    """The application's database, the CRM, and a pipeline that runs between them."""

    database: Database
    crm: RunningSimulator
    environment: Environment
    settings: Settings
    profile: Profile
    connections: Connections
    pipeline: Pipeline

    @classmethod
    @asynccontextmanager
    async def open(cls, database: Database, folder: Path, people: int = 60, **settings: Any) -> AsyncIterator[Self]:
        """Begin with everybody delivered."""
        database.execute(SCHEMA)
        database.execute(
            "insert into people (id, name, email, xp, phone) select 'p' || lpad(n::text, 6, '0'), 'Name ' || n,"
            " 'p' || n || '@example.org', n, '+1 ' || n from generate_series(1, %s) as n",
            [people],
        )
        database.execute(
            "insert into events select n, 'p' || lpad(n::text, 6, '0'), 'Quest' from generate_series(1, 5) n"
        )
        shop = folder / "shop"
        shop.mkdir()
        (shop / "feeds.toml").write_text(FEEDS)
        (shop / "views.sql").write_text(VIEWS)
        profile = load_profile(str(shop))
        await migrate(database.dsn)
        conn = await connect(database.dsn, purpose="setup")
        await run_setup(conn, await plan_setup(conn, profile, publication=database.name, slot=database.name))
        await conn.close()
        async with AsyncExitStack() as stack:
            crm = await stack.enter_async_context(await start_simulator(SimulatorConfig(credits=1_000_000)))
            zoho = ZohoConfig(
                client_id=crm.client_id,
                client_secret=crm.client_secret,
                refresh_token=crm.refresh_token,
                accounts_url=crm.url,
                api_domain=crm.url,
                upload_url=crm.url,
            )
            environment = Environment(
                source_dsn=database.dsn,
                state_dsn=database.dsn,
                encryption_key=KEY,
                zoho=zoho,
                is_embedded=True,
                simulator_url=crm.url,
            )
            chosen = load_settings(
                database_url=database.dsn, cdc_encryption_key=KEY, cdc_slot=database.name, cdc_sweep_hours=0,
                cdc_publication=database.name, cdc_profile=str(shop), **settings,
            )  # fmt: skip
            connections = await stack.enter_async_context(open_connections(environment))
            pipeline = Pipeline(environment, chosen, profile, connections, transport="stream")
            stop = asyncio.Event()
            running = asyncio.create_task(pipeline.run(stop))
            try:
                await asyncio.wait_for(pipeline.wait_until_idle(flush=True), 60)
                yield cls(database, crm, environment, chosen, profile, connections, pipeline)
            finally:
                stop.set()
                await running

    # -- the application ---------------------------------------------------------------------------------------------

    def sql(self, statement: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.database.execute(statement, params or None)

    async def idle(self) -> None:
        await asyncio.wait_for(self.pipeline.wait_until_idle(flush=True), 60)

    def silently(self, statement: str, params: Sequence[Any] = ()) -> None:
        """Change the application's data so that nobody hears of it: an update that the publication doesn't carry."""
        self.sql(f"alter publication {self.database.name} set (publish = '')")
        self.sql(statement, params)
        self.sql(f"alter publication {self.database.name} set (publish = 'insert, update, delete, truncate')")

    # -- the CRM -----------------------------------------------------------------------------------------------------

    @property
    def contacts(self) -> Table:
        return self.crm.simulation.records.tables["Contacts"]

    def crm_id(self, record_id: str) -> str:
        [(crm_id,)] = self.sql("select crm_id from cdc.ledger where feed = 'people' and record_id = %s", [record_id])
        return str(crm_id)

    def held(self, record_id: str) -> dict[str, Any]:
        return self.contacts.records[self.crm_id(record_id)]

    def edit(self, record_id: str, **fields: Any) -> None:
        """Change a contact as somebody at the CRM does."""
        self.contacts.update(self.crm_id(record_id), fields, self.crm.simulation.clock.now())

    def bin(self, record_id: str) -> None:
        """Delete a contact as somebody at the CRM does: its tasks lose it and stay."""
        records = self.crm.simulation.records
        assert records._delete(self.contacts, self.crm_id(record_id))["status"] == "success"

    def lose(self, record_id: str) -> None:
        """Let a contact vanish without a trace in the bin."""
        self.bin(record_id)
        self.contacts.deleted.clear()

    def type_in(self, **fields: Any) -> str:
        """Add a contact as somebody at the CRM does, past every check of ours; gives its id."""
        crm_id = str(9_000_000_000_000_000_000 + self.contacts._changes)
        self.contacts.insert({"id": crm_id, **fields}, self.crm.simulation.clock.now())
        return crm_id

    def break_(self, action: str, **rule: Any) -> None:
        self.crm.simulation.faults.add(FaultRule.model_validate({"action": action, **rule}))

    def mend(self) -> None:
        self.crm.simulation.faults.clear()

    def credits(self) -> int:
        return self.crm.simulation.credits.used

    def writes(self) -> int:
        """How many writes of contacts were carried out."""
        return len(self.contacts.history)

    # -- comparing ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def site(self) -> AsyncIterator[Site]:
        async with open_site(self.environment, self.settings, self.profile, self.connections) as site:
            yield site

    async def compare(self, **request: Any) -> Outcome:
        async with self.site() as site:
            return await reconcile(site, Request(**{"barrier_seconds": 20, "delivery_seconds": 20, **request}))


def found(outcome: Outcome) -> dict[str, set[str | None]]:
    """Record ids (or CRM ids, for what bears none) by kind."""
    by_kind: dict[str, set[str | None]] = {}
    for one in outcome.report.differences:
        by_kind.setdefault(one.kind.value, set()).add(one.record_id or one.crm_ids[0])
    return by_kind
