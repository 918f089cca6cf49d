"""A first backfill by Bulk Write: `cdc sweep` and `cdc worker` as processes, against the simulator as another."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from cdc.embedded.simulator import SimulatorAccess, simulator_process
from tests.bench.backlog import Backlog, server_with_users
from tests.support.pipeline import ENCRYPTION_KEY
from tests.support.waiting import until

_LONGEST_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class BackfillTime:
    """What a backfill took.

    Attributes:
        sweep_mb: peak resident memory of the process that marked everything.
        worker_mb: of the one that sent it.
    """

    records: int
    jobs: int
    credits: int
    sweep_seconds: float
    sweep_mb: float
    seconds: float
    worker_mb: float


def backfill_contacts(users: int) -> BackfillTime:
    """Send that many people, none of whom the CRM has seen."""
    with server_with_users(users) as backlog:
        return asyncio.run(_backfill(backlog))


async def _backfill(backlog: Backlog) -> BackfillTime:
    async with simulator_process() as crm, httpx.AsyncClient(base_url=crm.url, timeout=120) as http:
        environment = _environment(backlog, crm)
        started = time.perf_counter()
        sweep_mb = _ended(_start(environment, "sweep", "contacts"))
        swept = time.perf_counter()
        worker = _start(environment, "worker")
        await until(lambda: _is_empty(backlog), _LONGEST_SECONDS, what="everything is delivered", interval=0.5)
        done = time.perf_counter()
        worker.send_signal(signal.SIGTERM)
        worker_mb = _ended(worker)
        calls = (await http.get("/_sim/calls", params={"kind": "bulk_write"})).json()
        credits = (await http.get("/_sim/credits")).json()["used"]
        records = len((await http.get("/_sim/records/Contacts")).json())
    return BackfillTime(records, len(calls), credits, swept - started, sweep_mb, done - swept, worker_mb)


def _environment(backlog: Backlog, crm: SimulatorAccess) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CDC_", "ZOHO_"))},
        "DATABASE_URL": backlog.dsn,
        "CDC_ENCRYPTION_KEY": ENCRYPTION_KEY,
        "CDC_LOG": "json",
        "ZOHO_CLIENT_ID": crm.client_id,
        "ZOHO_CLIENT_SECRET": crm.client_secret,
        "ZOHO_REFRESH_TOKEN": crm.refresh_token,
        "ZOHO_ACCOUNTS_URL": crm.url,
        "ZOHO_API_DOMAIN": crm.url,
        "ZOHO_UPLOAD_URL": crm.url,
    }


def _start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cdc", *arguments]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, env=environment, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _ended(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process; gives its peak resident memory in MB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.args
    return usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)


def _is_empty(backlog: Backlog) -> bool:
    with psycopg.connect(backlog.dsn, autocommit=True) as conn:
        row = conn.execute("select not exists (select from cdc.outbox)").fetchone()
    return row is not None and bool(row[0])
