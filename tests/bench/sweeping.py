"""A sweep of records of which none has changed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psycopg
from psycopg import sql

from cdc.repair.sweep import sweep_feed
from cdc.state.truth import row_hash_sql, view_identifier
from tests.bench.backlog import PROFILE, Backlog, server_with_users

HASH_KEY = b"bench-bench-bench"


@dataclass(frozen=True, slots=True)
class SweepTime:
    """How long it took to find that nothing differs."""

    records: int
    seconds: float
    marked: int


def sweep_unchanged(users: int) -> SweepTime:
    """Fill the ledger as if everybody had been delivered, then sweep."""
    with server_with_users(users) as backlog:
        return asyncio.run(_sweep(backlog))


async def _sweep(backlog: Backlog) -> SweepTime:
    feed = PROFILE.feeds["contacts"]
    fill = sql.SQL(
        "insert into cdc.ledger (feed, record_id, key, state, row_hash) "
        "select 'contacts', v.user_id::text, v.user_id::text, 'sent', {} from {} as v"
    ).format(row_hash_sql("v"), view_identifier(feed))
    async with (
        await psycopg.AsyncConnection.connect(backlog.dsn, autocommit=True) as source,
        await psycopg.AsyncConnection.connect(backlog.dsn, autocommit=True) as state,
    ):
        for conn in (source, state):
            await conn.execute("set time zone 'UTC'")
        await state.execute(fill, {"hash_key": HASH_KEY})
        started = time.perf_counter()
        found = await sweep_feed(source, state, feed, HASH_KEY)
    return SweepTime(found.compared, time.perf_counter() - started, found.marked)
