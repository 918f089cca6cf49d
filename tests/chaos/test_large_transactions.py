"""Transactions too large to hold: every change once, nothing that was undone, no more memory than small ones."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from cdc.source.preflight import TransportName
from tests.support.capture import TRANSPORTS, Entry, Source
from tests.support.capture_process import command
from tests.support.postgres import Database
from tests.support.waiting import until

pytestmark = pytest.mark.chaos
ROOT = Path(__file__).parents[2]
_MOST_RSS_MB = 150
_OWNERS = 1000
_BESIDE = """
do $$ begin
    insert into visits select -n, 'caught', 0 from generate_series(1, {rows}) n;
    raise division_by_zero;
exception when division_by_zero then null;
end $$
"""


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


@asynccontextmanager
async def process(
    source: Source, folder: Path, transport: str, group: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A capture in a process of its own, for the length of the block."""
    line = command(source, folder / "shop", transport, group)
    made = await asyncio.create_subprocess_exec(*line, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        yield made
    finally:
        if made.returncode is None:
            made.kill()
        await made.wait()


def write_with_parts_undone(source: Source, rows: int) -> None:
    """One transaction: half of the visits, what a savepoint and an exception undo, the other half."""
    visits = f"insert into visits select n, 'owner ' || n %% {_OWNERS}, 0 from generate_series(%s::int, %s::int) n"
    undone = max(rows // 10, 1)
    with source.database.connect() as app, app.transaction():
        app.execute(visits, [1, rows // 2])
        app.execute("savepoint before")
        app.execute("insert into visits select -n, 'undone', 0 from generate_series(1, %s) n", [undone])
        app.execute("insert into people values ('undone')")
        app.execute("rollback to savepoint before")
        app.execute(_BESIDE.format(rows=undone).encode())
        app.execute("savepoint kept")
        app.execute(visits, [rows // 2 + 1, rows])
        app.execute("release savepoint kept")


def visits_of(rows: int) -> list[Entry]:
    return [("I", "visits", (f"owner {n % _OWNERS}",)) for n in range(1, rows + 1)]


def changes(source: Source) -> int:
    [(captured,)] = source.database.execute("select coalesce(sum(changes), 0)::bigint from cdc.journal")
    return int(captured)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_a_transaction_undoes_in_part_is_nowhere(source: Source, transport: TransportName) -> None:
    rows = 20_000
    async with source.capturing(transport, group_changes=3000):
        write_with_parts_undone(source, rows)
        await source.drained("marker")
    assert source.entries() == visits_of(rows)
    assert set(source.outbox()) == {("people", f"owner {n}") for n in range(_OWNERS)}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_large_transactions_that_are_open_at_once_come_in_the_order_of_their_commits(
    source: Source, transport: TransportName
) -> None:
    rounds, rows = 4, 1500
    with ExitStack() as stack:
        apps = [stack.enter_context(source.database.connect()) for _ in range(4)]
        async with source.capturing(transport, group_changes=2500) as capture:
            for app in apps:
                app.execute("begin")
            for part in range(rounds):
                for number, app in enumerate(apps):
                    first = number * 1_000_000 + part * rows
                    owner = f"owner {number}"
                    app.execute(
                        "insert into visits select %s + n, %s, 0 from generate_series(1, %s) n", [first, owner, rows]
                    )
                    if part == 1:
                        app.execute("savepoint s; insert into people values ('undone'); rollback to savepoint s")
            commits = [2, 0, 3]
            for number in commits:
                apps[number].execute("commit")
            apps[1].execute("rollback")
            await source.drained("marker")
            assert capture.stats.groups > len(commits), "each was stored in one piece, which says little"
    each = rounds * rows
    assert source.entries() == [("I", "visits", (f"owner {n}",)) for n in commits for _ in range(each)]
    assert set(source.outbox()) == {("people", f"owner {n}") for n in commits}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_large_transaction_that_is_rolled_back_leaves_nothing(source: Source, transport: TransportName) -> None:
    async with source.capturing(transport, group_changes=1000):
        with source.database.connect() as app, app.transaction(force_rollback=True):
            app.execute("insert into visits select n, 'undone', 0 from generate_series(1, 50000) n")
        await source.drained("marker")
    assert source.entries() == []
    assert source.outbox() == {}
    assert source.confirmed() <= source.position()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_process_that_is_killed_inside_a_large_transaction_resumes_inside_it(
    source: Source, transport: TransportName, tmp_path: Path
) -> None:
    rows, group = 16_000, 500
    write_with_parts_undone(source, rows)
    inside = "select open_changes from cdc.position where open_lsn is not null"
    deaths: list[int] = []
    for _ in range(2):
        async with process(source, tmp_path, transport, group) as running:
            before = deaths[-1] if deaths else 0
            stored = lambda: [n for (n,) in source.database.execute(inside) if n > before]  # noqa: B023, E731
            await until(stored, 30, what="a part of the transaction to be stored", interval=0.002)
            running.kill()
            await running.wait()
        deaths += [n for (n,) in source.database.execute(inside)]
    assert len(set(deaths)) == 2, f"each kill struck inside the transaction, and further in: {deaths}"
    async with process(source, tmp_path, transport, group):
        await source.drained("marker", within=60)
    assert source.entries() == visits_of(rows)
    assert source.database.execute(inside) == []


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_million_rows_in_one_transaction_take_no_more_memory_than_two_groups(
    source: Source, transport: TransportName, tmp_path: Path
) -> None:
    rows = 1_000_000
    async with process(source, tmp_path, transport, group=100_000) as running:
        await source.drained("marker 1", within=60)
        await asyncio.to_thread(write_with_parts_undone, source, rows)
        await source.drained("marker 2", within=240)
        running.send_signal(signal.SIGTERM)
        said, _ = await running.communicate()
    assert json.loads(said)["peak_rss_mb"] <= _MOST_RSS_MB
    journaled = Counter(values[0] for _, _, values in source.entries())
    assert journaled == {f"owner {n}": rows // _OWNERS for n in range(_OWNERS)}
    assert set(source.outbox()) == {("people", f"owner {n}") for n in range(_OWNERS)}


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_million_keys_in_one_transaction_take_no_more_memory_than_two_groups(
    source: Source, tmp_path: Path
) -> None:
    """The worst case: every row another key, and most of them killed for once on the way."""
    rows = 1_000_000
    async with process(source, tmp_path, "stream", group=100_000) as running:
        await source.drained("marker 1", within=60)
        await asyncio.to_thread(
            source.database.execute, "insert into items select n, null, null from generate_series(1, %s) n", [rows]
        )
        await until(lambda: changes(source) > rows // 4, 240, what="a quarter of the rows to be stored")
        running.kill()
    async with process(source, tmp_path, "stream", group=100_000) as running:
        await source.drained("marker 2", within=400)
        running.send_signal(signal.SIGTERM)
        said, _ = await running.communicate()
    assert json.loads(said)["peak_rss_mb"] <= _MOST_RSS_MB
    assert changes(source) == rows + 2
    [(dirty, first, last)] = source.database.execute(
        "select count(*), min(key::int), max(key::int) from cdc.outbox where feed = 'items'"
    )
    assert (dirty, first, last) == (rows, 1, rows)
