"""Statements of set-up, and how long each may wait for a lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from psycopg import AsyncConnection, errors, sql
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random

from cdc.errors import SourceError
from cdc.source.slots import read_writers, saying_what_it_waits_for

_SLOT_SECONDS: Final = 60  # creating a slot waits for every transaction that is writing now
_BRIEF_LOCK_SECONDS: Final = 30  # of tries


class Pace(Enum):
    """What a statement holds up; the value is its lock_timeout."""

    ORDINARY = "5s"
    BRIEF_LOCK = "200ms"  # an exclusive lock on an application's table: everybody queues behind who waits for it
    CONCURRENT = "10min"  # blocks nobody, but waits for transactions that are open


@dataclass(frozen=True, slots=True)
class Condition:
    """A query that must give true, and what it means if it doesn't."""

    query: str
    otherwise: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing to run, and why.

    Attributes:
        given: what must hold right before.
    """

    sql: str
    why: str
    pace: Pace = Pace.ORDINARY
    given: Condition | None = None


async def run_setup(conn: AsyncConnection[Any], statements: Sequence[Statement]) -> None:
    """Run them, each on its own; the first that fails ends it, so nothing is published on a half-made identity.

    Raises:
        SourceError: naming the statement that failed and the server's words.
    """
    for statement in statements:
        try:
            await _run(conn, statement)
        except errors.Error as error:
            await conn.rollback()
            words = error.diag.message_primary or type(error).__name__
            raise SourceError(
                f"set-up failed while it wanted to {statement.why}: {words}",
                fix=await _blockers(conn) or f"run it by hand and start again:\n{statement.sql}",
            ) from None
        finally:
            if not conn.closed:
                await conn.execute("set lock_timeout = 0; set statement_timeout = 0")


async def _run(conn: AsyncConnection[Any], statement: Statement) -> None:
    seconds = 0 if statement.pace is Pace.CONCURRENT else _SLOT_SECONDS
    await conn.execute(f"set lock_timeout = '{statement.pace.value}'; set statement_timeout = '{seconds}s'")
    if statement.given is not None:
        row = await (await conn.execute(statement.given.query.encode())).fetchone()
        if row is None or not row[0]:
            raise SourceError(f"set-up can't {statement.why}: {statement.given.otherwise}", fix="run `cdc setup` again")
    tries = AsyncRetrying(
        retry=retry_if_exception_type(errors.LockNotAvailable),
        stop=stop_after_delay(_BRIEF_LOCK_SECONDS if statement.pace is Pace.BRIEF_LOCK else 0),
        wait=wait_random(0.2, 1.0),  # readers that queued behind us go first
        reraise=True,
    )
    async with saying_what_it_waits_for(conn, statement.why):
        await tries(conn.execute, statement.sql.encode())


async def _blockers(conn: AsyncConnection[Any]) -> str | None:
    """Name transactions that have been open for a while: they are what slot creation and ALTER TABLE wait for."""
    if conn.closed:
        return None
    rows = await read_writers(conn)
    if not rows:
        return None
    open_for = ", ".join(f"pid {pid} for {seconds} s" for pid, seconds in rows)
    return f"end the transactions that are open ({open_for}): SELECT pg_terminate_backend({rows[0][0]});"


def template(text: str) -> sql.SQL:
    """Mark a template of ours as SQL; only identifiers and literals are put into it."""
    return sql.SQL(text)


def as_text(form: sql.SQL, *parts: sql.Composable) -> str:
    """Give the text of a template with its parts."""
    return form.format(*parts).as_string(None)


def relation(name: str) -> sql.Identifier:
    """Quote a qualified table name."""
    return sql.Identifier(*name.split("."))
