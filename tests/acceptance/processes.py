"""Runs `cdc` as a stranger does: as a process, with an environment and a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from psycopg.conninfo import conninfo_to_dict

PROGRAM = Path(sys.executable).with_name("cdc")
ENCRYPTION_KEY = "bm90IGEgcmVhbCBrZXksIG9ubHkgb25lIGZvciB0ZXM="
"""32 bytes that protect nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout."""
        return json.loads(self.out)

    @property
    def text(self) -> str:
        return self.out + self.err

    def refused(self, code: int, *words: str) -> None:
        """Hold an error against what an error must be: one screen, a sentence, no traceback."""
        assert self.code == code, self.text
        assert "Traceback" not in self.text
        assert len(self.err.splitlines()) <= 24
        for word in words:
            assert word in self.err


@dataclass(frozen=True)
class Cdc:
    """The command in a folder of its own.

    Attributes:
        folder: working directory and home.
        environment: what is set on top of next to nothing.
        program: the installed script.
        account: whom it runs as, if not as us.
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Path = PROGRAM
    account: str | None = None

    def using(self, *environments: Mapping[str, str], **values: str) -> Cdc:
        """Give the same command with more in its environment."""
        merged = dict(self.environment)
        for more in (*environments, values):
            merged |= more
        return replace(self, environment=merged)

    def __call__(self, *arguments: str, within: float = 90.0) -> Result:
        done = subprocess.run(
            [self.program, *arguments],
            capture_output=True, text=True, timeout=within, check=False, **self._how(),
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[Running]:
        """Run it beside the test; killed at the end of the block if it is still there."""
        out, err = self.folder / f"out-{time.monotonic_ns()}", self.folder / f"err-{time.monotonic_ns()}"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [self.program, *arguments], stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL, **self._how()
            )
        try:
            yield Running(process, out, err)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _how(self) -> dict[str, Any]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8", **self.environment}
        how: dict[str, Any] = {"cwd": self.folder, "env": environment}
        if self.account is not None:
            how |= {"user": self.account, "group": self.folder.stat().st_gid, "extra_groups": []}
        return how


@dataclass(frozen=True)
class Running:
    """A command that runs."""

    process: subprocess.Popen[bytes]
    out_file: Path
    err_file: Path

    @property
    def out(self) -> str:
        return self.out_file.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self.err_file.read_text(encoding="utf-8")

    def says(self, words: str, within: float = 30.0, *, times: int = 1) -> str:
        """Wait until its log holds these words."""
        return wait_until(lambda: self._alive() and self.err.count(words) >= times and self.err, within, what=words)

    def stop(self, number: signal.Signals = signal.SIGINT, within: float = 30.0) -> Result:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return Result(self.process.wait(within), self.out, self.err)

    def wait(self, within: float = 60.0) -> Result:
        return Result(self.process.wait(within), self.out, self.err)

    def _alive(self) -> bool:
        assert self.process.poll() is None, self.err
        return True


@dataclass(frozen=True)
class Crm:
    """A simulator in a process of its own."""

    url: str
    environment: Mapping[str, str]

    def records(self, module: str) -> list[dict[str, Any]]:
        return self._ask("GET", f"records/{module}")

    def calls(self, **query: str) -> list[dict[str, Any]]:
        return self._ask("GET", "calls", params=query)

    def writes(self) -> list[dict[str, Any]]:
        """The calls that would change something."""
        return [call for call in self.calls() if call["kind"] in {"insert", "update", "upsert", "delete"}]

    def credits(self) -> dict[str, Any]:
        return self._ask("GET", "credits")

    def fault(self, **rule: Any) -> None:
        self._ask("POST", "faults", json=[rule])

    def reset(self) -> None:
        """Forget everything, faults and revocations too."""
        self._ask("POST", "reset", json={"fields": True, "tokens": True})

    def heal(self) -> None:
        self._ask("DELETE", "faults")

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        answer = httpx.request(method, f"{self.url}/_sim/{path}", timeout=10, **more)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def simulator(cdc: Cdc, *options: str) -> Iterator[Crm]:
    """Run `cdc simulator` and read how to reach it from its first line."""
    with cdc.running("simulator", "--json", *options) as process:
        wait_until(lambda: process.out.endswith("\n"), what="the simulator's first line")
        said = json.loads(process.out.splitlines()[0])
        url = said["url"]
        yield Crm(
            url,
            {
                "ZOHO_CLIENT_ID": said["client_id"],
                "ZOHO_CLIENT_SECRET": said["client_secret"],
                "ZOHO_REFRESH_TOKEN": said["refresh_token"],
                "ZOHO_ACCOUNTS_URL": url,
                "ZOHO_API_DOMAIN": url,
                "ZOHO_UPLOAD_URL": url,
            },
        )


def approve_rewrites(cdc: Cdc) -> None:
    """Tell the breaker that the rewrites of contacts that it holds are meant."""
    [group] = cdc("held", "list", "--json").json
    assert cdc("held", "approve", "contacts", "--kind", "rewrite", "--as-of", str(group["as_of"])).code == 0


def url_of(dsn: str) -> str:
    """Write a connection string as the URL that people have."""
    parts = conninfo_to_dict(dsn)
    password = f":{parts['password']}" if parts.get("password") else ""
    query = urlencode({"host": parts["host"], "port": parts.get("port", 5432)})
    return f"postgresql://{parts['user']}{password}@/{parts['dbname']}?{query}"


def wait_until(predicate: Callable[[], Any], within: float = 30.0, *, what: str = "") -> Any:
    """Poll until the predicate gives something true, and return that."""
    deadline = time.monotonic() + within
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"after {within:g} s still not so: {what}"
        time.sleep(0.05)
    return value
