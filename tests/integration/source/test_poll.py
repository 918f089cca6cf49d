"""Reading the slot by SQL: where its own traps are."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.lsn import Lsn
from cdc.state import position
from cdc.state.capture import CaptureStore
from cdc.state.lineage import Lineage
from tests.support.capture import Source
from tests.support.postgres import fresh_database
from tests.support.waiting import until


async def test_captured_changes_that_were_never_acknowledged_do_not_hold_up_the_rest(source: Source) -> None:
    """More of them than one peek gives: they would come again and again, and nothing behind them ever."""
    for number in range(3):
        source.database.execute("insert into items select %s * 100000 + n from generate_series(1, 30000) n", [number])
    end = Lsn.parse(source.database.execute("select pg_current_wal_flush_lsn()::text")[0][0])
    system_id = source.database.execute("select system_identifier::text from pg_control_system()")[0][0]
    store = await CaptureStore.open(source.database.dsn, source.name, {})
    here = Lineage(system_id, 1)
    footing = position.Footing(here, store.lineage, None)
    await position.begin(
        store.conn, source.name, footing, end
    )  # as if all were stored, and the process killed before it could say so
    await store.close()
    async with source.capturing("poll"):
        await source.drained("marker")
    assert source.entries() == []


async def test_a_transaction_that_is_stored_but_for_its_commit_does_not_come_again(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one of these transactions only the commit is left when all of its rows are stored."""
    monkeypatch.setattr("cdc.source.poll._ROWS_A_FETCH", 4)
    async with source.capturing("poll", group_changes=1) as capture:
        for number in range(1, 6):
            groups = capture.stats.groups
            rows = "insert into items select %s + n from generate_series(1, %s) n"
            source.database.execute(rows, [10 * number, number])
            await until(lambda: capture.stats.groups > groups, 30, what="the rows to be stored")  # noqa: B023
            await source.drained(f"marker {number}")  # comes with another peek
    stored = [int(values[1] or 0) for _, table, values in source.entries() if table == "items"]
    assert stored == [10 * number + n for number in range(1, 6) for n in range(1, number + 1)]


@pytest.mark.parametrize("how", ["advanced", "made anew"])
async def test_a_slot_that_somebody_moves_between_two_peeks_is_a_gap_on_record(source: Source, how: str) -> None:
    async with source.capturing("poll", poll_seconds=0.3) as capture:
        await source.drained("marker 1")
        capture.sweep_due.clear()
        with source.database.connect() as somebody:
            source.database.execute("insert into people values ('lost', '')")
            move = "select pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())"
            if how == "made anew":
                somebody.execute("select pg_drop_replication_slot(%s)", [source.name])
                move = "select pg_create_logical_replication_slot(%s, 'pgoutput')"
            somebody.execute(move, [source.name])
        await until(source.gaps, what="the gap on record")
        await source.drained("marker 2")
        assert capture.sweep_due.is_set()
    assert source.gaps() == ["SLOT_ADVANCED" if how == "advanced" else "SLOT_RECREATED"]


@contextmanager
def stopped_wal_writer(source: Source) -> Iterator[None]:
    """Nothing but a commit that asks for it flushes the WAL meanwhile."""
    ((pid,),) = source.database.execute("select pid from pg_stat_activity where backend_type = 'walwriter'")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def further_peeks(source: Source, count: int) -> None:
    """Wait until the slot was read some more times."""
    query = "select query_start from pg_stat_activity where application_name = %s"
    starts = {source.database.execute(query, [f"cdc poll {source.name}"])[0]}

    def enough() -> bool:
        starts.add(source.database.execute(query, [f"cdc poll {source.name}"])[0])
        return len(starts) > 2 * count  # a peek is several queries

    await until(enough, what="further peeks")


async def test_a_commit_that_is_written_and_not_flushed_is_not_passed_over(tmp_path: Path) -> None:
    """A peek ends at what is flushed. A position taken from what is written would lie behind the commit."""
    small = {"wal_buffers": "32kB", "fsync": "off", "autovacuum": "off"}  # full buffers are written, not flushed
    with EmbeddedPostgres.start(settings=small) as server, fresh_database(server.dsn) as database:
        source = await Source.make(database, tmp_path)
        async with source.capturing("poll"):
            await source.drained("marker 1")
            with stopped_wal_writer(source), database.connect(options="-c synchronous_commit=off") as writer:
                writer.execute("insert into people values ('ada', '')")
                writer.execute("insert into noise (body) select repeat('x', 1000) from generate_series(1, 1000)")
                await further_peeks(source, 3)
            await source.drained("marker 2")
        assert source.entries() == [("I", "people", ("ada",))]
        assert source.gaps() == []
