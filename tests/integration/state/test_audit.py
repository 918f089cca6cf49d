"""Who did what: written down, read in pages, and never changed."""

from __future__ import annotations

import psycopg
import pytest

from cdc.runtime.housekeeping import keep_house
from cdc.settings import Settings
from cdc.state.audit import entries, record
from cdc.state.database import open_pool
from tests.conftest import Connect
from tests.support.postgres import Database


async def test_entries_come_newest_first_and_in_pages(database: Database, connect: Connect) -> None:
    database.apply_state()
    conn = await connect()
    for n in range(5):
        await record(conn, actor="cli:ada@host", action="failures.retry", subject=f"key {n}", count=n, because="why")

    first = await entries(conn, limit=2)
    rest = await entries(conn, before=first[-1].id, limit=10)

    assert [entry.subject for entry in (*first, *rest)] == [f"key {n}" for n in (4, 3, 2, 1, 0)]
    assert (first[0].actor, first[0].action, first[0].count, first[0].because) == (
        "cli:ada@host", "failures.retry", 4, "why",
    )  # fmt: skip
    assert await entries(conn, before=rest[-1].id) == []


async def test_an_entry_goes_with_the_transaction_that_did_it(database: Database, connect: Connect) -> None:
    database.apply_state()
    conn = await connect()
    async with conn.transaction(force_rollback=True):
        await record(conn, actor="cli:ada@host", action="pause", subject="*")
        assert len(await entries(conn)) == 1
    assert await entries(conn) == []


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("two\nlines\x00 and \x1b[31mcolour", "two lines and [31mcolour"),
        ("turned \u202eround\ud800", "turned round"),
        ("'); drop table cdc.audit; --<script>", "'); drop table cdc.audit; --<script>"),
        ("x" * 600, "x" * 499 + "…"),
    ],
)
async def test_what_a_person_says_is_kept_as_one_line(
    database: Database, connect: Connect, words: str, kept: str
) -> None:
    database.apply_state()
    conn = await connect()
    await record(conn, actor=words, action="failures.discard", subject=words, because=words)
    [entry] = await entries(conn)
    assert (entry.actor, entry.subject, entry.because) == (kept, kept, kept)


async def test_no_entry_is_changed_and_none_goes_before_its_time(database: Database, connect: Connect) -> None:
    database.apply_state()
    conn = await connect()
    await record(conn, actor="cli:ada@host", action="pause", subject="*")
    database.execute(
        "insert into cdc.audit (at, actor, action) values (now() - interval '401 days', 'web:old', 'resume')"
    )
    for statement in ("update cdc.audit set actor = 'web:somebody'", "delete from cdc.audit"):
        with pytest.raises(psycopg.errors.RaiseException, match="only added to"):
            await conn.execute(statement)

    async with open_pool(database.dsn, purpose="test") as pool:
        await keep_house(pool, Settings(_env_file=None))
    assert [entry.actor for entry in await entries(conn)] == ["cli:ada@host"]
