"""A commit is in the WAL before others see it. What is stored in between would be delivered from the old truth."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.routing.feeds import Lane, load_profile
from cdc.routing.router import build_routes
from cdc.source.capture import Capture
from cdc.source.preflight import TransportName
from cdc.source.session import CaptureConfig
from cdc.source.setup import plan_setup
from cdc.source.statements import run_setup
from cdc.state.database import migrate
from tests.support.waiting import until

USER = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server whose settings the test may change."""
    with EmbeddedPostgres.start() as server, psycopg.connect(server.dsn, autocommit=True) as conn:
        conn.execute((load_profile("core").folder / "schema.sql").read_bytes())
        conn.execute("insert into auth.users (id) values (%s)", [USER])
        conn.execute("insert into public.users (id, first_name, role) values (%s, 'Old', 'parent')", [USER])
        yield server


@pytest.mark.parametrize("transport", ["stream", "poll"])
async def test_a_commit_is_stored_only_when_a_query_sees_it(
    own_server: EmbeddedPostgres, transport: TransportName
) -> None:
    profile = load_profile("core")
    # Ours must not wait for the standby that the test makes up.
    ours = make_conninfo(own_server.dsn, options="-c synchronous_commit=local")
    await migrate(ours)
    async with await psycopg.AsyncConnection.connect(ours, autocommit=True) as conn:
        await run_setup(conn, await plan_setup(conn, profile, publication="vis", slot="vis"))
        capture = Capture(
            CaptureConfig(
                source_dsn=ours,
                state_dsn=ours,
                slot="vis",
                publication="vis",
                transport=transport,
                routes=build_routes(profile),
                lane_seconds={Lane.ROLLUP: 0.0},
                poll_seconds=0.05,
            )
        )
        stop = asyncio.Event()
        running = asyncio.create_task(capture.run(stop))
        await conn.execute("alter system set synchronous_standby_names = 'nobody'")
        await conn.execute("select pg_reload_conf()")

        async def name() -> str:
            row = await (await conn.execute("select first_name from public.users where id = %s", [USER])).fetchone()
            assert row is not None
            return str(row[0])

        async def waits_for_standby() -> bool:
            row = await (
                await conn.execute("select count(*) from pg_stat_activity where wait_event = 'SyncRep'")
            ).fetchone()
            return row is not None and row[0] == 1

        async def outbox() -> int:
            row = await (await conn.execute("select count(*) from cdc.outbox")).fetchone()
            assert row is not None
            return int(row[0])

        writer = asyncio.create_task(_rename(own_server.dsn))
        await until(waits_for_standby, what="the commit to be in the WAL, and not visible")
        session_has_it = lambda: capture._current is not None and capture._current.is_storing  # noqa: E731
        await until(session_has_it, what="capture to have read the change")
        assert await name() == "Old"
        assert await outbox() == 0

        await conn.execute("alter system reset synchronous_standby_names")
        await conn.execute("select pg_reload_conf()")
        await writer
        await until(outbox, what="the change to be stored")
        assert await name() == "New"
        stop.set()
        await running


async def _rename(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("update public.users set first_name = 'New' where id = %s", [USER])
