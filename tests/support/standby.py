"""A second server made from a running one: a standby to promote, or a backup to restore.

All are copies by pg_basebackup, so they share the first one's system identifier. None brings its replication slots
along, but a standby that synchronises them (Postgres 17).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cdc.embedded.postgres import EmbeddedPostgres
from tests.support.postgres import Database
from tests.support.waiting import until

_SETTINGS = MappingProxyType({"autovacuum": "off", "wal_keep_size": "1GB"})
_STANDBY_SLOT = "standby"


@contextlib.contextmanager
def primary(
    settings: Mapping[str, str] = MappingProxyType({}), bin_dir: Path | None = None
) -> Iterator[EmbeddedPostgres]:
    """A server that can be copied and followed."""
    with EmbeddedPostgres.start(bin_dir=bin_dir, settings={**_SETTINGS, **settings}) as server:
        yield server


@dataclass(frozen=True)
class Copy:
    """A running copy of a server.

    Attributes:
        server: in a folder of its own.
    """

    server: EmbeddedPostgres

    @classmethod
    @contextlib.contextmanager
    def backup(cls, original: EmbeddedPostgres) -> Iterator[Self]:
        """The data as they are now, started as a server of their own on the same timeline: a restored base backup."""
        with _copied(original, {}, is_standby=False) as server:
            yield cls(server)

    @classmethod
    @contextlib.contextmanager
    def standby(cls, original: EmbeddedPostgres, *, syncs_slots: bool = False) -> Iterator[Self]:
        """A standby that streams from the original until it is promoted.

        Args:
            original: made by `primary`.
            syncs_slots: it keeps copies of the failover slots; Postgres 17 or newer.
        """
        parts = conninfo_to_dict(original.dsn)
        settings = {"primary_conninfo": make_conninfo(**{**parts, "dbname": "postgres"})}
        if syncs_slots:
            settings |= {"sync_replication_slots": "on", "hot_standby_feedback": "on"}
            settings["primary_slot_name"] = _STANDBY_SLOT
            with psycopg.connect(original.dsn, autocommit=True) as conn:
                conn.execute("select pg_create_physical_replication_slot(%s)", [_STANDBY_SLOT])
        with _copied(original, settings, is_standby=True) as server:
            yield cls(server)

    @classmethod
    @contextlib.contextmanager
    def stopped_in_time(cls, original: EmbeddedPostgres) -> Iterator[Self]:
        """A standby that follows nobody: promoted, it is what a point-in-time recovery to this moment gives."""
        with _copied(original, {"primary_conninfo": ""}, is_standby=True) as server:
            yield cls(server)

    def database(self, original: Database) -> Database:
        """The copy of one of the original's databases."""
        return Database(original.name, make_conninfo(self.server.dsn, dbname=original.name))

    def promote(self) -> None:
        """Make it a server of its own, on a timeline of its own; returns when it takes writes."""
        with psycopg.connect(self.server.dsn, autocommit=True) as conn:
            conn.execute("select pg_promote()")

    async def caught_up(self, original: EmbeddedPostgres) -> None:
        """Wait until it has replayed all that the original has flushed now."""
        with psycopg.connect(original.dsn, autocommit=True) as conn:
            end = conn.execute("select pg_current_wal_flush_lsn()::text").fetchone()
        with psycopg.connect(self.server.dsn, autocommit=True) as conn:

            def has_replayed() -> bool:
                row = conn.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", end).fetchone()
                return row is not None and bool(row[0])

            await until(has_replayed, 30, what="the standby to catch up")

    async def has_slot(self, name: str) -> None:
        """Wait until it has a copy of a slot that would outlive a promotion."""
        query = "select 1 from pg_replication_slots where slot_name = %s and not temporary and synced"
        with psycopg.connect(self.server.dsn, autocommit=True) as conn:
            await until(lambda: conn.execute(query, [name]).fetchone(), 60, what=f"slot {name} on the standby")


@contextlib.contextmanager
def _copied(original: EmbeddedPostgres, settings: Mapping[str, str], *, is_standby: bool) -> Iterator[EmbeddedPostgres]:
    def fill(copy: EmbeddedPostgres) -> None:
        options = ["-X", "stream", "-c", "fast", "--no-sync", *(["-R"] if is_standby else [])]
        copy.run("pg_basebackup", "-D", str(copy.data), "-d", original.dsn, *options)

    with EmbeddedPostgres.start(bin_dir=original.bin_dir, settings={**_SETTINGS, **settings}, fill=fill) as server:
        yield server
