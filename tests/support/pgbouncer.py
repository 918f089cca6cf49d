"""A real PgBouncer in front of a test's server."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from cdc.embedded.binaries import Account, as_account, server_account
from tests.support.debian import program, require

_CONFIG = """
[databases]
* = {target}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
admin_users = postgres
logfile = {folder}/log
pidfile = {folder}/pid
{settings}
"""


@dataclass
class PgBouncer:
    """A pooler that may be stopped and started again on the same port.

    Attributes:
        dsn: through it, to the same database as the one it was made for.
        version: of the program, as (major, minor).
    """

    command: list[str]
    environment: dict[str, str]
    account: Account | None
    dsn: str
    version: tuple[int, int]
    folder: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            env={"PATH": os.environ["PATH"], **self.environment}, **as_account(self.account),
        )  # fmt: skip
        self.admin("show version")

    def stop(self) -> None:
        """Stop it; whoever is connected loses the connection."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    @retry(
        retry=retry_if_exception_type(psycopg.OperationalError),
        stop=stop_after_delay(15),
        wait=wait_fixed(0.02),
        reraise=True,
    )
    def admin(self, command: str) -> list[tuple[Any, ...]]:
        """Ask its console."""
        dsn = make_conninfo(self.dsn, dbname="pgbouncer", user="postgres")
        with psycopg.connect(dsn, autocommit=True, client_encoding="utf8") as console:
            cursor = psycopg.ClientCursor(console)
            cursor.execute(command.encode())
            return cursor.fetchall() if cursor.description else []


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def pgbouncer(dsn: str, **settings: str | int) -> Iterator[PgBouncer]:
    """Run a pooler in front of a server.

    Args:
        dsn: of the server; the pooler logs in there as the client says it is.
        **settings: of its `[pgbouncer]` section, such as `pool_mode="transaction"`.
    """
    found = program("pgbouncer", "pgbouncer", ("libevent-2.1-7", "libc-ares2"))
    require(found, "PgBouncer")
    assert found is not None
    path, environment = found
    account = server_account()  # it refuses root, as Postgres does
    folder = Path(tempfile.mkdtemp(prefix="cdc-pgb-", dir="/tmp"))
    if environment:  # unpacked below a home that its account may not enter
        path = Path(shutil.copy(path, folder))
        for place in environment["LD_LIBRARY_PATH"].split(os.pathsep):
            for library in Path(place).glob("*.so.*"):
                shutil.copy(library, folder)
        environment = {"LD_LIBRARY_PATH": str(folder)}
    target = {k: v for k, v in conninfo_to_dict(dsn).items() if k in ("host", "port", "password") and v}
    port = _port()
    lines = "\n".join(f"{name} = {value}" for name, value in settings.items())
    text = _CONFIG.format(
        target=" ".join(f"{k}={v}" for k, v in target.items()), port=port, folder=folder, settings=lines
    )
    (folder / "pgbouncer.ini").write_text(text)
    users = {str(conninfo_to_dict(dsn).get("user") or "postgres"), "postgres"}
    (folder / "users").write_text("".join(f'"{user}" ""\n' for user in sorted(users)))
    if account is not None:
        for place in (folder, *folder.iterdir()):
            os.chown(place, account.uid, account.gid)
    said = subprocess.run([path, "--version"], capture_output=True, text=True, env=environment or None, check=True)
    major, minor = re.findall(r"\d+", said.stdout)[:2]
    made = PgBouncer(
        [str(path), str(folder / "pgbouncer.ini")],
        environment,
        account,
        make_conninfo(dsn, host="127.0.0.1", port=port),
        (int(major), int(minor)),
        folder,
    )
    try:
        made.start()
        yield made
    finally:
        with suppress(ProcessLookupError):
            made.stop()
        shutil.rmtree(folder, ignore_errors=True)
