"""Making a slot waits for open transactions: it says for which, can be cancelled, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cdc.connection import connect
from cdc.source.capture import Capture
from cdc.source.slots import create_slot
from tests.support.capture import Source
from tests.support.postgres import Database
from tests.support.waiting import until


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


async def test_it_names_what_it_waits_for_and_a_cancel_leaves_no_slot(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc.source.slots._WORTH_A_WORD_SECONDS", 0.2)
    monkeypatch.setattr("cdc.source.slots._AGAIN_SECONDS", 0.2)
    name = f"{source.name}_new"
    conn = await connect(source.database.dsn, purpose="test")
    with source.database.connect() as writer, capture_logs() as logs:
        writer.execute("begin; insert into people values ('open')")
        making = asyncio.create_task(create_slot(conn, name, failover=False))
        await until(lambda: logs, 30, what="a word about the transaction")
        assert logs[0]["event"] == "waiting_for_a_transaction"
        assert logs[0]["pid"] == writer.info.backend_pid
        assert logs[0]["open_seconds"] >= 2
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        there = "select 1 from pg_replication_slots where slot_name = %s"
        await until(lambda: not source.database.execute(there, [name]), 10, what="no slot to be left")
    await conn.close()


async def test_a_stop_ends_the_wait_of_a_capture_that_makes_a_new_slot(source: Source) -> None:
    async with source.capturing("stream"):
        await source.drained("marker 1")
    source.database.execute("select pg_drop_replication_slot(%s)", [source.name])
    with source.database.connect() as writer:
        writer.execute("begin; insert into people values ('open')")
        waiting = "select 1 from pg_stat_activity where application_name = %s and wait_event_type = 'Lock'"
        stop = asyncio.Event()
        from_here = asyncio.create_task(_capture(source, stop))
        await until(
            lambda: source.database.execute(waiting, [f"cdc capture {source.name} source"]), 20, what="it to wait"
        )
        stop.set()
        async with asyncio.timeout(10):
            await from_here
    there = "select 1 from pg_replication_slots where slot_name = %s"
    assert source.database.execute(there, [source.name]) == []
    assert source.gaps() == [], "nothing is on record before the slot is there"
    async with source.capturing("stream") as capture:
        await until(lambda: capture.stats.state == "capturing", 20, what="capture to go on")
    assert source.gaps() == ["SLOT_DROPPED"]


async def _capture(source: Source, stop: asyncio.Event) -> None:
    await Capture(source.config("stream")).run(stop)
