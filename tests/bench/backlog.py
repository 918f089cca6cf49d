"""A server with a backlog of changes, and readers of that backlog to be timed one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict
from tenacity import Retrying, retry_if_exception_type, wait_fixed

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.lsn import Lsn
from cdc.routing.feeds import Lane, load_profile
from cdc.routing.router import build_routes
from cdc.source.capture import Capture, CaptureStats
from cdc.source.session import CaptureConfig
from cdc.source.setup import plan_setup
from cdc.source.statements import run_setup
from cdc.state.database import migrate

PUBLICATION = "bench"
BASE_SLOT = "bench_base"
PROFILE = load_profile("core")
Line = Literal["unix socket", "TCP"]


class Backlog:
    """A server whose slot `bench_base` stands before a known number of changes."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self.dsn = server.dsn
        self.changes = 0
        self._readers = 0

    def address(self, line: Line) -> dict[str, str]:
        """Where the server is reached over a line."""
        parts = conninfo_to_dict(self.dsn)
        host = str(self.server.folder) if line == "unix socket" else "127.0.0.1"
        return {"host": host, "port": str(parts["port"]), "dbname": str(parts["dbname"]), "user": "postgres"}

    def execute(self, statement: str) -> None:
        """Run one statement in a transaction of its own."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute(statement)

    def copy_slot(self) -> str:
        """Give a reader a slot of its own at the beginning of the backlog."""
        self._readers += 1
        name = f"bench_{self._readers}"
        self.execute(f"select pg_copy_logical_replication_slot('{BASE_SLOT}', '{name}')")
        return name

    def drop_slot(self, name: str) -> None:
        """Take it back, once its reader is gone."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            for attempt in Retrying(retry=retry_if_exception_type(psycopg.errors.ObjectInUse), wait=wait_fixed(0.05)):
                with attempt:
                    conn.execute("select pg_drop_replication_slot(%s)", [name])

    def end(self) -> Lsn:
        """Where the backlog ends."""
        with psycopg.connect(self.dsn) as conn:
            row = conn.execute("select pg_current_wal_lsn()::text").fetchone()
        assert row is not None
        return Lsn.parse(row[0])


@contextmanager
def server_with_users(users: int, *, listen_tcp: bool = False) -> Iterator[Backlog]:
    """Start a server with fsync on, the core schema and made-up users, set up for capture, before any change."""
    with EmbeddedPostgres.start(
        fsync=True, listen_tcp=listen_tcp, settings={"max_wal_size": "8GB", "shared_buffers": "512MB"}
    ) as server:
        backlog = Backlog(server)
        backlog.execute((PROFILE.folder / "schema.sql").read_text())
        backlog.execute(
            f"""
            insert into auth.users (id) select md5('user' || n)::uuid from generate_series(1, {users}) n; insert into
            public.users (id, first_name, last_name, email, role, date_of_birth) select md5('user' || n)::uuid,
            'First' || n, 'Last' || n, 'user' || n || '@example.org', 'parent', '1980-01-01' from generate_series(1,
            {users}) n; insert into public.user_skill_xp (user_id, pillar, xp_amount) select md5('user' || n)::uuid,
            p, 0 from generate_series(1, {users}) n,
                unnest(array['stem', 'art', 'civics', 'wellness', 'communication']) p
            on conflict do nothing;
            alter table public.user_skill_xp disable trigger user;  -- the app's own triggers are not what is measured
            """
        )
        asyncio.run(_set_up(server.dsn))
        backlog.execute("vacuum analyze")
        backlog.execute("checkpoint")
        yield backlog


async def _set_up(dsn: str) -> None:
    await migrate(dsn)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await run_setup(conn, await plan_setup(conn, PROFILE, publication=PUBLICATION, slot=BASE_SLOT))


def write(backlog: Backlog, *, transactions: int, rows: int) -> None:
    """Add `transactions` commits of `rows` changes each: XP updates, spread over the users as a school's day is."""
    with psycopg.connect(backlog.dsn, autocommit=True) as conn:
        conn.execute("set synchronous_commit = off")
        conn.execute(
            "create temp table bench_order as select row_number() over (order by md5(id::text)) as n, id "
            "from public.user_skill_xp; create unique index on bench_order (n) include (id); analyze bench_order; "
            "create or replace procedure pg_temp.bench_write(transactions int, rows int) "
            "language plpgsql as $$ declare at int := 0; total int := (select count(*) from bench_order);"
            "begin for t in 1..transactions loop "
            "  update public.user_skill_xp set xp_amount = xp_amount + 1"
            "  where id = any(array(select id from bench_order where n > at and n <= at + rows));"
            "  at := (at + rows) % (total - rows); commit; "
            "end loop; end $$"
        )
        conn.execute("call pg_temp.bench_write(%s, %s)", [transactions, rows])
    backlog.changes += transactions * rows


def stop_after(changes: int, stats: Callable[[], CaptureStats], stop: asyncio.Event) -> Callable[[], None]:
    """Make the callback that ends a capture once so many changes are durable."""

    def on_group() -> None:
        if stats().changes >= changes:
            stop.set()

    return on_group


def keep_journal_of(backlog: Backlog) -> str:
    """Capture the backlog in this process and leave what that wrote; gives the slot's name."""
    slot = backlog.copy_slot()
    backlog.execute("truncate cdc.outbox, cdc.journal")
    asyncio.run(_capture(backlog, slot))
    backlog.drop_slot(slot)
    return slot


async def _capture(backlog: Backlog, slot: str) -> None:
    stop = asyncio.Event()
    capture = Capture(
        CaptureConfig(
            source_dsn=backlog.dsn, state_dsn=backlog.dsn, slot=slot, publication=PUBLICATION, transport="stream",
            routes=build_routes(PROFILE), lane_seconds={Lane.ROLLUP: 300},
        ),
        on_group=stop_after(backlog.changes, lambda: capture.stats, stop),
    )  # fmt: skip
    await capture.run(stop)
    assert capture.stats.changes == backlog.changes, capture.stats
