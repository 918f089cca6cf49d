"""Tokens and credits in a real Postgres."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from structlog.testing import capture_logs

from cdc.errors import ConfigError, StateError
from cdc.state.credits import CreditLedger, Usage
from cdc.state.database import Pool, open_pool
from cdc.state.envelope import Key, Keyring
from cdc.state.tokens import StoredTokens
from sinks.simulator.server import start_simulator
from sinks.tokens import TokenRecord
from sinks.zoho.auth import Authenticator
from sinks.zoho.config import ZohoConfig
from sinks.zoho.transport import Transport
from tests.support.postgres import Database
from tests.support.waiting import until

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RECORD = TokenRecord(
    refresh_token="1000.refresh",
    access_token="1000.access",
    api_domain="https://www.zohoapis.eu",
    expires_at=NOW + timedelta(hours=1),
    minted_at=(NOW - timedelta(minutes=1), NOW),
)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    database.apply_state()
    async with open_pool(database.dsn, purpose="test", size=8) as opened:
        yield opened


@pytest.fixture
def keyring() -> Keyring:
    return Keyring((Key(secrets.token_bytes(32)),))


async def save(store: StoredTokens, record: TokenRecord) -> None:
    async with store.locked() as slot:
        await slot.save(record)


async def test_a_record_comes_back_as_it_was_and_is_replaced(pool: Pool, keyring: Keyring) -> None:
    store = StoredTokens(pool, keyring)
    assert await store.load() is None
    await save(store, RECORD)
    assert await store.load() == RECORD
    without = replace(RECORD, access_token=None, expires_at=None, minted_at=())
    await save(store, without)
    assert await StoredTokens(pool, keyring).load() == without
    assert await StoredTokens(pool, keyring, account="another").load() is None


async def test_no_token_stands_in_the_database_as_it_is(pool: Pool, keyring: Keyring, database: Database) -> None:
    await save(StoredTokens(pool, keyring), RECORD)
    ((row,),) = database.execute("select zoho_tokens::text from cdc.zoho_tokens")
    assert "1000." not in row


async def test_columns_and_rows_cant_be_swapped(pool: Pool, keyring: Keyring, database: Database) -> None:
    await save(StoredTokens(pool, keyring), RECORD)
    database.execute("insert into cdc.zoho_tokens (id, refresh_token) select 'b', refresh_token from cdc.zoho_tokens")
    with pytest.raises(StateError, match="row b was changed or moved"):
        await StoredTokens(pool, keyring, account="b").load()
    database.execute("update cdc.zoho_tokens set access_token = refresh_token where id = 'zoho'")
    with pytest.raises(StateError, match=r"access_token .* was changed or moved"):
        await StoredTokens(pool, keyring).load()


async def test_a_rotated_key_reads_the_old_and_writes_the_new(pool: Pool, keyring: Keyring) -> None:
    old, new = Key(secrets.token_bytes(32)), Key(secrets.token_bytes(32))
    await save(StoredTokens(pool, Keyring((old,))), RECORD)
    both = StoredTokens(pool, Keyring((new, old)))
    assert await both.load() == RECORD
    await save(both, RECORD)
    assert await StoredTokens(pool, Keyring((new,))).load() == RECORD
    with pytest.raises(ConfigError, match=new.id):
        await StoredTokens(pool, keyring).load()


async def test_the_lock_keeps_others_out_until_the_change_can_be_seen(pool: Pool, keyring: Keyring) -> None:
    one, two = StoredTokens(pool, keyring), StoredTokens(pool, keyring)
    held, seen = asyncio.Event(), []

    async def first() -> None:
        async with one.locked() as slot:
            held.set()
            await until(_somebody_waits, what="the second is at the lock")
            await slot.save(RECORD)

    async def second() -> None:
        await held.wait()
        async with two.locked() as slot:
            seen.append(await slot.load())

    async def _somebody_waits() -> bool:
        async with pool.connection() as conn:
            cursor = await conn.execute("select count(*) from pg_locks where locktype = 'advisory' and not granted")
            row = await cursor.fetchone()
            return bool(row and row[0])

    await asyncio.gather(first(), second())
    assert seen == [RECORD]


async def test_workers_with_stores_of_their_own_share_one_token(pool: Pool, keyring: Keyring) -> None:
    async with await start_simulator() as simulator, Transport() as transport:
        config = ZohoConfig(
            client_id=simulator.client_id,
            client_secret=simulator.client_secret,
            refresh_token=simulator.refresh_token,
            accounts_url=simulator.url,
        )
        workers = [Authenticator(config, StoredTokens(pool, keyring), transport) for _ in range(6)]
        accesses = await asyncio.gather(*(w.access() for w in workers))
        assert len({a.token for a in accesses}) == 1
        renewed = await asyncio.gather(*(w.renew(accesses[0]) for w in workers))
        assert len({a.token for a in renewed}) == 1
        assert renewed[0] != accesses[0]
        assert len(simulator.simulation.calls.select(kind="token")) == 2


async def test_credits_are_gathered_and_written_without_being_asked(pool: Pool) -> None:
    async with CreditLedger(pool, gather_seconds=0.05) as ledger, CreditLedger(pool) as other:
        for _ in range(10):
            await ledger.spend("upsert", 10)
        await ledger.spend("coql", 1)
        await until(lambda: _is(other, 101), what="the writer has written")
        await ledger.spend("upsert", 2)
        assert await ledger.by_kind() == {
            "upsert": Usage(calls=11, credits=102),
            "coql": Usage(calls=1, credits=1),
        }


async def _is(ledger: CreditLedger, total: int) -> bool:
    return await ledger.used_24h() == total


async def test_closing_writes_the_rest(pool: Pool) -> None:
    async with CreditLedger(pool, gather_seconds=3600) as ledger:
        await ledger.spend("upsert", 7)
    assert await CreditLedger(pool).used_24h() == 7


async def test_the_window_rolls(pool: Pool) -> None:
    now = datetime.now(UTC)
    for hours, credits in ((0, 1), (23, 10), (25, 100)):
        moment = now - timedelta(hours=hours)
        async with CreditLedger(pool, clock=lambda moment=moment: moment) as ledger:
            await ledger.spend("upsert", credits)
    assert await CreditLedger(pool).used_24h() == 11


async def test_entries_are_kept_while_the_database_refuses(pool: Pool, database: Database) -> None:
    async with CreditLedger(pool, gather_seconds=3600) as ledger:
        database.execute("alter table cdc.credit_usage rename to away")
        await ledger.spend("upsert", 3)
        with pytest.raises(psycopg.errors.UndefinedTable):
            await ledger.flush()
        await ledger.spend("upsert", 4)
        database.execute("alter table cdc.away rename to credit_usage")
        assert await ledger.by_kind() == {"upsert": Usage(calls=2, credits=7)}


async def test_the_writer_outlives_a_database_that_refuses(pool: Pool, database: Database) -> None:
    database.execute("alter table cdc.credit_usage rename to away")
    with capture_logs() as logs:
        async with CreditLedger(pool, gather_seconds=0.02) as ledger:
            await ledger.spend("upsert", 3)
            await until(lambda: logs, what="the failure is logged")
            database.execute("alter table cdc.away rename to credit_usage")
            await until(lambda: database.execute("select sum(credits) from cdc.credit_usage") == [(3,)])
    assert {(line["event"], line["error"]) for line in logs} == {("credits_not_written", "UndefinedTable")}
