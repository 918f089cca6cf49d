"""`cdc run` killed with SIGKILL and started again: how long until the slot streams, and its memory when idle."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from sinks.simulator.config import SimulatorConfig
from sinks.simulator.server import start_simulator
from tests.bench.backlog import BASE_SLOT, PUBLICATION, Backlog, server_with_users
from tests.bench.running import KEY
from tests.support.waiting import until

KILLS: Final = 10


@dataclass(frozen=True, slots=True)
class Restarts:
    """Seconds from the kill to streaming again, and the resident memory of an idle `cdc run`."""

    seconds: tuple[float, ...]
    idle_mb: float

    @property
    def median(self) -> float:
        """Of all kills."""
        return median(self.seconds)


def restarts() -> Restarts:
    """Kill it again and again, on a database that is at rest."""
    with server_with_users(500, listen_tcp=True) as backlog:
        return asyncio.run(_restarts(backlog))


async def _restarts(backlog: Backlog) -> Restarts:
    async with (
        await start_simulator(SimulatorConfig(credits=1_000_000)) as simulator,
        await psycopg.AsyncConnection.connect(backlog.dsn, autocommit=True) as conn,
    ):
        parts = conninfo_to_dict(backlog.dsn)
        environment = {
            **os.environ,
            "DATABASE_URL": f"postgresql://postgres@{parts['host']}:{parts['port']}/{parts['dbname']}",
            "CDC_ENCRYPTION_KEY": KEY, "CDC_SLOT": BASE_SLOT, "CDC_PUBLICATION": PUBLICATION,
            "ZOHO_CLIENT_ID": simulator.client_id, "ZOHO_CLIENT_SECRET": simulator.client_secret,
            "ZOHO_REFRESH_TOKEN": simulator.refresh_token, "ZOHO_ACCOUNTS_URL": simulator.url,
            "ZOHO_API_DOMAIN": simulator.url,
        }  # fmt: skip
        process, walsender = _start(environment), await _streaming(conn, None)
        try:
            await until(lambda: _is_idle(conn), 300, what="everybody to be in the CRM")
            idle_mb = _resident_mb(process.pid)
            seconds = []
            for _ in range(KILLS):
                began = time.perf_counter()
                process.kill()
                process.wait()
                process = _start(environment)
                walsender = await _streaming(conn, walsender)
                seconds.append(time.perf_counter() - began)
        finally:
            process.kill()
            process.wait()
    return Restarts(tuple(seconds), idle_mb)


def _start(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "cdc", "run"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


async def _streaming(conn: psycopg.AsyncConnection[tuple[object, ...]], before: object) -> object:
    """Wait for another walsender on the slot than the one before, and for it to stream; give its pid."""
    found: object = None

    async def streams() -> bool:
        nonlocal found
        cursor = await conn.execute(
            "select s.active_pid from pg_replication_slots s join pg_stat_replication r on r.pid = s.active_pid"
            " where s.slot_name = %s and r.state in ('streaming', 'catchup')",
            [BASE_SLOT],
        )
        row = await cursor.fetchone()
        found = None if row is None else row[0]
        return found is not None and found != before

    await until(streams, 120, what="the slot to be streamed")
    return found


async def _is_idle(conn: psycopg.AsyncConnection[tuple[object, ...]]) -> bool:
    cursor = await conn.execute(
        "select exists (select from cdc.ledger) and not exists (select from cdc.outbox where lane <> 'daily')"
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")
