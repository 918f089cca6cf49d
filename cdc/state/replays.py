"""Replays on record: what was asked, and how far it got, so that one that was broken off can be taken up again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

_COLUMNS: LiteralString = """
id, slot, requested_by, span, from_lsn::text, to_lsn::text, feeds, keys, forced, to_chunk, cursor_chunk, generation,
changes, marked, state, started_at, finished_at
"""


@dataclass(frozen=True, slots=True)
class Replay:
    """A row of cdc.replay; see there. LSNs are text as Postgres prints them."""

    id: int
    slot: str
    requested_by: str
    span: int
    from_lsn: str
    to_lsn: str
    feeds: Sequence[str]
    keys: Sequence[str] | None
    forced: bool
    to_chunk: int
    cursor_chunk: int
    generation: int
    changes: int
    marked: int
    state: str
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReplay:
    """What a replay is begun with; see cdc.replay."""

    slot: str
    span: int
    from_lsn: str
    to_lsn: str
    feeds: Sequence[str]
    keys: Sequence[str] | None
    forced: bool
    to_chunk: int
    cursor_chunk: int


async def generation(conn: AsyncConnection[Any]) -> int:
    """Give the newest generation that any mark has got so far."""
    row = await (await conn.execute("select last_value from cdc.generation")).fetchone()
    return 0 if row is None else int(row[0])


async def begin(conn: AsyncConnection[Any], new: NewReplay, *, client: str) -> Replay:
    """Put a replay on record.

    Args:
        conn: to the state.
        new: what was asked.
        client: the program and machine that asks; the database role is added.
    """
    cursor = conn.cursor(row_factory=class_row(Replay))
    await cursor.execute(
        f"""
        insert into cdc.replay (slot, requested_by, span, from_lsn, to_lsn, feeds, keys, forced, to_chunk, cursor_chunk,
                                generation)
        values (%s, session_user || ', ' || %s, %s, %s::pg_lsn, %s::pg_lsn, %s, %s, %s, %s, %s,
                (select last_value from cdc.generation))
        returning {_COLUMNS}
        """,
        [
            new.slot, client, new.span, new.from_lsn, new.to_lsn, list(new.feeds),
            None if new.keys is None else list(new.keys), new.forced, new.to_chunk, new.cursor_chunk,
        ],
    )  # fmt: skip
    made = await cursor.fetchone()
    assert made is not None  # noqa: S101 - an insert that returns gives a row
    return made


async def unfinished(conn: AsyncConnection[Any], slot: str) -> Replay | None:
    """Give the newest replay that was broken off or is under way."""
    cursor = conn.cursor(row_factory=class_row(Replay))
    await cursor.execute(
        f"select {_COLUMNS} from cdc.replay where slot = %s and state = 'unfinished' order by id desc limit 1", [slot]
    )
    return await cursor.fetchone()


async def advance(conn: AsyncConnection[Any], replay: int, *, cursor: int, changes: int, marked: int) -> None:
    """Note that the keys of all chunks up to `cursor` are marked; `changes` and `marked` are added."""
    await conn.execute(
        "update cdc.replay set cursor_chunk = %s, changes = changes + %s, marked = marked + %s, updated_at = now()"
        " where id = %s",
        [cursor, changes, marked, replay],
    )


async def finish(conn: AsyncConnection[Any], replay: int) -> None:
    """Note that all is marked."""
    await conn.execute(
        "update cdc.replay set state = 'finished', updated_at = now(), finished_at = now() where id = %s", [replay]
    )


@asynccontextmanager
async def held(conn: AsyncConnection[Any], replay: int) -> AsyncIterator[bool]:
    """Keep others from taking up the same replay, for the length of the block; gives False if somebody has it."""
    lock = "hashtextextended('cdc.replay.' || %s, 0)"
    row = await (await conn.execute(f"select pg_try_advisory_lock({lock})", [replay])).fetchone()
    if row is None or not row[0]:
        yield False
        return
    try:
        yield True
    finally:
        if not conn.closed and not conn.broken:
            await conn.execute(f"select pg_advisory_unlock({lock})", [replay])


@dataclass(frozen=True, slots=True)
class Waiting:
    """What has become of the keys that a replay marked; those that were delivered are in neither number.

    Attributes:
        left: wait or are under way.
        parked: failed for good.
    """

    left: int
    parked: int


async def waiting(conn: AsyncConnection[Any], replay: Replay, newest: int) -> Waiting:
    """Count the keys that are still to be delivered.

    A key is taken for the replay's if its generation fell while it marked. So a live change of that time counts as
    well; a key that changed later is no longer counted: what comes of it is the live change's.

    Args:
        conn: to the state.
        replay: whose feeds and keys.
        newest: the generation when it had marked everything.
    """
    cursor = conn.cursor(row_factory=class_row(Waiting))
    await cursor.execute(
        """
        select count(*) filter (where parked_at is null and coalesce(deferred_until, now()) <= now()) as left,
               count(*) filter (where parked_at is not null) as parked
        from cdc.outbox
        where feed = any(%s) and (%s::text[] is null or key = any(%s)) and generation > %s and generation <= %s
        """,
        [list(replay.feeds), replay.keys, replay.keys, replay.generation, newest],
    )
    return await cursor.fetchone() or Waiting(0, 0)
