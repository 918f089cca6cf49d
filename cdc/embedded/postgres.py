"""A throw-away Postgres server of our own, for `cdc run` without a database and for the tests.

The server is a plain child process in a session of its own, so that Ctrl-C in the terminal reaches us and not it, and
we decide when it stops. A child `sh` holds the reading end of a pipe: when we die in any way, SIGKILL included, the
kernel closes our end, and the shell stops the server and removes its folder. That was preferred to
`prctl(PR_SET_PDEATHSIG)`, which is Linux only, needs code between fork and exec, and fires when the *thread* that
started the server ends.

As root the server runs as `nobody`, because Postgres refuses root. Only folders that we made ourselves are given away.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from psycopg.conninfo import make_conninfo

from cdc.embedded.binaries import Account, as_account, find_binaries, server_account, within_reach
from cdc.errors import ConfigError, SourceUnavailable

_LOGICAL = MappingProxyType({"wal_level": "logical", "max_replication_slots": "20", "max_wal_senders": "20"})
_UNSAFE_AND_QUICK = MappingProxyType({"fsync": "off", "full_page_writes": "off"})
_LOCALE = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
_LONGEST_FOLDER = 60  # bytes; a socket's path has about 104 on macOS and 107 on Linux
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_READY_LINE = 8  # of postmaster.pid

# A line on standard input means that we stopped the server ourselves; end of file means that we are dead.
_WATCHDOG = """
read -r _ && exit 0
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
    kill -QUIT "$pid" 2>/dev/null
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
fi
rm -rf -- "$1"
"""


@dataclass
class EmbeddedPostgres:
    """A running server whose data goes when it stops.

    Anybody who can reach its socket is superuser. The socket's folder is open to our account only; with `listen_tcp`
    every account of this machine can connect, so keep that to made-up data.

    Attributes:
        folder: holds data, socket and log; removed by `stop`.
        bin_dir: where `postgres`, `initdb` and the client programs are, readable by the server's account.
        port: of the TCP listener if there is one; otherwise only part of the socket's name.
        host: `127.0.0.1`, or the socket's folder.
    """

    folder: Path
    bin_dir: Path
    port: int
    host: str
    _options: Mapping[str, str] = field(repr=False)
    _account: Account | None = field(repr=False)
    _watchdog: subprocess.Popen[bytes] = field(repr=False)
    _server: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    def start(
        cls,
        *,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
        listen_tcp: bool = False,
        fsync: bool = False,
        fill: Callable[[EmbeddedPostgres], None] | None = None,
    ) -> EmbeddedPostgres:
        """Make a cluster in a temporary folder and start a server on it; takes about half a second.

        Args:
            bin_dir: folder of `postgres` and `initdb`; looked for if not given (`cdc.embedded.binaries`).
            settings: server settings, on top of ours; `wal_level` stays `logical`.
            listen_tcp: listen on 127.0.0.1 on a free port as well as on a unix socket.
            fsync: write as durably as a real server. Only measurements need it, the data is thrown away.
            fill: puts a cluster into `data`, such as a copy of another server's; a fresh one is made if not given.

        Raises:
            ConfigError: if there are no binaries, or none that the server's account may run.
            SourceUnavailable: if the server doesn't come up; the message ends with its log.
        """
        account = server_account()
        found = find_binaries(bin_dir)
        folder = _make_folder(account)
        watchdog = subprocess.Popen(  # noqa: S603 - a constant script
            ["/bin/sh", "-c", _WATCHDOG, "sh", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        port = _free_port() if listen_tcp else 5432
        options = {
            **({} if fsync else _UNSAFE_AND_QUICK),
            **settings,
            **_LOGICAL,
            **{name: settings[name] for name in ("max_replication_slots", "max_wal_senders") if name in settings},
            "listen_addresses": "127.0.0.1" if listen_tcp else "",
            "port": str(port),
            "unix_socket_directories": str(folder),
        }
        host = "127.0.0.1" if listen_tcp else str(folder)
        server = cls(folder, found, port, host, options, account, watchdog)
        try:
            server.bin_dir = within_reach(found, folder, account)
            (fill or EmbeddedPostgres._init_cluster)(server)
            server.resume()
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def dsn(self) -> str:
        """Connection string of the superuser and the database `postgres`."""
        return make_conninfo(host=self.host, port=self.port, user="postgres", dbname="postgres")

    @property
    def pid(self) -> int:
        """Process id of the postmaster.

        Raises:
            SourceUnavailable: if the server isn't running.
        """
        if self._server is None:
            raise SourceUnavailable("the embedded Postgres is not running", fix="call resume()")
        return self._server.pid

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the server's log."""
        try:
            text = (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def resume(self) -> None:
        """Start the server on its existing data; does nothing if it runs.

        Raises:
            SourceUnavailable: if it isn't ready within a minute; the message ends with its log.
        """
        if self._server is not None and self._server.poll() is None:
            return
        command = [str(self.bin_dir / "postgres"), "-D", str(self.data)]
        for name, value in self._options.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(  # noqa: S603 - our own binary and options
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                start_new_session=True,
                **as_account(self._account),
            )
        self._wait_until_ready()

    def halt(self, *, immediate: bool = False) -> None:
        """Stop the server and keep its data, for `resume`.

        Args:
            immediate: as if the machine had crashed (SIGQUIT); otherwise a fast shutdown (SIGINT) first. A replication
                client that answers keepalives wrongly can hold up a fast shutdown for ever, so after ten seconds it
                becomes an immediate one.
        """
        server, self._server = self._server, None
        if server is None:
            return
        for sign in (signal.SIGQUIT, signal.SIGKILL) if immediate else (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if server.poll() is not None:
                return
            server.send_signal(sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(_STOP_SECONDS)

    def stop(self) -> None:
        """Stop the server and remove everything. May be called twice."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._watchdog.stdin is not None and not self._watchdog.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._watchdog.communicate(b"stopped\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def data(self) -> Path:
        """The cluster's folder. It belongs to the server's account."""
        return self.folder / "data"

    def _init_cluster(self) -> None:
        options = ["-U", "postgres", "--auth=trust", "-E", "UTF8", f"--locale={_LOCALE}", "--no-sync"]
        self.run("initdb", "-D", str(self.data), *options)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs as the server's account.

        Raises:
            SourceUnavailable: if it fails; with its words.
        """
        done = subprocess.run(  # noqa: S603 - our own binary and options
            [str(self.bin_dir / program), *arguments],
            capture_output=True,
            text=True,
            cwd="/",
            env=_environment(),
            check=False,
            **as_account(self._account),
        )
        if done.returncode:
            raise SourceUnavailable(f"{program} failed: {done.stderr.strip()}")

    def _wait_until_ready(self) -> None:
        assert self._server is not None  # noqa: S101 - called right after it was started
        deadline = time.monotonic() + _START_SECONDS
        pid_file = self.data / "postmaster.pid"
        while time.monotonic() < deadline:
            if self._server.poll() is not None:
                raise SourceUnavailable(f"the embedded Postgres ended while starting:\n{self.log_tail()}")
            if _says_ready(pid_file, self._server.pid):
                return
            time.sleep(0.01)
        raise SourceUnavailable(f"the embedded Postgres is not ready after {_START_SECONDS:g} s:\n{self.log_tail()}")


def _says_ready(pid_file: Path, pid: int) -> bool:
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= _READY_LINE and lines[0] == str(pid) and lines[_READY_LINE - 1].strip() == "ready"


def _make_folder(account: Account | None) -> Path:
    """Make a folder with a short path that the server's account can get to, and give it to that account."""
    for base in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - mkdtemp makes it safe
        open_to_all = all(step.stat().st_mode & stat.S_IXOTH for step in (base, *base.parents))
        if len(os.fsencode(base)) <= _LONGEST_FOLDER - len("/cdc-pg-xxxxxxxx") and (open_to_all or account is None):
            break
    else:
        raise ConfigError("no temporary folder is short and open enough for Postgres", fix="set TMPDIR to /tmp")
    folder = Path(tempfile.mkdtemp(prefix="cdc-pg-", dir=base))
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _environment() -> dict[str, str]:
    """Our environment without anything that steers Postgres."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": _LOCALE, "TZ": "UTC"}
