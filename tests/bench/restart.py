"""`cdc run` killed or stopped: how long until the slot streams to its successor. And its memory when idle.

The successor is the same command started again, or a standby that was waiting.
"""

from __future__ import annotations

import asyncio
import os
import signal
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
TAKEOVERS: Final = 5


@dataclass(frozen=True, slots=True)
class Successions:
    """Seconds from the signal until the server streams to the successor.

    Attributes:
        restarted: after SIGKILL, by the same command started again.
        killed: after SIGKILL, by a standby.
        stopped: after SIGTERM, by a standby.
        idle_mb: resident memory of an idle `cdc run`.
    """

    restarted: tuple[float, ...]
    killed: tuple[float, ...]
    stopped: tuple[float, ...]
    idle_mb: float


def in_words(seconds: tuple[float, ...]) -> str:
    """Give median and longest."""
    return f"median {median(seconds):.2f} s, longest {max(seconds):.2f} s"


def successions() -> Successions:
    """Kill and stop it again and again, on a database that is at rest."""
    with server_with_users(500, listen_tcp=True) as backlog:
        return asyncio.run(_successions(backlog))


async def _successions(backlog: Backlog) -> Successions:
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
            process, killed = await _takeovers(conn, process, environment, signal.SIGKILL)
            process, stopped = await _takeovers(conn, process, environment, signal.SIGTERM)
        finally:
            process.kill()
            process.wait()
    return Successions(tuple(seconds), killed, stopped, idle_mb)


async def _takeovers(
    conn: psycopg.AsyncConnection[tuple[object, ...]],
    process: subprocess.Popen[bytes],
    environment: dict[str, str],
    number: signal.Signals,
) -> tuple[subprocess.Popen[bytes], tuple[float, ...]]:
    """Signal the process that captures, each time with a standby that waits; gives the last successor."""
    seconds = []
    for _ in range(TAKEOVERS):
        walsender = await _streaming(conn, None)
        standby = _start(environment)
        await until(lambda pid=standby.pid: _is_there(conn, pid), 60, what="the standby")  # type: ignore[misc]
        began = time.perf_counter()
        process.send_signal(number)
        await _streaming(conn, walsender)
        seconds.append(time.perf_counter() - began)
        process.wait()
        process = standby
    return process, tuple(seconds)


async def _is_there(conn: psycopg.AsyncConnection[tuple[object, ...]], pid: int) -> bool:
    """Tell whether a process has said that it is there; it asks for the turn in the same moment."""
    cursor = await conn.execute("select 1 from cdc.worker where pid = %s and role = 'capture'", [pid])
    return await cursor.fetchone() is not None


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
