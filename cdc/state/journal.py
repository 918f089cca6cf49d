"""Reads the journal: what it covers, its chunks in order, and what retention may take away.

A *span* is a stretch of WAL of which the journal holds every change. It begins where a slot began, ends where the
stream broke off, and loses its oldest chunks to retention; its row moves with them in the same statement, so that a
window with a hole in it never looks whole. Chunks of one slot have ids in the order of their commits, since one
process at a time writes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

from cdc.lsn import Lsn
from cdc.state.causes import GapCause, in_words
from cdc.wire.journal import JournalRelation

# What a chunk takes: its body, its table of relations, and the rest of the row with its index entries.
_BYTES: LiteralString = "octet_length(body) + pg_column_size(relations) + 120"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of WAL without a hole, as the journal holds it.

    Attributes:
        after_chunk: its chunks have greater ids.
        from_lsn: every commit at or after it is there.
        from_time: the same as a commit time.
        to_chunk: its last chunk; None for the span that capture goes on writing.
        to_lsn: where it ends; for the open one our position.
        to_time: commit time of its last transaction; None for the open one.
        ended_at: when it was noticed that the stream had broken off; None for the open one.
    """

    id: int
    system_id: str
    timeline: int
    after_chunk: int
    from_lsn: Lsn
    from_time: datetime
    to_chunk: int | None
    to_lsn: Lsn
    to_time: datetime | None
    began_at: datetime
    ended_at: datetime | None

    @property
    def is_open(self) -> bool:
        """True for the span that capture goes on writing."""
        return self.ended_at is None


_SPANS_SQL: LiteralString = """
select s.id, s.system_id, s.timeline, s.after_chunk, s.from_lsn::text, s.from_time, s.to_chunk,
       coalesce(s.to_lsn, p.lsn)::text, s.to_time, s.began_at, s.ended_at
from cdc.journal_span s join cdc.position p on p.slot = s.slot
where s.slot = %s
order by s.id
"""


async def spans(conn: AsyncConnection[Any], slot: str) -> list[Span]:
    """List a slot's spans, oldest first; the last one is open. Empty before the slot was ever captured."""
    rows = await (await conn.execute(_SPANS_SQL, [slot])).fetchall()
    return [
        Span(
            id=row[0],
            system_id=row[1],
            timeline=row[2],
            after_chunk=row[3],
            from_lsn=Lsn.parse(row[4]),
            from_time=row[5],
            to_chunk=row[6],
            to_lsn=Lsn.parse(row[7]),
            to_time=row[8],
            began_at=row[9],
            ended_at=row[10],
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class JournalGap:
    """A stretch of WAL that was never read. `cause` is its meaning in words."""

    cause: str
    from_lsn: str
    to_lsn: str | None
    detected_at: datetime
    repaired_at: datetime | None


async def gaps(conn: AsyncConnection[Any], slot: str) -> list[JournalGap]:
    """List a slot's gaps, oldest first. A ledger in doubt isn't one here: the WAL was read without a hole."""
    cursor = await conn.execute(
        "select cause, from_lsn::text, to_lsn::text, detected_at, repaired_at from cdc.gap"
        " where slot = %s and cause <> %s order by id",
        [slot, GapCause.LEDGER_DOUBTFUL.name],
    )
    return [JournalGap(in_words(cause), *rest) for cause, *rest in await cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much lies between two chunks: how many there are, changes in them, and bytes that they take."""

    first: int | None
    last: int | None
    chunks: int
    changes: int
    bytes: int


async def extent(
    conn: AsyncConnection[Any], slot: str, span: Span, oldest: Lsn | None = None, newest: Lsn | None = None
) -> Extent:
    """Measure a span, or the part of it with commits between two LSNs, both included."""
    cursor = conn.cursor(row_factory=class_row(Extent))
    await cursor.execute(
        f"""
        select min(id) as first, max(id) as last, count(*) as chunks, coalesce(sum(changes), 0)::bigint as changes,
               coalesce(sum({_BYTES}), 0)::bigint as bytes
        from cdc.journal
        where slot = %(slot)s and id > %(after)s and (%(to)s::bigint is null or id <= %(to)s)
          and (%(oldest)s::pg_lsn is null or last_lsn >= %(oldest)s::pg_lsn)
          and (%(newest)s::pg_lsn is null or first_lsn <= %(newest)s::pg_lsn)
        """,
        {
            "slot": slot,
            "after": span.after_chunk,
            "to": span.to_chunk,
            "oldest": None if oldest is None else str(oldest),
            "newest": None if newest is None else str(newest),
        },
    )
    found = await cursor.fetchone()
    return found or Extent(None, None, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk, with its relations as the text that stands in the table."""

    id: int
    changes: int
    relations: str
    body: bytes


# The oldest chunks go first, so a span that begins behind our cursor has lost a chunk that we haven't read.
_CHUNKS_SQL: LiteralString = """
select c.id, c.changes, c.relations, c.body, s.after_chunk > %(after)s
from cdc.journal_span s
left join lateral (
    select id, changes, relations::text as relations, body, sum(changes) over (order by id) - changes as before
    from (
        select * from cdc.journal
        where slot = %(slot)s and id > %(after)s and id <= %(last)s
        order by id limit %(chunks)s
    ) as next
) as c on c.before < %(changes)s
where s.id = %(span)s
order by c.id
"""


class RetentionOvertook(Exception):
    """Retention has removed chunks that were about to be read."""


async def read_chunks(
    conn: AsyncConnection[Any], slot: str, span: int, *, after: int, last: int, changes: int
) -> list[Chunk]:
    """Read the next chunks of a span, oldest first.

    Args:
        conn: to the state.
        slot: whose journal.
        span: id of the span.
        after: id of the chunk before; at least the span's `after_chunk` at the time when the window was found.
        last: id of the last chunk that is wanted.
        changes: after so many no further chunk is begun.

    Returns:
        At least one chunk, unless there are no more.

    Raises:
        RetentionOvertook: if chunks behind `after` are gone.
    """
    cursor = conn.cursor(binary=True)
    await cursor.execute(
        _CHUNKS_SQL, {"slot": slot, "span": span, "after": after, "last": last, "changes": changes, "chunks": 2_000}
    )
    rows = await cursor.fetchall()
    if not rows or rows[0][4]:
        raise RetentionOvertook
    return [Chunk(*row[:4]) for row in rows if row[0] is not None]


@lru_cache(maxsize=64)
def parse_relations(text: str) -> Mapping[int, JournalRelation]:
    """Read a chunk's table of relations; the same text gives the same object."""
    return {int(n): JournalRelation(r["table"], tuple(r["columns"])) for n, r in json.loads(text).items()}


_TIME_SQL: LiteralString = """
select id, changes, relations::text, body from cdc.journal
where slot = %(slot)s and id > %(after)s and (%(to)s::bigint is null or id <= %(to)s) and {bound}
order by id {order} limit 1
"""


async def chunk_since(conn: AsyncConnection[Any], slot: str, span: Span, time: datetime) -> Chunk | None:
    """Give the first chunk with a commit at `time` or later."""
    return await _chunk(conn, slot, span, "last_time >= %(time)s", "asc", time)


async def chunk_until(conn: AsyncConnection[Any], slot: str, span: Span, time: datetime) -> Chunk | None:
    """Give the last chunk with a commit at `time` or earlier."""
    return await _chunk(conn, slot, span, "first_time <= %(time)s", "desc", time)


async def _chunk(
    conn: AsyncConnection[Any], slot: str, span: Span, bound: LiteralString, order: LiteralString, time: datetime
) -> Chunk | None:
    cursor = conn.cursor(binary=True)
    query = _TIME_SQL.replace("{bound}", bound).replace("{order}", order)
    await cursor.execute(query, {"slot": slot, "after": span.after_chunk, "to": span.to_chunk, "time": time})
    row = await cursor.fetchone()
    return None if row is None else Chunk(*row)


# What must stay is counted from the newest end, so only the oldest chunks of a slot ever go.
_TRIM_SQL: LiteralString = f"""
with measured as materialized (
    select slot, id, last_time >= now() - make_interval(secs => %(seconds)s)
           and sum({_BYTES}) over (order by id desc) <= %(bytes)s as stays
    from cdc.journal
), bounds as (
    select slot, coalesce(min(id) filter (where stays), max(id) + 1) as first_kept from measured group by slot
), removed as (
    delete from cdc.journal j using bounds b where j.slot = b.slot and j.id < b.first_kept
    returning j.slot, j.id, j.last_lsn, j.last_time
), trimmed as (
    select s.id, max(r.id) as after_chunk, max(r.last_lsn) as last_lsn, max(r.last_time) as last_time
    from removed r
    join cdc.journal_span s on s.slot = r.slot and r.id > s.after_chunk and (s.to_chunk is null or r.id <= s.to_chunk)
    group by s.id
), moved as (
    update cdc.journal_span s
    set after_chunk = t.after_chunk, from_lsn = greatest(s.from_lsn, t.last_lsn + 1),
        from_time = greatest(s.from_time, t.last_time + interval '1 microsecond')
    from trimmed t where s.id = t.id
)
select count(*) from removed
"""
_WORTH_COUNTING: LiteralString = """
select pg_total_relation_size('cdc.journal') > %(bytes)s
    or exists (select from cdc.journal where last_time < now() - make_interval(secs => %(seconds)s))
"""


async def trim(conn: AsyncConnection[Any], *, seconds: float, size: int) -> int:
    """Remove the oldest chunks that are too old or too much, and note how far the journal is complete.

    Args:
        conn: to the state, in autocommit.
        seconds: how long a chunk stays after its last commit.
        size: bytes that the chunks of all slots may take together.

    Returns:
        How many chunks went.
    """
    params = {"seconds": seconds, "bytes": size}
    row = await (await conn.execute(_WORTH_COUNTING, params)).fetchone()
    if row is None or not row[0]:
        return 0
    row = await (await conn.execute(_TRIM_SQL, params)).fetchone()
    await conn.execute("delete from cdc.journal_span where ended_at is not null and after_chunk >= to_chunk")
    return 0 if row is None else int(row[0])


async def changes_between(conn: AsyncConnection[Any], slot: str, after: int, last: int) -> int:
    """Count the changes of the chunks behind `after`, up to `last`."""
    cursor = await conn.execute(
        "select coalesce(sum(changes), 0)::bigint from cdc.journal where slot = %s and id > %s and id <= %s",
        [slot, after, last],
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])
