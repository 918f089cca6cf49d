"""The pipeline as processes of its own, on a database and a simulator, run the way an operator runs it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

import httpx

from cdc.embedded.simulator import SimulatorAccess, simulator_process
from cdc.source.session import IDLE_ADVANCE_BYTES
from tests.support.postgres import Database
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
ENCRYPTION_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
SLOT = "optio_cdc"
WITNESS = f"{SLOT}_witness"
LEASE_SECONDS = 5
"""The shortest that may be set: so soon do a killed worker's keys come back."""

_FAST = {
    "CDC_ROLLUP_SECONDS": "0.2",
    "CDC_DAILY_SECONDS": "1",
    "CDC_LEASE_SECONDS": str(LEASE_SECONDS),
    "CDC_POLL_SECONDS": "0.05",
    "CDC_LOG": "json",
}
_OURS = ("CDC_", "ZOHO_", "SUPABASE_", "DATABASE_URL")
_KEPT = ("CDC_TEST_", "CDC_POSTGRES_BIN")


class Crm:
    """A simulator in a process of its own, and its control endpoints.

    Args:
        access: as the simulator announced it.
        http: bound to its address.
    """

    def __init__(self, access: SimulatorAccess, http: httpx.AsyncClient) -> None:
        self.access = access
        self._http = http

    @classmethod
    @asynccontextmanager
    async def open(cls, *options: str) -> AsyncIterator[Self]:
        """Start one; the options are those of its command line."""
        async with (
            simulator_process(options=options) as access,
            httpx.AsyncClient(base_url=access.url, timeout=30) as http,
        ):
            yield cls(access, http)

    async def records(self, module: str) -> list[dict[str, Any]]:
        return await self._get(f"/_sim/records/{module}")

    async def history(self, module: str) -> list[dict[str, Any]]:
        """Every write that was carried out: `number`, `action`, `id`, `fields`."""
        return await self._get(f"/_sim/history/{module}")

    async def calls(self, *, after: int = 0, kind: str | None = None) -> list[dict[str, Any]]:
        return await self._get("/_sim/calls", {"after": after} | ({"kind": kind} if kind else {}))

    async def last_call(self) -> int:
        """The number of the newest call; 0 before the first."""
        newest = await self._get("/_sim/calls", {"last": 1})
        return int(newest[0]["number"]) if newest else 0

    async def limits(self) -> dict[str, Any]:
        """Credits and simultaneous calls, allowed and used."""
        credits: dict[str, Any] = await self._get("/_sim/credits")
        return credits

    async def faults(self) -> list[dict[str, Any]]:
        """The rules in force, with how often each struck."""
        return await self._get("/_sim/faults")

    async def break_with(self, *rules: Mapping[str, Any]) -> None:
        """Put fault rules in force beside those that are."""
        (await self._http.post("/_sim/faults", json=list(rules))).raise_for_status()

    async def mend(self) -> None:
        """Take all faults away."""
        (await self._http.delete("/_sim/faults")).raise_for_status()

    async def new_refresh_token(self) -> str:
        """Authorise anew, as a person does in the API console."""
        code = (await self._http.post("/_sim/codes")).raise_for_status().json()["code"]
        form = {
            "grant_type": "authorization_code",
            "client_id": self.access.client_id,
            "client_secret": self.access.client_secret,
            "code": code,
        }
        answer = (await self._http.post("/oauth/v2/token", data=form)).raise_for_status().json()
        return str(answer["refresh_token"])

    async def _get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return (await self._http.get(path, params=dict(params or {}))).raise_for_status().json()


@dataclass(slots=True)
class Child:
    """A running `cdc` command.

    Attributes:
        log: the file with its stderr.
        out: the file with its stdout.
    """

    process: asyncio.subprocess.Process
    log: Path
    out: Path

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    def events(self) -> list[dict[str, Any]]:
        """What it has logged, whole lines only."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def said(self, event: str, **values: object) -> bool:
        """Tell whether it has logged an event with these values."""
        return any(e["event"] == event and values.items() <= e.items() for e in self.events())

    async def until_said(self, event: str, within: float = 90.0, **values: object) -> None:
        """Wait for a log line; a process that ends without it fails at once."""

        def seen() -> bool:
            if self.said(event, **values):
                return True
            assert self.running, f"ended with {self.process.returncode} before it said {event}:\n{self.tail()}"
            return False

        await until(seen, within, what=f"log line {event} {values or ''}\n{self.tail()}")

    def tail(self, characters: int = 3000) -> str:
        """The end of its log, for a failure."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-characters:]

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.running:
            self.process.kill()
        await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def stop(self) -> None:
        """SIGTERM, and see it end well."""
        self.signal(signal.SIGTERM)
        code = await self.ended()
        assert code == 0, f"ended with {code}:\n{self.tail()}"

    async def ended(self, within: float = 60.0) -> int:
        """Wait for its end.

        Returns:
            The exit code.

        Raises:
            AssertionError: if it goes on; with the end of its log.
        """
        try:
            async with asyncio.timeout(within):
                return await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"still running after {within:g} s:\n{self.tail()}") from None


@dataclass(slots=True)
class Site:
    """A database, a CRM, and the commands that are run on them.

    Attributes:
        folder: for logs.
        transport: `stream`, `poll` or `realtime`; the last one has no slot and so no witness.
        settings: environment of the commands, beside the usual.
    """

    database: Database
    crm: Crm
    folder: Path
    transport: str = "stream"
    settings: dict[str, str] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(1))
    _children: list[Child] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if k.startswith(_KEPT) or not k.startswith(_OURS)}
        access = self.crm.access
        return {
            **inherited,
            **_FAST,
            "DATABASE_URL": self.database.dsn,
            "CDC_ENCRYPTION_KEY": ENCRYPTION_KEY,
            "CDC_TRANSPORT": self.transport,
            "ZOHO_CLIENT_ID": access.client_id,
            "ZOHO_CLIENT_SECRET": access.client_secret,
            "ZOHO_REFRESH_TOKEN": access.refresh_token,
            "ZOHO_ACCOUNTS_URL": access.url,
            "ZOHO_API_DOMAIN": access.url,
            "ZOHO_UPLOAD_URL": access.url,
            **self.settings,
        }

    async def start(self, *arguments: str) -> Child:
        """Start `cdc` with these arguments."""
        number = next(self._numbers)
        log, out = self.folder / f"{number:03}-{arguments[0]}.log", self.folder / f"{number:03}-{arguments[0]}.out"
        with log.open("wb") as stderr, out.open("wb") as stdout:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cdc", *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=stdout,
                stderr=stderr, env=self.environment(), cwd=ROOT,
            )  # fmt: skip
        child = Child(process, log, out)
        self._children.append(child)
        return child

    async def command(self, *arguments: str, within: float = 60.0, code: int = 0) -> str:
        """Run a command to its end; gives its stdout."""
        child = await self.start(*arguments)
        ended = await child.ended(within)
        assert ended == code, f"cdc {' '.join(arguments)} ended with {ended}, not {code}:\n{child.tail()}"
        return child.out.read_text(encoding="utf-8")

    async def settle(self, within: float = 60.0, code: int = 0) -> dict[str, Any]:
        """Run the pipeline until all is delivered.

        Returns:
            Its report.
        """
        report: dict[str, Any] = json.loads(
            await self.command("run", "--until-idle", "--json", within=within, code=code)
        )
        return report

    async def set_up(self) -> None:
        """Make tables, views, publication and slot, and beside it a second slot that nobody reads: the witness."""
        self.database.apply_profile("core")
        if self.transport == "realtime":
            self.database.execute("create publication supabase_realtime")  # every project has it
            await self.command("setup")
            return
        await self.command("setup")
        self.database.execute("select pg_copy_logical_replication_slot(%s, %s)", [SLOT, WITNESS])

    def row_changes(self) -> tuple[int, int]:
        """Count the row changes that the server streams, by the witness, and those in the journal."""
        [(streamed,)] = self.database.execute(
            "select count(*) from pg_logical_slot_peek_binary_changes(%s, null, null, 'proto_version', '1',"
            " 'publication_names', %s) where get_byte(data, 0) in (ascii('I'), ascii('U'), ascii('D'))",
            [WITNESS, SLOT],
        )
        [(journaled,)] = self.database.execute("select coalesce(sum(changes), 0) from cdc.journal")
        return int(streamed), int(journaled)

    async def until_captured(self, within: float = 20.0) -> None:
        """Wait until every change that is committed now is in the outbox, and the slot holds no more WAL for them."""

        def has_all() -> bool:
            streamed, journaled = self.row_changes()
            return streamed == journaled

        def has_followed() -> bool:
            [(behind,)] = self.database.execute(
                "select pg_wal_lsn_diff(%s::pg_lsn, confirmed_flush_lsn)::bigint from pg_replication_slots"
                " where slot_name = %s",
                [end, SLOT],
            )
            return bool(behind <= 2 * IDLE_ADVANCE_BYTES)

        [(end,)] = self.database.execute("select pg_current_wal_lsn()::text")
        await until(has_all, within, what="all changes are captured", interval=0.1)
        await until(has_followed, within, what="the slot has followed", interval=0.1)

    async def until_delivered(self, within: float = 60.0) -> None:
        """Wait until nothing is dirty any more; somebody must be delivering."""

        def is_empty() -> bool:
            return self.database.execute("select count(*) from cdc.outbox") == [(0,)]

        await until(is_empty, within, what="everything is delivered", interval=0.1)

    def let_pauses_end(self) -> None:
        """Let the time of all pauses pass; whether things work again is still to be tried."""
        self.database.execute("update cdc.control set paused_until = now() where paused_until < 'infinity'")
        self.database.execute("select pg_notify('cdc_outbox', '')")

    async def status(self) -> dict[str, Any]:
        """What `cdc status --json` says, with its exit code as `exit_code`."""
        child = await self.start("status", "--json")
        code = await child.ended()
        assert code in (0, 3), child.tail()
        return {**json.loads(child.out.read_text(encoding="utf-8")), "exit_code": code}

    async def close(self) -> None:
        """End what still runs."""
        async with AsyncExitStack() as stack:
            for child in self._children:
                stack.push_async_callback(child.kill)
