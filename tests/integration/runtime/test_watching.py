"""A publication that loses something while the pipeline runs: alarm, the other tables go on, a sweep afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from cdc.runtime.connections import Connections
from cdc.runtime.watching import Watch
from cdc.source.capture import Capture
from cdc.source.preflight import TransportName
from cdc.state.database import open_pool
from tests.support.capture import TRANSPORTS, Source
from tests.support.postgres import Database
from tests.support.waiting import until

OPEN = "select cause, detail, to_lsn is null from cdc.gap where repaired_at is null order by id"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc.runtime.watching.WATCH_SECONDS", 0.2)


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> TransportName:
    return cast(TransportName, request.param)


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


@asynccontextmanager
async def watching(source: Source, transport: TransportName) -> AsyncIterator[Capture]:
    """Capture, with a watch beside it; the first sweep is done."""
    async with (
        source.capturing(transport) as capture,
        open_pool(source.database.dsn, purpose="test", size=4) as pool,
    ):
        await source.drained("marker 1")
        source.database.execute("update cdc.position set swept_at = now()")
        capture.sweep_due.clear()
        connections = Connections(pool, pool, cast(Any, None), cast(Any, None), b"k" * 32)
        watch, stop = Watch(connections, source.profile, source.name, source.name, capture), asyncio.Event()
        running = asyncio.create_task(watch.run(stop))
        try:
            yield capture
        finally:
            stop.set()
            await running


@pytest.mark.parametrize(
    ("misdeed", "breach"),
    [
        ("alter publication {name} drop table items", "public.items isn't published"),
        ("alter publication {name} set table people (id), visits, items where (id > 5)", "row filter"),
        ("alter table items replica identity default", "the replica identity of public.items lacks"),
        ("alter publication {name} set (publish = 'insert')", "some kinds of change"),
        ("drop publication {name}", "doesn't exist"),
    ],
)
async def test_what_is_missing_is_named_and_mended_with_a_sweep(
    source: Source, transport: TransportName, misdeed: str, breach: str
) -> None:
    with capture_logs() as logs:
        async with watching(source, transport) as capture:
            source.database.execute(misdeed.format(name=source.name))
            await until(lambda: source.database.execute(OPEN), 30, what="the gap on record")
            [(cause, detail, is_endless)] = source.database.execute(OPEN)
            assert (cause, is_endless) == ("PUBLICATION_INCOMPLETE", True)
            assert breach in detail
            await until(lambda: any(e["event"] == "publication_incomplete" for e in logs), 10, what="the alarm")
            assert not capture.sweep_due.is_set(), "nothing to compare before it is mended"

            await source.set_up()
            await until(capture.sweep_due.is_set, 30, what="a sweep to be owed")
            assert (False,) in [row[2:] for row in source.database.execute(OPEN)]
            assert source.database.execute("select swept_at from cdc.position") == [(None,)]


async def test_the_other_tables_go_on(source: Source, transport: TransportName) -> None:
    async with watching(source, transport):
        source.database.execute(f"alter publication {source.name} drop table items")
        source.database.execute("insert into items values (1, 'unread', '')")
        await until(lambda: source.database.execute(OPEN), 30, what="the gap on record")
        await source.drained("marker 2")
    assert source.entries() == []


async def test_a_publication_that_is_changed_between_two_looks_is_worth_a_sweep(
    source: Source, transport: TransportName
) -> None:
    async with watching(source, transport) as capture:
        with source.database.connect() as conn:
            conn.execute("begin")
            conn.execute(f"alter publication {source.name} drop table visits".encode())
            conn.execute(f"alter publication {source.name} add table visits (id, owner)".encode())
            conn.execute("commit")
        await until(capture.sweep_due.is_set, 30, what="a sweep to be owed")
        assert source.gaps() == ["PUBLICATION_CHANGED"]


async def test_a_whole_publication_is_no_news_and_samples_are_taken(source: Source, transport: TransportName) -> None:
    async with watching(source, transport) as capture:
        count = "select count(*) from cdc.slot_sample where slot = %s"
        await until(lambda: source.database.execute(count, [source.name])[0][0] >= 3, 20, what="three looks")
        assert not capture.sweep_due.is_set()
    assert source.gaps() == []
