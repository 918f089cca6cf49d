"""A small application to capture from: its tables, its feeds, and what capture must make of its writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cdc.connection import connect
from cdc.lsn import Lsn
from cdc.routing.feeds import Lane, Profile, load_profile
from cdc.routing.router import build_routes
from cdc.source.capture import Capture
from cdc.source.preflight import TransportName
from cdc.source.session import CaptureConfig
from cdc.source.setup import plan_setup
from cdc.source.statements import run_setup
from cdc.state.database import migrate
from cdc.wire.journal import JournalEntry, JournalRelation, read_body
from tests.support.postgres import Database
from tests.support.waiting import until

SCHEMA = """
create table people (id text primary key, name text, bio text);
alter table people alter column bio set storage external;  -- large ones are TOASTed as they are
create table items (id bigint primary key, owner text, body text);       -- the owner may be NULL: identity FULL
create table visits (id bigint primary key, owner text not null, at int); -- never NULL: an index with the owner
create table noise (id bigint generated always as identity, body text);
"""
VIEWS = """
create view cdc.people as select id as person_id, name as "Last_Name" from people;
create view cdc.items as select id as item_id, owner, body as "Subject" from items;
"""
FEEDS = """
[people]
sink = "zoho.contacts"
view = "cdc.people"
key = "person_id"
[people.watch]
people = { key = "id" }
items = { key = "owner", lane = "rollup" }
visits = { key = "owner", lane = "rollup" }

[items]
sink = "zoho.tasks"
view = "cdc.items"
key = "item_id"
[items.watch]
items = { key = "id" }
"""
TRANSPORTS: tuple[TransportName, ...] = ("stream", "poll")

Entry = tuple[str, str, tuple[str | None, ...]]
"""A journal entry without its transaction: kind, table, key values (people: id; items: owner, id; visits: owner)."""


def write_profile(folder: Path, feeds: str = FEEDS, views: str = VIEWS) -> Profile:
    """Make a profile's folder and read it."""
    folder.mkdir(exist_ok=True)
    (folder / "feeds.toml").write_text(feeds)
    (folder / "views.sql").write_text(views)
    return load_profile(str(folder))


@dataclass(frozen=True)
class Source:
    """A database with the application's tables, set up for capture.

    Attributes:
        name: of slot and publication; slots are shared by a whole server.
    """

    database: Database
    profile: Profile
    name: str

    @classmethod
    async def make(cls, database: Database, folder: Path, schema: str = SCHEMA, *, failover: bool = False) -> Self:
        """Create the tables and run the set-up."""
        database.execute(schema)
        source = cls(database, write_profile(folder / "shop"), database.name)
        await migrate(database.dsn)
        await source.set_up(failover=failover)
        return source

    async def set_up(self, *, failover: bool = False) -> list[str]:
        """Run what is missing; return its SQL."""
        conn = await connect(self.database.dsn, purpose="setup")
        try:
            plan = await plan_setup(conn, self.profile, publication=self.name, slot=self.name, failover=failover)
            await run_setup(conn, plan)
        finally:
            await conn.close()
        return [statement.sql for statement in plan]

    def config(self, transport: TransportName, **changes: Any) -> CaptureConfig:
        """What a capture of this source is made with."""
        options: Mapping[str, Any] = {
            "source_dsn": self.database.dsn,
            "state_dsn": self.database.dsn,
            "slot": self.name,
            "publication": self.name,
            "transport": transport,
            "routes": build_routes(self.profile),
            "lane_seconds": {Lane.ROLLUP: 300.0},
            "poll_seconds": 0.02,
        }
        return CaptureConfig(**{**options, **changes})

    @asynccontextmanager
    async def capturing(self, transport: TransportName, **changes: Any) -> AsyncIterator[Capture]:
        """Capture for the length of the block; then stop, and raise what it ended with."""
        capture, stop = Capture(self.config(transport, **changes)), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(capture.run(stop))
            try:
                await until(lambda: capture.stats.state != "starting", what="capture to begin")
                yield capture
            finally:
                stop.set()

    async def drained(self, marker: str, within: float = 20.0) -> None:
        """Write a person called `marker` and wait until capture has got there."""
        self.database.execute("insert into people (id) values (%s)", [marker])
        query = "select 1 from cdc.outbox where feed = 'people' and key = %s"
        await until(lambda: self.database.execute(query, [marker]), within, what=f"{marker} in the outbox")

    def journal(self) -> list[JournalEntry]:
        """Read every entry of the journal, in order."""
        rows = self.database.execute("select relations, body from cdc.journal order by id")
        entries: list[JournalEntry] = []
        for relations, body in rows:
            known = {int(n): JournalRelation(r["table"], tuple(r["columns"])) for n, r in relations.items()}
            entries += read_body(body, known)
        return entries

    def entries(self, *, without: str = "marker") -> list[Entry]:
        """The journal in short, markers left out."""
        return [
            (e.kind, e.relation.table.removeprefix("public."), e.values)
            for e in self.journal()
            if not any(v is not None and v.startswith(without) for v in e.values)
        ]

    def outbox(self) -> dict[tuple[str, str], str]:
        """Dirty keys and their lanes, markers left out."""
        rows = self.database.execute("select feed, key, lane from cdc.outbox where key not like 'marker%'")
        return {(feed, key): lane for feed, key, lane in rows}

    def position(self) -> Lsn:
        """The stored position."""
        return Lsn.parse(self.database.execute("select lsn::text from cdc.position where slot = %s", [self.name])[0][0])

    def confirmed(self) -> Lsn:
        """What the slot was told."""
        query = "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = %s"
        return Lsn.parse(self.database.execute(query, [self.name])[0][0])

    def gaps(self) -> list[str]:
        """The causes on record."""
        return [cause for (cause,) in self.database.execute("select cause from cdc.gap order by id")]

    def end_backends(self, *purposes: str) -> None:
        """Terminate capture's connections by what they are for: `capture` (the state), `stream`, `poll`."""
        names = [f"cdc {purpose} {self.name}" for purpose in purposes]
        self.database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = any(%s)", [names]
        )
