"""A password is changed, a role loses its right: the log says what helps, and capture goes on once it is mended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from psycopg.conninfo import make_conninfo

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.source.preflight import TransportName
from tests.support.capture import TRANSPORTS, Source
from tests.support.postgres import fresh_database
from tests.support.waiting import until

pytestmark = pytest.mark.chaos


@dataclass(frozen=True)
class Guarded:
    """A server that asks for passwords, and a role that reads the slot.

    Attributes:
        dsn: of that role; its password is in `passfile`, which libpq reads anew for each connection.
    """

    source: Source
    dsn: str
    passfile: Path

    def write_password(self, password: str) -> None:
        self.passfile.write_text(f"*:*:*:reader:{password}\n")
        self.passfile.chmod(0o600)

    def execute(self, statement: str) -> None:
        self.source.database.execute(statement)


@asynccontextmanager
async def guarded(folder: Path) -> AsyncIterator[Guarded]:
    with EmbeddedPostgres.start(listen_tcp=True) as server, fresh_database(server.dsn) as database:
        rules = ("local all all trust", "host all reader 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 trust")
        (server.folder / "data" / "pg_hba.conf").write_text("\n".join(rules) + "\n")
        server.halt()
        server.resume()
        source = await Source.make(database, folder)
        database.execute("create role reader login replication bypassrls password 'the first'")
        passfile = folder / "passwords"
        dsn = make_conninfo(database.dsn, user="reader", passfile=str(passfile))
        made = Guarded(source, dsn, passfile)
        made.write_password("the first")
        yield made


def told(logs: list[dict[str, object]], *words: str) -> bool:
    said = [str(entry["error"]) for entry in logs if entry["event"] == "capture_interrupted"]
    return any(all(word in line for word in words) for line in said)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_changed_password_is_waited_for(tmp_path: Path, transport: TransportName) -> None:
    async with guarded(tmp_path) as there:
        source = there.source
        with structlog.testing.capture_logs() as logs:
            async with source.capturing(transport, source_dsn=there.dsn) as capture:
                await source.drained("marker 1")
                there.execute("alter role reader password 'the second'")
                source.end_backends("stream", "poll", "capture")
                source.database.execute("insert into people values ('ada')")
                await until(lambda: capture.stats.state == "reconnecting", 20, what="capture to be refused")
                await until(lambda: told(logs, "the password for reader", "fix:"), 20, what="it to say why")
                there.write_password("the second")
                await source.drained("marker 2", within=60)
        assert source.entries() == [("I", "people", ("ada",))]
        assert source.gaps() == []
        assert "the second" not in str(logs)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_right_that_is_taken_away_is_waited_for(tmp_path: Path, transport: TransportName) -> None:
    async with guarded(tmp_path) as there:
        source = there.source
        with structlog.testing.capture_logs() as logs:
            async with source.capturing(transport, source_dsn=there.dsn):
                await source.drained("marker 1")
                there.execute("alter role reader noreplication")
                source.end_backends("stream", "poll")
                source.database.execute("insert into people values ('ada')")
                await until(lambda: told(logs, "fix: ALTER ROLE", "REPLICATION"), 20, what="it to say what helps")
                there.execute("alter role reader replication")
                await source.drained("marker 2", within=60)
        assert source.entries() == [("I", "people", ("ada",))]
        assert source.gaps() == []


async def test_a_wrong_password_at_the_start_ends_it_at_once(tmp_path: Path) -> None:
    async with guarded(tmp_path) as there:
        there.write_password("another")
        with pytest.RaisesGroup(pytest.RaisesExc(Exception, match="the password for reader .* is wrong")):
            async with there.source.capturing("stream", source_dsn=there.dsn):
                pass
