"""One transaction of a million rows: how long after its commit everything is durable, and how much memory that took."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from dataclasses import dataclass

import psycopg

from cdc.logging import configure_logging
from cdc.lsn import Lsn
from cdc.routing.feeds import Lane
from cdc.routing.router import build_routes
from cdc.source.capture import Capture
from cdc.source.session import CaptureConfig
from tests.bench.backlog import BASE_SLOT, PROFILE, PUBLICATION, Backlog, server_with_users, stop_after
from tests.bench.peers.measuring import peak_memory_mb
from tests.bench.readers import LIMIT, read
from tests.support.waiting import until

ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class BigTransaction:
    """What one big transaction did to the capture process, and how long pg_recvlogical takes to read it."""

    what: str
    seconds_after_commit: float
    peak_mb: float
    limit_seconds: float


def big_transaction(users: int) -> BigTransaction:
    """Update a million rows of so many people in one transaction, while a capture process of its own streams."""
    with server_with_users(users) as backlog:
        _fill(backlog, users)
        unread = backlog.copy_slot()
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.memory", backlog.dsn], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "capturing"
        with psycopg.connect(backlog.dsn, autocommit=True) as conn:
            conn.execute("update public.user_skill_xp set xp_amount = xp_amount + 1")
            committed = time.time()
        said = json.loads(child.stdout.readline())
        child.wait(timeout=60)
        backlog.changes = ROWS
        limit = read(backlog, LIMIT, "unix socket", slot=unread)
    return BigTransaction(
        f"{ROWS:,} rows of {users:,} people", said["durable_at"] - committed, said["peak_mb"], limit.seconds
    )


def _fill(backlog: Backlog, users: int) -> None:
    """Give everybody as many rows as makes a million."""
    each = ROWS // users
    backlog.execute("delete from public.user_skill_xp")
    backlog.execute(
        "insert into public.user_skill_xp (user_id, pillar, xp_amount) "
        f"select md5('user' || n)::uuid, 'p' || p, 0 from generate_series(1, {each}) p, generate_series(1, {users}) n"
    )
    backlog.execute(f"select pg_replication_slot_advance('{BASE_SLOT}', pg_current_wal_lsn())")
    backlog.execute("checkpoint")


async def _capture(dsn: str) -> None:
    stop = asyncio.Event()
    capture = Capture(
        CaptureConfig(
            source_dsn=dsn, state_dsn=dsn, slot=BASE_SLOT, publication=PUBLICATION, transport="stream",
            routes=build_routes(PROFILE), lane_seconds={Lane.ROLLUP: 300},
        ),
        on_group=stop_after(ROWS, lambda: capture.stats, stop),
    )  # fmt: skip
    running = asyncio.create_task(capture.run(stop))
    await until(lambda: capture.has_captured(Lsn(1)), what="capture to start")
    print("capturing", flush=True)
    await stop.wait()
    durable_at = time.time()
    await running
    print(json.dumps({"durable_at": durable_at, "peak_mb": peak_memory_mb()}))


if __name__ == "__main__":
    configure_logging("json", level=logging.ERROR)
    asyncio.run(_capture(sys.argv[1]))
