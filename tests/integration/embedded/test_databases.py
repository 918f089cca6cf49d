"""The fixtures themselves: what the other tests lean on."""

from __future__ import annotations

import psycopg
import pytest

from tests.conftest import Connect
from tests.support.postgres import Database, choose_provider, fresh_database
from tests.support.waiting import until


async def test_a_database_is_dropped_with_its_slot_and_walsender(postgres_dsn: str) -> None:
    with fresh_database(postgres_dsn) as made:
        made.execute("create publication p for all tables")
        made.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [made.name])
        client = psycopg.connect(made.dsn, replication="database", autocommit=True)
        start = f"START_REPLICATION SLOT {made.name} LOGICAL 0/0 (proto_version '1', publication_names 'p')"
        client.pgconn.send_query(start.encode())
        client.pgconn.get_result()
        active = "select active from pg_replication_slots where slot_name = %s"
        await until(lambda: made.execute(active, [made.name]) == [(True,)], what="the walsender at work")
    client.close()
    with psycopg.connect(postgres_dsn) as server:
        for query in (
            "select 1 from pg_database where datname = %s",
            "select 1 from pg_replication_slots where slot_name = %s",
        ):
            assert server.execute(query, [made.name]).fetchone() is None


async def test_connect_gives_autocommit_connections(connect: Connect, database: Database) -> None:
    one, two = await connect(), await connect()
    await one.execute("create table seen_at_once (n int)")
    assert (await (await two.execute("select count(*) from seen_at_once")).fetchone()) == (0,)
    assert database.execute("create table t (n int); select 7") == [(7,)]


def test_a_forced_provider_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_TEST_POSTGRES", "system")
    assert choose_provider() == "system"
    monkeypatch.setenv("CDC_TEST_POSTGRES", "mysql")
    with pytest.raises(ValueError, match="mysql"):
        choose_provider()


async def test_until_names_the_condition_and_its_last_answer() -> None:
    async def never() -> int:
        return 0

    with pytest.raises(AssertionError, match=r"still not so: rows arrive \(last answer: 0\)"):
        await until(never, 0.05, what="rows arrive")
