"""A real slot's room, and what holds it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc.connection import connect
from cdc.embedded.postgres import EmbeddedPostgres
from cdc.watch.slot import SlotHealth, read_slot_health, take_sample
from tests.support.capture import Source
from tests.support.postgres import Database, fresh_database
from tests.support.waiting import until

LIMIT = 256 * 1024 * 1024


async def health(source: Source, *, samples: int = 0, megabytes: int = 0) -> SlotHealth:
    """Look at the slot; before that take samples, and let other tables write between them."""
    conn = await connect(source.database.dsn, purpose="test")
    try:
        for _ in range(samples):
            for _ in range(megabytes):
                await conn.execute("insert into noise (body) select repeat('x', 1000) from generate_series(1, 1000)")
            await take_sample(conn, conn, source.name)
        return await read_slot_health(conn, conn, source.name)
    finally:
        await conn.close()


async def test_a_slot_that_nobody_reads_comes_nearer_to_its_end(tmp_path: Path) -> None:
    settings = {"max_slot_wal_keep_size": "256MB", "autovacuum": "off", "max_prepared_transactions": "2"}
    with EmbeddedPostgres.start(settings=settings) as server, fresh_database(server.dsn) as database:
        source = await Source.make(database, tmp_path)
        await health(source, samples=1)  # the age of what lies behind a position reaches back to the first sample
        async with source.capturing("stream"):
            await source.drained("marker 1")

            async def is_read() -> bool:
                reading = await health(source)
                return reading.active_pid is not None and reading.received.lsn is not None

            await until(is_read, 20, what="the reader's first word to the server")
        idle = await health(source, samples=2)
        assert (idle.runway_seconds, idle.limit_bytes, idle.active_pid) == (None, LIMIT, None)

        filling = await health(source, samples=6, megabytes=5)

        assert filling.safe_wal_bytes is not None
        assert idle.safe_wal_bytes is not None
        assert filling.safe_wal_bytes < idle.safe_wal_bytes - 20_000_000
        assert filling.runway_seconds is not None
        assert 0 < filling.runway_seconds < 3_600
        assert filling.retained_wal_bytes is not None
        assert filling.retained_wal_bytes > 20_000_000
        assert filling.acknowledged.bytes_behind is not None
        assert filling.acknowledged.bytes_behind > 20_000_000
        assert filling.acknowledged.seconds_behind is not None
        assert filling.wal_status in {"reserved", "extended"}, "no early warning"


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


async def test_what_holds_wal_back_is_named_without_its_words(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc.watch.holders._WORTH_NAMING_SECONDS", 0)
    other = f"{source.name}_other"
    source.database.execute("select pg_create_physical_replication_slot(%s, true)", [other])
    with source.database.connect(application_name="the app") as session:
        session.execute("begin")
        session.execute("insert into people values ('a secret', 'Ada')")
        pid = session.info.backend_pid

        found = await health(source)

        [named] = [each for each in found.holders.transactions if each.pid == pid]
        assert (named.state, named.application, named.writes) == ("idle in transaction", "the app", True)
        assert other in [each.name for each in found.holders.slots]
        assert "secret" not in repr(found)
    source.database.execute("select pg_drop_replication_slot(%s)", [other])


async def test_a_slot_that_is_not_there_is_said_to_be(source: Source) -> None:
    source.database.execute("select pg_drop_replication_slot(%s)", [source.name])
    found = await health(source, samples=1)
    assert not found.exists
    assert found.acknowledged.lsn is None
