"""What all examples of the machine stand on: one server, one database, its connections, and a clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

import cdc.source.capture
import cdc.source.poll
import cdc.source.visibility
import cdc.state.capture
from cdc.connection import connect
from cdc.embedded.postgres import EmbeddedPostgres
from cdc.lsn import Lsn
from cdc.routing.feeds import Lane, Profile
from cdc.routing.router import build_routes
from cdc.source.continuity import join_up
from cdc.source.session import CaptureConfig
from cdc.state.capture import CaptureStore
from cdc.state.database import Pool, migrate, open_pool
from tests.stateful.application import FEEDS, SCHEMA, VIEWS
from tests.stateful.gates import ShiftedLoop, gated
from tests.support.capture import Source, write_profile
from tests.support.postgres import Database

SLOT = "machine"
HASH_KEY = b"k" * 32
_MOST_DEAD_ROWS = 25
_T = TypeVar("_T")

_RESET = """
delete from people; delete from awards; delete from visits;
delete from cdc.outbox; delete from cdc.ledger; delete from cdc.journal; delete from cdc.control;
delete from cdc.zoho_sync_log; delete from cdc.gap;
"""
_MOVE_SLOT = """
select pg_replication_slot_advance('machine', pg_current_wal_lsn());
update cdc.position p set lsn = s.confirmed_flush_lsn, open_lsn = null, open_changes = 0, swept_at = now()
from pg_replication_slots s where s.slot_name = p.slot
"""
_PASS = """
with outbox as (
    update cdc.outbox set due_at = due_at - make_interval(secs => %(by)s),
        dirty_at = dirty_at - make_interval(secs => %(by)s),
        claimed_until = claimed_until - make_interval(secs => %(by)s),
        deferred_until = deferred_until - make_interval(secs => %(by)s)
), control as (
    update cdc.control set paused_until = paused_until - make_interval(secs => %(by)s) where paused_until < 'infinity'
)
update cdc.zoho_sync_log set created_at = created_at - make_interval(secs => %(by)s)
"""


@dataclass
class Ground:
    """Made once; every example begins on it as if nothing had been.

    Attributes:
        observer: looks at what is committed and visible.
        apps: the connections of the application's sessions; the last one's commits wait for a standby.
    """

    database: Database
    profile: Profile
    runner: asyncio.Runner
    observer: psycopg.Connection[Any]
    apps: list[psycopg.Connection[Any]]
    source: Pool
    state: Pool
    _examples: int = field(default=0)

    @property
    def loop(self) -> ShiftedLoop:
        loop = self.runner.get_loop()
        assert isinstance(loop, ShiftedLoop)
        return loop

    def run(self, work: Any) -> Any:
        """Let the event loop run until this is done; everything else in it goes on as well."""
        return self.runner.run(work)

    def reset(self) -> None:
        """Forget all rows and begin the stream here."""
        self._examples += 1
        self.observer.execute(_RESET)
        self.observer.execute(_MOVE_SLOT)
        if self._examples % _MOST_DEAD_ROWS == 0:
            self.observer.execute("vacuum")

    def lsn(self) -> Lsn:
        [(text,)] = self.observer.execute("select pg_current_wal_lsn()::text").fetchall()
        return Lsn.parse(text)

    def pass_time(self, seconds: float) -> None:
        """Put everything that is on record into the past by so much, and our own clock forward."""
        self.observer.execute(_PASS, {"by": seconds})
        self.loop.shift += seconds


def capture_config(dsn: str, profile: Profile) -> CaptureConfig:
    """What every capture of the machine is made with: groups so small that few transactions fit into one."""
    return CaptureConfig(
        source_dsn=dsn,
        state_dsn=dsn,
        slot=SLOT,
        publication=SLOT,
        transport="poll",
        routes=build_routes(profile),
        lane_seconds={Lane.ROLLUP: 300.0},
        group_changes=4,
        poll_seconds=0.0,
    )


@contextmanager
def made_ground(folder: Path, patch: Any) -> Iterator[Ground]:
    """Start a server of its own, since a setting of it holds commits back, and set everything up.

    Args:
        folder: for the profile.
        patch: pytest's monkeypatch; capture's connections stop at gates from here on.
    """
    for module in (cdc.source.capture, cdc.source.poll, cdc.state.capture):
        patch.setattr(module, "connect", gated(connect))
    patch.setattr(cdc.source.poll, "_ROWS_A_FETCH", 3)  # so that small transactions are captured in parts as well
    patch.setattr(cdc.state.capture, "SILENT_SECONDS", 0)  # a task that is left standing isn't a dead process
    patch.setattr(cdc.state.capture, "_WORD_SECONDS", 1e9)
    patch.setattr(cdc.source.visibility, "_LONGEST_PAUSE_SECONDS", 0.002)
    with EmbeddedPostgres.start(settings={"synchronous_standby_names": "nobody"}) as server:
        local = make_conninfo(server.dsn, options="-c synchronous_commit=local")
        with asyncio.Runner(loop_factory=ShiftedLoop) as runner:
            stack = AsyncExitStack()
            ground = runner.run(stack.enter_async_context(_connected(local, server.dsn, folder, runner)))
            try:
                yield ground
            finally:
                runner.run(stack.aclose())


@asynccontextmanager
async def _connected(local: str, waiting: str, folder: Path, runner: asyncio.Runner) -> AsyncIterator[Ground]:
    database = Database(SLOT, local)
    database.execute(SCHEMA)
    source = Source(database, write_profile(folder / "shop", FEEDS, VIEWS), SLOT)
    await _set_up(source)
    async with AsyncExitStack() as stack:
        pools = [
            await stack.enter_async_context(open_pool(local, purpose=purpose, size=12))
            for purpose in ("source", "state")
        ]
        observer, *apps = [
            stack.enter_context(psycopg.connect(dsn, autocommit=True)) for dsn in (local, local, local, waiting)
        ]
        yield Ground(database, source.profile, runner, observer, apps, *pools)


async def _set_up(source: Source) -> None:
    """Make the state, the views and the slot, and join a position up with it."""
    dsn = source.database.dsn
    await migrate(dsn)
    await source.set_up()
    conn = await connect(dsn, purpose="set up")
    store = await CaptureStore.open(dsn, SLOT, {})
    await join_up(conn, store, capture_config(dsn, source.profile))
    await store.close()
    await conn.close()
