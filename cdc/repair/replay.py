"""Replay: mark the keys that were touched in a window of the journal, so that their truth is read and compared again.

It is no replay of history. Nothing of the window is sent; what is sent is what the views say when a key's turn comes.
So a replay may run at any time, beside everything else, twice or in halves, and can't put an old value over a newer
one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.errors import DeadlockDetected
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from cdc.errors import ConfigError, StateError
from cdc.lsn import Lsn
from cdc.repair.bounds import Bound, Bounds, choose_span
from cdc.routing.feeds import Lane
from cdc.routing.keys import Retracer
from cdc.state import journal
from cdc.state.journal import Chunk, RetentionOvertook, Span
from cdc.state.outbox import Mark, mark
from cdc.wire.messages import microseconds_of
from cdc.wire.touched import Layout, Touched, first_commit_since, last_commit_until

_BATCH: Final = 50_000  # changes that are read between two looks at a stop, and two writes of the cursor
_MARK: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of the journal without a hole.

    Attributes:
        from_lsn: commits from here on.
        to_lsn: and up to here, this one included.
        after: id of the chunk before the first.
        last: id of the last chunk; equal to `after` if there is none.
        changes: in these chunks; those at the edges may hold more than the window.
    """

    slot: str
    span: int
    from_lsn: Lsn
    to_lsn: Lsn
    after: int
    last: int
    changes: int = 0


async def find_window(conn: AsyncConnection[Any], slot: str, bounds: Bounds) -> Window:
    """Find what a person asks for.

    Raises:
        ConfigError: if the journal doesn't hold all of it.
    """
    spans = await journal.spans(conn, slot)
    if not spans or not spans[-1].is_open:
        raise ConfigError(f"nothing was ever captured from slot {slot}", fix="start `cdc run`")
    span = choose_span(spans, await journal.gaps(conn, slot), bounds)
    oldest = await _lower_lsn(conn, slot, span, bounds.lower)
    newest = await _upper_lsn(conn, slot, span, bounds.upper)
    size = await journal.extent(conn, slot, span, oldest, newest)
    after = span.after_chunk if size.first is None else size.first - 1
    return Window(
        slot=slot,
        span=span.id,
        from_lsn=oldest,
        to_lsn=newest,
        after=after,
        last=after if size.last is None else size.last,
        changes=size.changes,
    )


async def _lower_lsn(conn: AsyncConnection[Any], slot: str, span: Span, bound: Bound) -> Lsn:
    if isinstance(bound, Lsn):
        return bound
    chunk = await journal.chunk_since(conn, slot, span, bound)
    if chunk is None:
        return span.to_lsn  # nothing was written since
    lsn = first_commit_since(chunk.body, journal.parse_relations(chunk.relations), microseconds_of(bound))
    return span.to_lsn if lsn is None else Lsn(lsn)


async def _upper_lsn(conn: AsyncConnection[Any], slot: str, span: Span, bound: Bound | None) -> Lsn:
    if bound is None or isinstance(bound, Lsn):
        return span.to_lsn if bound is None else min(bound, span.to_lsn)
    chunk = await journal.chunk_until(conn, slot, span, bound)
    if chunk is None:
        return span.from_lsn
    lsn = last_commit_until(chunk.body, journal.parse_relations(chunk.relations), microseconds_of(bound))
    return span.from_lsn if lsn is None else Lsn(lsn)


@dataclass(frozen=True, slots=True)
class Batch:
    """What some chunks held.

    Attributes:
        cursor: id of the last of them.
        changes: that counted.
        keys: (feed, key) that no batch before held, in the outbox's order of locks.
    """

    cursor: int
    changes: int
    keys: Sequence[tuple[str, str]]


async def read_window(conn: AsyncConnection[Any], window: Window, retracer: Retracer) -> AsyncIterator[Batch]:
    """Read a window, oldest first.

    Raises:
        StateError: if retention takes chunks away that were still to be read.
    """
    touched, layouts = Touched(), dict[str, Layout]()
    cursor = window.after
    while cursor < window.last:
        chunks = await _read(conn, window, cursor)
        if not chunks:
            return
        changes = sum(_take(touched, layouts, chunk, window) for chunk in chunks)
        keys = retracer.take(touched.drain())
        for feed in sorted(retracer.truncated):
            keys += retracer.new_of(feed, await known_keys(conn, feed))
        retracer.truncated.clear()
        cursor = chunks[-1].id
        yield Batch(cursor, changes, sorted(keys))


async def _read(conn: AsyncConnection[Any], window: Window, cursor: int) -> list[Chunk]:
    try:
        return await journal.read_chunks(conn, window.slot, window.span, after=cursor, last=window.last, changes=_BATCH)
    except RetentionOvertook:
        raise StateError(
            "the journal's retention has removed what was still to be replayed",
            fix="run `cdc sweep`; for the next time raise CDC_JOURNAL_DAYS or CDC_JOURNAL_MB",
        ) from None


def _take(touched: Touched, layouts: dict[str, Layout], chunk: Chunk, window: Window) -> int:
    layout = layouts.get(chunk.relations)
    if layout is None:
        layout = layouts[chunk.relations] = Layout(journal.parse_relations(chunk.relations))
    return touched.read(chunk.body, layout, window.from_lsn, window.to_lsn)


async def known_keys(conn: AsyncConnection[Any], feed: str) -> list[str]:
    """List every key of a feed that the ledger or the outbox knows: what a TRUNCATE touches, as capture has it."""
    cursor = await conn.execute(
        "select key from cdc.ledger where feed = %(feed)s and state <> 'withdrawn'"
        " union select key from cdc.outbox where feed = %(feed)s",
        {"feed": feed},
    )
    return [row[0] for row in await cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Marked:
    """How many keys were marked, and how many were left parked."""

    marked: int
    parked: int


async def mark_keys(conn: AsyncConnection[Any], keys: Sequence[tuple[str, str]], *, forced: bool) -> Marked:
    """Mark keys dirty in the lane `bulk`, in short transactions.

    A parked key stays parked, as with a sweep: it failed on the data that it still has.

    Args:
        conn: to the state, in autocommit.
        keys: (feed, key), distinct and in order.
        forced: have them sent even if the ledger calls them equal; parked ones too.
    """
    marked, now = 0, datetime.now(UTC)
    for start in range(0, len(keys), _MARK):
        part = keys[start : start + _MARK]
        parked = frozenset() if forced else await _parked(conn, part)
        marks = [
            Mark(feed=feed, key=key, lane=Lane.BULK, dirty_at=now, forced=forced)
            for feed, key in part
            if (feed, key) not in parked
        ]
        await _mark(conn, marks)
        marked += len(marks)
    return Marked(marked, len(keys) - marked)


# A worker that orphans records may lock out of order (`cdc.state.settle`); whoever is thrown out by that tries again.
@retry(retry=retry_if_exception_type(DeadlockDetected), stop=stop_after_attempt(5), reraise=True)
async def _mark(conn: AsyncConnection[Any], marks: Sequence[Mark]) -> None:
    async with conn.transaction():
        await mark(conn, marks)


async def _parked(conn: AsyncConnection[Any], keys: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    cursor = await conn.execute(
        "select o.feed, o.key from cdc.outbox o join unnest(%s::text[], %s::text[]) as k (feed, key) using (feed, key)"
        " where o.parked_at is not null",
        [[feed for feed, _ in keys], [key for _, key in keys]],
    )
    return frozenset(await cursor.fetchall())
