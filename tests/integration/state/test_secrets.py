"""The ledger's own key, the key that encrypts it, and changing that one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cdc.errors import KeyMissing, StateError
from cdc.state.database import Pool, open_pool
from cdc.state.envelope import Key, Keyring
from cdc.state.secrets import check_keys, keep_hash_key, read_hash_key, rotate, sealed_values
from cdc.state.tokens import StoredTokens
from sinks.tokens import TokenRecord
from tests.support.postgres import Database
from tests.support.waiting import until

RECORD = TokenRecord(refresh_token="1000.refresh", access_token="1000.access", client_id="C", supersedes="1000.old")
OLD, NEW = Key(bytes(range(32))), Key(bytes(range(1, 33)))


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    database.apply_state()
    async with open_pool(database.dsn, purpose="test") as opened:
        yield opened


async def fill(pool: Pool, keyring: Keyring) -> bytes:
    """A state as a running pipeline leaves it; gives the ledger's key."""
    async with StoredTokens(pool, keyring).locked() as slot:
        await slot.save(RECORD)
    async with pool.connection() as conn:
        return await keep_hash_key(conn, keyring)


async def used_keys(pool: Pool) -> set[str]:
    async with pool.connection() as conn:
        return {value.key for value in await sealed_values(conn)}


async def test_a_ledger_from_before_keeps_its_key_byte_for_byte(pool: Pool) -> None:
    before = Keyring((NEW, OLD)).derive("ledger")  # how it was made until now: from the last key of the list
    async with pool.connection() as conn:
        assert await read_hash_key(conn, Keyring((NEW, OLD))) == before
        assert await sealed_values(conn) == [], "reading writes nothing"
        assert await keep_hash_key(conn, Keyring((NEW, OLD))) == before
        assert await read_hash_key(conn, Keyring((NEW,))) == before, "the old key isn't needed any more"
        assert await keep_hash_key(conn, Keyring((OLD, NEW))) == before, "nor does the order matter"


async def test_there_is_a_key_where_there_is_no_schema_yet(database: Database) -> None:
    async with open_pool(database.dsn, purpose="test") as pool, pool.connection() as conn:
        assert await keep_hash_key(conn, Keyring((OLD,))) == OLD.derive("ledger")
        assert await sealed_values(conn) == []


async def test_rotation_leaves_nothing_under_the_old_key_and_changes_no_value(pool: Pool) -> None:
    hash_key = await fill(pool, Keyring((OLD,)))
    both, new = Keyring((NEW, OLD)), Keyring((NEW,))
    async with pool.connection() as conn:
        moved = await rotate(conn, both)
        assert {place.column for place in moved} == {"refresh_token", "access_token", "supersedes", "sealed"}
        assert await read_hash_key(conn, new) == hash_key
        assert await rotate(conn, new) == [], "a second time there is nothing to do"
    assert await used_keys(pool) == {NEW.id}
    assert await StoredTokens(pool, new).load() == RECORD


async def test_the_wrong_key_is_refused_and_named_and_changes_nothing(pool: Pool, database: Database) -> None:
    await fill(pool, Keyring((OLD,)))
    before = database.execute("select sealed, (select zoho_tokens::text from cdc.zoho_tokens) from cdc.secret")
    async with pool.connection() as conn:
        for act in (check_keys, keep_hash_key, rotate):
            with pytest.raises(KeyMissing, match=f"has {NEW.id}, .*key {OLD.id}") as caught:
                await act(conn, Keyring((NEW,)))
            assert "keys rotate" in str(caught.value.fix)
    assert before == database.execute("select sealed, (select zoho_tokens::text from cdc.zoho_tokens) from cdc.secret")


async def test_a_damaged_secret_is_found(pool: Pool, database: Database) -> None:
    await fill(pool, Keyring((OLD,)))
    database.execute("update cdc.secret set sealed = left(sealed, -4) || 'AAAA'")
    async with pool.connection() as conn:
        with pytest.raises(StateError, match=r"cdc\.secret"):
            await check_keys(conn, Keyring((OLD,)))


_HALF = """
import asyncio, sys
import psycopg
from cdc.state import secrets
from cdc.state.envelope import Keyring

async def main() -> None:
    conn = await psycopg.AsyncConnection.connect(sys.argv[1], autocommit=True)
    async with conn.transaction():
        print(len(await secrets.rotate(conn, Keyring.parse(sys.argv[2]))), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_killed_before_it_is_done_a_rotation_has_changed_nothing(pool: Pool, database: Database) -> None:
    hash_key = await fill(pool, Keyring((OLD,)))
    process = subprocess.Popen(  # noqa: ASYNC220  # only its first line is waited for
        [sys.executable, "-c", _HALF, database.dsn, f"{NEW.text()},{OLD.text()}"],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"4\n", "everything is rewritten, and nothing committed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    await until(lambda: _gone(pool), what="the server has noticed")
    assert await used_keys(pool) == {OLD.id}
    for keyring in (Keyring((OLD,)), Keyring((NEW, OLD))):
        assert await StoredTokens(pool, keyring).load() == RECORD
        async with pool.connection() as conn:
            assert await read_hash_key(conn, keyring) == hash_key


async def _gone(pool: Pool) -> bool:
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "select not exists (select from pg_locks where relation = 'cdc.secret'::regclass and mode like 'ShareRow%')"
        )
        row = await cursor.fetchone()
        return bool(row and row[0])
