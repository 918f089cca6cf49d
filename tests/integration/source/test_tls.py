"""TLS with a certificate of our own: libpq as the client, verified, for every kind of connection that we make."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from cdc.connection import KEEPALIVES, connect, unverified
from cdc.embedded.binaries import server_account, system_binaries
from cdc.embedded.postgres import EmbeddedPostgres
from cdc.errors import PreflightError
from cdc.source.preflight import TransportName, check_source
from cdc.state.database import open_pool
from tests.support.capture import TRANSPORTS, Source
from tests.support.debian import require
from tests.support.postgres import Database, fresh_database
from tests.support.proxy import proxy
from tests.support.tls import HOST, Authority

PASSWORD = "s3cr3t"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path)


async def is_encrypted(dsn: str) -> bool:
    conn = await connect(dsn, purpose="test")
    try:
        return bool(conn.pgconn.ssl_in_use)
    finally:
        await conn.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_capture_over_a_verified_connection(
    source: Source, authority: Authority, transport: TransportName
) -> None:
    """Rows larger than a TLS record, many small ones, and single ones with pauses: none may wait inside the library."""
    async with proxy(source.database.dsn, tls=authority.server()) as line:
        dsn = authority.verified(line.dsn)
        assert await is_encrypted(dsn)
        ready = await check_source(dsn, source.profile, slot=source.name, wanted="auto")
        assert ready.transport == "stream", ready.why
        async with source.capturing(transport, source_dsn=dsn, state_dsn=dsn):
            source.database.execute("insert into items select n, 'ada', 'x' from generate_series(1, 5000) n")
            for number, size in enumerate((1, 16_384, 16_385, 300_000, 2_000_000)):
                source.database.execute("insert into items values (%s, 'ada', repeat('x', %s))", [9000 + number, size])
                await source.drained(f"marker {number}")
    assert len(source.entries()) == 5005
    assert source.gaps() == []


async def test_the_pools_verify_as_well_and_notice_a_dead_line(database: Database, authority: Authority) -> None:
    async with proxy(database.dsn, tls=authority.server()) as line:
        async with open_pool(authority.verified(line.dsn), purpose="state") as pool, pool.connection() as conn:
            assert conn.pgconn.ssl_in_use
            with socket.socket(fileno=os.dup(conn.pgconn.socket)) as raw:
                assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                if hasattr(socket, "TCP_USER_TIMEOUT"):
                    timeout = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                    assert timeout == KEEPALIVES["tcp_user_timeout"]
        other = Authority.make(authority.file.parent, "other")
        with pytest.raises(PreflightError, match="can't be verified"):
            async with open_pool(other.verified(line.dsn), purpose="state"):
                pass


@contextmanager
def refused(*words: str) -> Iterator[None]:
    with pytest.raises(PreflightError) as caught:
        yield
    for word in words:
        assert word in str(caught.value)
    assert caught.value.fix
    assert caught.value.exit_code == 2
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("replication", [False, True], ids=["sql", "stream"])
async def test_what_is_wrong_with_a_certificate_is_named_with_its_fix(
    database: Database, authority: Authority, tmp_path: Path, replication: bool
) -> None:
    async def attempt(dsn: str) -> None:
        await connect(make_conninfo(dsn, password=PASSWORD), purpose="test", replication=replication)

    other = Authority.make(tmp_path, "other")
    nothing = tmp_path / "nothing.crt"
    nothing.write_text("not a certificate")
    async with proxy(database.dsn, tls=authority.server()) as line:
        with refused(HOST, "another CA", "sslrootcert"):
            await attempt(other.verified(line.dsn))
        with refused("other.example.test", "for another name"):
            await attempt(authority.verified(line.dsn, host="other.example.test"))
        for file in (tmp_path / "missing.crt", nothing):
            with refused(HOST, "missing, or no certificate", "sslmode=verify-full&sslrootcert="):
                await attempt(authority.verified(line.dsn, sslrootcert=str(file)))
    async with proxy(database.dsn, tls=authority.server(expired=True)) as line:
        with refused(HOST, "expired"):
            await attempt(authority.verified(line.dsn))
    async with proxy(database.dsn) as line:
        for mode in ("require", "verify-full"):
            with refused(HOST, "offers no TLS", "sslmode"):
                await attempt(authority.verified(line.dsn, sslmode=mode))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": "db.example.org"}, "sslmode=prefer doesn't check who answers"),
        ({"host": "db.example.org", "sslmode": "require"}, "sslmode=require doesn't check who answers"),
        ({"host": "127.0.0.1,db.example.org", "sslmode": "verify-ca"}, "sslmode=verify-ca"),
        ({"host": "db.example.org", "sslmode": "verify-full"}, None),
        ({"host": "127.0.0.1"}, None),
        ({"host": "/run/postgresql"}, None),
        ({}, None),
    ],
)
def test_a_connection_over_a_network_that_is_not_verified_is_pointed_out(
    options: dict[str, Any], words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    advice = unverified(make_conninfo(**options))
    assert (words is None and advice is None) or (words and advice and words in advice)


async def test_the_environments_sslmode_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert unverified("host=db.example.org") is None


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_of_its_own_tls_that_takes_nothing_else(
    authority: Authority, transport: TransportName, tmp_path: Path
) -> None:
    """Debian's server can do TLS itself; that of the wheel can't."""
    binaries = system_binaries()
    require(binaries, "a Postgres server with TLS (Debian: postgresql)")
    with EmbeddedPostgres.start(bin_dir=binaries, listen_tcp=True) as server, fresh_database(server.dsn) as database:
        source = await Source.make(database, tmp_path)
        account = server_account()
        for file in authority.write_server(server.folder):
            if account is not None:
                os.chown(file, account.uid, account.gid)
        (server.folder / "data" / "pg_hba.conf").write_text(
            "local all all trust\nhostssl all all 127.0.0.1/32 trust\nhostssl replication all 127.0.0.1/32 trust\n"
        )
        files = {"ssl_cert_file": "server.crt", "ssl_key_file": "server.key"}
        server._options = {**server._options, "ssl": "on", **{k: str(server.folder / v) for k, v in files.items()}}
        server.halt()
        server.resume()
        with refused("only with TLS", "sslmode=verify-full"):
            await connect(make_conninfo(database.dsn, sslmode="disable"), purpose="test")
        with refused("for another name"):
            await connect(authority.verified(database.dsn, host="other.example.test"), purpose="test")
        dsn = authority.verified(database.dsn)
        local = Source(
            Database(database.name, make_conninfo(database.dsn, host=str(server.folder))), source.profile, source.name
        )
        async with local.capturing(transport, source_dsn=dsn, state_dsn=dsn):
            local.database.execute("insert into items values (1, 'ada', repeat('x', 500000))")
            await local.drained("marker")
        assert local.entries() == [("I", "items", ("ada", "1"))]
