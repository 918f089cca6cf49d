"""`cdc reconcile` as a process, against a CRM that holds everybody, delivered by a backfill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cdc.embedded.simulator import simulator_process
from tests.bench.backfilling import _ended, _environment, _is_empty, _start
from tests.bench.backlog import Backlog, server_with_users
from tests.support.waiting import until

_LONGEST_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class ReconcileTime:
    """What comparing everybody took.

    Attributes:
        credits: what the CRM metered for it.
        peak_mb: peak resident memory of the process.
    """

    records: int
    differing: int
    credits: int
    seconds: float
    peak_mb: float


def reconcile_contacts(users: int) -> ReconcileTime:
    """Deliver that many people, then compare them all."""
    with server_with_users(users) as backlog:
        return asyncio.run(_reconcile(backlog))


async def _reconcile(backlog: Backlog) -> ReconcileTime:
    async with simulator_process() as crm, httpx.AsyncClient(base_url=crm.url, timeout=120) as http:
        environment = _environment(backlog, crm)
        _ended(_start(environment, "sweep", "contacts"))
        worker = _start(environment, "worker")
        await until(lambda: _is_empty(backlog), _LONGEST_SECONDS, what="everything is delivered", interval=0.5)
        worker.send_signal(signal.SIGTERM)
        _ended(worker)
        before = (await http.get("/_sim/credits")).json()["used"]
        started = time.perf_counter()
        found, peak_mb = await asyncio.to_thread(_run, environment)
        seconds = time.perf_counter() - started
        credits = (await http.get("/_sim/credits")).json()["used"] - before
    assert found["complete"], found
    assert found["credits"]["used"] == credits, (found["credits"], credits)
    return ReconcileTime(found["compared"], found["differing"], credits, seconds, peak_mb)


def _run(environment: dict[str, str]) -> tuple[dict[str, Any], float]:
    """Run the command; gives what it printed, and its peak resident memory in MB."""
    command = [sys.executable, "-m", "cdc", "reconcile", "--feed", "contacts", "--json"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, env=environment, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.returncode
    return json.loads(said), usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)
