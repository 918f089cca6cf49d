"""A replay of a journal that capture has written."""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection

from cdc.repair.bounds import Bounds
from cdc.repair.replay import Window, find_window, mark_keys, read_window
from cdc.routing.keys import Retracer
from cdc.routing.router import build_routes
from cdc.state import journal
from tests.bench.backlog import PROFILE, Backlog, keep_journal_of, server_with_users, write


@dataclass(frozen=True, slots=True)
class ReplayTime:
    """What a replay took: reading alone, and with the marks."""

    changes: int
    chunks: int
    megabytes: float
    keys: int
    read_seconds: float
    seconds: float
    peak_rss_mb: float


def replay_journal(users: int, transactions: int, rows: int) -> ReplayTime:
    """Capture a backlog into the journal, then replay all of it, twice: once only reading."""
    with server_with_users(users) as backlog:
        write(backlog, transactions=transactions, rows=rows)
        slot = keep_journal_of(backlog)
        return asyncio.run(_replay(backlog, slot))


async def _replay(backlog: Backlog, slot: str) -> ReplayTime:
    async with await psycopg.AsyncConnection.connect(backlog.dsn, autocommit=True) as state:
        [span] = await journal.spans(state, slot)
        size = await journal.extent(state, slot, span)
        window = await find_window(state, slot, Bounds(span.from_lsn))
        started = time.perf_counter()
        changes, _ = await _run(state, window, mark=False)
        read_seconds = time.perf_counter() - started
        await state.execute("truncate cdc.outbox")
        started = time.perf_counter()
        again, keys = await _run(state, window, mark=True)
        seconds = time.perf_counter() - started
    assert changes == again == backlog.changes, (changes, again, backlog.changes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return ReplayTime(changes, size.chunks, size.bytes / 1e6, keys, read_seconds, seconds, peak)


async def _run(state: AsyncConnection[Any], window: Window, *, mark: bool) -> tuple[int, int]:
    """Read a window as `cdc replay` does; gives changes and distinct keys."""
    retracer = Retracer(build_routes(PROFILE), frozenset(PROFILE.feeds))
    changes = keys = 0
    async for batch in read_window(state, window, retracer):
        changes += batch.changes
        keys += len(batch.keys)
        if mark:
            await mark_keys(state, batch.keys, forced=False)
    return changes, keys
