"""How calls went, in a real Postgres: gathered, written together, read as one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from cdc.state.calls import Told, read_calls, read_told, write_told
from cdc.state.credits import CreditLedger, read_spending
from cdc.state.database import Pool, open_pool
from sinks.calls import Called, Outcome
from tests.support.postgres import Database


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    database.apply_state()
    async with open_pool(database.dsn, purpose="test") as opened:
        yield opened


def call(outcome: Outcome, seconds: float = 0.2, **more: object) -> Called:
    return Called(kind="upsert", outcome=outcome, seconds=seconds, **more)  # type: ignore[arg-type]


async def test_calls_of_all_processes_are_counted_together(pool: Pool) -> None:
    heard: list[Called] = []
    async with CreditLedger(pool, on_call=heard.append) as one, CreditLedger(pool) as other:
        await one.note(call(Outcome.OK))
        await one.note(call(Outcome.OK, 2.0))
        await one.note(call(Outcome.CONCURRENCY, 0.05))
        await one.note(call(Outcome.OK, 25.0, is_file=True))
        await other.note(call(Outcome.NO_ANSWER, 30.0))
        await other.note(call(Outcome.SERVER_ERROR, 4.0))
    async with pool.connection() as conn:
        made = await read_calls(conn)

    assert made.by_outcome == {"concurrency": 1, "no_answer": 1, "ok": 3, "server_error": 1}
    assert (made.calls, made.failed) == (6, 2)
    assert made.by_band == (1, 1, 0, 1, 1, 0, 0), "neither a file nor a lost answer says how fast the service is"
    assert len(heard) == 4


async def test_only_the_last_ten_minutes_count(pool: Pool) -> None:
    now = datetime.now(UTC)
    for minutes in (0, 5, 11, 60):
        async with CreditLedger(pool, clock=lambda m=minutes: now - timedelta(minutes=m)) as ledger:  # type: ignore[misc]
            await ledger.note(call(Outcome.OK))
    async with pool.connection() as conn:
        assert (await read_calls(conn)).calls == 2


async def test_times_are_added_up(pool: Pool, database: Database) -> None:
    async with CreditLedger(pool) as ledger:
        for _ in range(3):
            await ledger.note(call(Outcome.OK, 0.15))
        await ledger.flush()
        await ledger.note(call(Outcome.OK, 0.15))
    assert database.execute("select sum(calls), sum(milliseconds), max(band) from cdc.call_usage") == [(4, 600, 1)]


async def test_what_the_crm_says_is_left_is_kept_with_its_time(pool: Pool) -> None:
    now = datetime.now(UTC)
    async with CreditLedger(pool, clock=lambda: now) as ledger:
        await ledger.note(call(Outcome.OK, remaining=24_000))
        await ledger.note(call(Outcome.OK, remaining=23_990))
        await ledger.note(call(Outcome.OK))
    async with pool.connection() as conn:
        await write_told(conn, Told(25_000, now - timedelta(minutes=1)))
        assert await read_told(conn) == Told(23_990, now)
        assert (await read_spending(conn, 50_000)).told == Told(23_990, now)


async def test_entries_are_kept_while_the_database_refuses(pool: Pool, database: Database) -> None:
    async with CreditLedger(pool, gather_seconds=3600) as ledger:
        database.execute("alter table cdc.call_usage rename to away")
        await ledger.spend("upsert", 3)
        await ledger.note(call(Outcome.OK, remaining=9))
        with pytest.raises(Exception, match="call_usage"):
            await ledger.flush()
        database.execute("alter table cdc.away rename to call_usage")
        await ledger.note(call(Outcome.OK))
    async with pool.connection() as conn:
        assert (await read_calls(conn)).calls == 2
        assert (await read_spending(conn, 50_000)).used == 3
        assert (await read_told(conn) or Told(0, datetime.now(UTC))).remaining == 9
