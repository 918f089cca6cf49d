"""Transactions and rows that are out of the ordinary, and transactions of others that are in the way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.source.preflight import TransportName
from cdc.state.database import migrate
from tests.support.capture import FEEDS, SCHEMA, TRANSPORTS, VIEWS, Source, write_profile
from tests.support.postgres import Database, fresh_database
from tests.support.waiting import until

pytestmark = pytest.mark.chaos
_INSERT = "insert into items select n, %s from generate_series(%s::bigint, %s::bigint) n"


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_of_transactions_that_are_open_side_by_side_only_what_is_committed_comes(
    source: Source, transport: TransportName, seed: int
) -> None:
    """Ten at once, larger than the server keeps in memory; some are rolled back, some of their parts are."""
    source.database.execute(f"alter database {source.name} set logical_decoding_work_mem = '64kB'")
    chance = Random(seed)
    apps = [source.database.connect() for _ in range(10)]
    kept: list[tuple[int, int]] = []  # the rows of each transaction that is committed, in the order of commits
    async with source.capturing(transport, group_changes=3000):
        for number, app in enumerate(apps):
            app.execute("begin")
            first = number * 10_000
            app.execute(_INSERT, ["kept", first, first + 1999])
        for number, app in enumerate(apps):
            first = number * 10_000 + 5000
            app.execute("savepoint s")
            app.execute(_INSERT, ["undone", first, first + 1999])
            app.execute("savepoint t")
            app.execute("update items set owner = 'undone' where id between %s and %s", [first - 5000, first - 4000])
            app.execute("rollback to s")
        for number in chance.sample(range(10), 10):
            if number % 3 == 0:
                apps[number].execute("rollback")
            else:
                apps[number].execute("commit")
                kept.append((number * 10_000, number * 10_000 + 1999))
        await source.drained("marker", within=60)
    for app in apps:
        app.close()
    wanted = [("I", "items", ("kept", str(n))) for first, last in kept for n in range(first, last + 1)]
    assert source.entries() == wanted


@pytest.mark.parametrize("transport", ["stream", pytest.param("poll", marks=pytest.mark.long)])
async def test_a_row_of_64_megabytes_is_followed_by_the_next(source: Source, transport: TransportName) -> None:
    """`items` has identity FULL, so that the whole row is in the stream."""
    async with source.capturing(transport):
        source.database.execute("insert into items values (1, 'ada', repeat('x', 64 * 1024 * 1024))")
        source.database.execute("insert into items values (2, 'ada', 'small')")
        await source.drained("marker", within=60)
    assert source.entries() == [("I", "items", ("ada", "1")), ("I", "items", ("ada", "2"))]


ODD_KEYS = {
    "text": ["''", "' '", "e'a\\tb\\nc\\\\d'", "repeat('k', 2000)",
             "'Zoë \U0001f9d1\u200d\U0001f680'", "'\"quoted\", {braced}'"],
    "numeric": ["'NaN'", "'Infinity'", "'-0.000'", "repeat('9', 2000)::numeric", "'1e-300'"],
    "float8": ["'NaN'", "'-Infinity'", "'5e-324'", "'-0'"],
    "date": ["'infinity'", "'0044-03-15 BC'", "'294276-12-31'"],
    "timestamptz": ["'-infinity'", "'4713-01-01 00:00:00+00 BC'", "'2026-03-29 01:30:00+00'"],
    "interval": ["'-1 year 2 mons 3 days 04:05:06.789'"],
    "bytea": ["'\\x00ff'", "''"],
    "uuid": ["'00000000-0000-0000-0000-000000000000'"],
    "int[]": ["'{}'", "'{{1,2},{3,NULL}}'"],
    "mood": ["'so so'"],
    "shout": ["'LOUD'"],
    "jsonb": ["'null'", "'{\"a\": [1, null]}'"],
    "point_of": ["'(1,\"a b\")'"],
}  # fmt: skip


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_keys_of_every_type_come_as_postgres_writes_them(
    database: Database, tmp_path: Path, transport: TransportName
) -> None:
    types = "create type mood as enum ('so so'); create domain shout as text check (value = upper(value));"
    types += "create type point_of as (x int, name text);"
    tables, feeds, views = [], [], []
    for number, kind in enumerate(ODD_KEYS):
        tables.append(f"create table odd_{number} (id int primary key, value {kind} not null);")
        tables.append(f"alter table odd_{number} replica identity full;")
        views.append(f"create view cdc.odd_{number} as select value as item_id, id from odd_{number};")
        feeds.append(
            f'[odd_{number}]\nsink = "zoho.tasks"\nview = "cdc.odd_{number}"\nkey = "item_id"\n'
            f'[odd_{number}.watch]\nodd_{number} = {{ key = "value" }}\n'
        )
    database.execute(SCHEMA + types + "".join(tables))
    profile = write_profile(tmp_path / "shop", FEEDS + "".join(feeds), VIEWS + "".join(views))
    await migrate(database.dsn)
    source = Source(database, profile, database.name)
    await source.set_up()
    async with source.capturing(transport):
        for number, (kind, values) in enumerate(ODD_KEYS.items()):
            for place, value in enumerate(values):
                database.execute(f"insert into odd_{number} values ({place}, ({value})::{kind})")
        await source.drained("marker")
    found = source.outbox()
    for number in range(len(ODD_KEYS)):
        wanted = {row[0] for row in database.execute(f"select value::text from odd_{number}")}
        assert {key for feed, key in found if feed == f"odd_{number}"} == wanted


async def test_a_transaction_that_stays_open_holds_up_nobody_else(source: Source) -> None:
    """It holds WAL back, and the log of the server; the changes of others go on, and its own come when it commits."""
    with source.database.connect() as forgotten:
        forgotten.execute("begin; insert into items values (1, 'late')")
        async with source.capturing("stream"):
            for number in range(2, 30):
                source.database.execute("insert into items values (%s, 'ada')", [number])
            await source.drained("marker 1")
            assert [e[2][1] for e in source.entries()] == [str(n) for n in range(2, 30)]
            await until(lambda: source.confirmed() >= source.position(), 20, what="the slot to be acknowledged")
            forgotten.execute("commit")
            await source.drained("marker 2")
    assert source.entries()[-1] == ("I", "items", ("late", "1"))
    assert source.gaps() == []


async def test_making_a_slot_behind_an_open_transaction_can_be_broken_off(tmp_path: Path) -> None:
    """A slot begins where no transaction is open that writes. Whoever breaks the wait off leaves no slot behind."""
    with EmbeddedPostgres.start() as server, fresh_database(server.dsn) as database:
        source = await Source.make(database, tmp_path)
        database.execute("select pg_drop_replication_slot(%s)", [source.name])
        slots = "select count(*) from pg_replication_slots"
        with database.connect() as forgotten:
            forgotten.execute("begin; insert into items values (1, 'late')")
            setting_up = asyncio.create_task(source.set_up())
            waiting = "select 1 from pg_stat_activity where query like '%pg_create_logical_replication_slot%'"
            waiting += " and wait_event_type = 'Lock' and pid <> pg_backend_pid()"
            await until(lambda: database.execute(waiting), 20, what="the slot's making to wait")
            setting_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await setting_up
            await until(lambda: database.execute(slots) == [(0,)], 20, what="the half-made slot to go")
            forgotten.execute("commit")
        await source.set_up()
        assert database.execute(slots) == [(1,)]
