"""Where the tests get their Postgres from, and a database for each of them.

CDC_TEST_POSTGRES forces a provider: `dsn` (needs CDC_TEST_DSN), `docker`, `embedded` or `system`. Without it the first
that is at hand is taken, in that order. The header of the test run says which.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from cdc.embedded.binaries import system_binaries, wheel_binaries
from cdc.embedded.postgres import EmbeddedPostgres
from cdc.errors import ConfigError
from cdc.resources import sql_dir

DOCKER_IMAGE = "postgres:17-alpine"
_CONTAINER_COMMAND = "postgres -c wal_level=logical -c max_replication_slots=50 -c max_wal_senders=50 -c fsync=off"
_SETTINGS = {"max_replication_slots": "50", "max_wal_senders": "50", "shared_buffers": "32MB"}


class Provider(StrEnum):
    """Who runs the server."""

    DSN = "dsn"
    DOCKER = "docker"
    EMBEDDED = "embedded"
    SYSTEM = "system"


def choose_provider() -> Provider:
    """Return the forced provider, or the first that is at hand.

    Raises:
        ConfigError: if there is none. Tests that need a database then fail; none is skipped.
    """
    forced = os.environ.get("CDC_TEST_POSTGRES")
    if forced:
        return Provider(forced)
    if os.environ.get("CDC_TEST_DSN"):
        return Provider.DSN
    if _docker_answers():
        return Provider.DOCKER
    if wheel_binaries() is not None:
        return Provider.EMBEDDED
    if system_binaries() is not None:
        return Provider.SYSTEM
    raise ConfigError("no Postgres for the tests", fix="run `make install`, start Docker, or set CDC_TEST_DSN")


@contextlib.contextmanager
def serve(provider: Provider) -> Iterator[str]:
    """Run a server for the time of the block; gives the superuser's connection string."""
    match provider:
        case Provider.DSN:
            yield os.environ["CDC_TEST_DSN"]
        case Provider.DOCKER:
            # Heavy, and only this branch needs it.
            from testcontainers.community.postgres import PostgresContainer

            container = PostgresContainer(DOCKER_IMAGE, driver=None).with_command(_CONTAINER_COMMAND)
            with container:
                yield container.get_connection_url()
        case Provider.EMBEDDED | Provider.SYSTEM:
            binaries = wheel_binaries() if provider is Provider.EMBEDDED else system_binaries()
            if binaries is None:
                raise ConfigError(f"CDC_TEST_POSTGRES={provider} and there are no such binaries")
            with EmbeddedPostgres.start(bin_dir=binaries, settings=_SETTINGS) as server:
                yield server.dsn


def _docker_answers() -> bool:
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return False
    # Heavy, and only machines with an engine need it.
    import docker

    try:
        client = docker.from_env(timeout=3)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except (docker.errors.DockerException, OSError):
        return False


@dataclass(frozen=True, slots=True)
class Database:
    """A fresh, empty database for one test.

    Attributes:
        name: unique on the server.
        dsn: connection string of its owner, who is superuser.
    """

    name: str
    dsn: str

    def connect(self, **kwargs: Any) -> psycopg.Connection[Any]:
        """Open an ordinary connection; autocommit, as the app's own writes are."""
        return psycopg.connect(self.dsn, autocommit=True, **kwargs)

    def execute(self, statement: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement, or a script without parameters, and return the rows of the last."""
        with self.connect() as connection:
            cursor = connection.execute(cast("LiteralString", statement), params)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def apply_profile(self, profile: str, *, sample: bool = False) -> None:
        """Make a shipped profile's tables and views, and its sample people if asked."""
        folder = sql_dir() / "profiles" / profile
        for file in ("schema.sql", "views.sql", *(("sample.sql",) if sample else ())):
            self.execute((folder / file).read_text(encoding="utf-8"))

    def apply_state(self) -> None:
        """Make the state schema from the numbered files, without the program's own migration code."""
        files = sorted((sql_dir() / "state").glob("*.sql"))
        self.execute("\n".join(["create schema if not exists cdc;", *(f.read_text(encoding="utf-8") for f in files)]))


@contextlib.contextmanager
def fresh_database(server_dsn: str, template: str = "template0") -> Iterator[Database]:
    """Create a database, and drop it at the end with everybody who is still connected to it."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template {}").format(*map(sql.Identifier, (name, template))))
    try:
        yield Database(name, make_conninfo(server_dsn, dbname=name))
    finally:
        with psycopg.connect(server_dsn, autocommit=True) as connection:
            _drop(connection, name)


@retry(
    retry=retry_if_exception_type((psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject)),
    stop=stop_after_delay(15),
    wait=wait_fixed(0.05),
    reraise=True,
)
def _drop(connection: psycopg.Connection[Any], name: str) -> None:
    """End the database's walsenders, drop its slots, drop it. Tried again while a walsender is still ending."""
    connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
    connection.execute(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = %s and not active",
        [name],
    )
    connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
