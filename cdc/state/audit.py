"""Who did what by hand: on the command line, or on the dashboard. Only added to; the database refuses a change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

RETENTION: LiteralString = "delete from cdc.audit where at < now() - interval '400 days'"
"""What housekeeping runs; the database lets nothing younger go."""
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something that a person did.

    Attributes:
        id: in the order of writing; a page of entries begins below one.
        actor: `cli:<account>@<machine>` or `web:<name>`.
        action: dotted words, such as `failures.retry`.
        subject: what it was done to: feeds, keys, reasons. Never a value of a row.
        count: how many records or keys it met.
        because: the person's words; may be empty.
    """

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    count: int
    because: str


async def record(
    conn: AsyncConnection[Any], *, actor: str, action: str, subject: str, count: int = 1, because: str = ""
) -> None:
    """Write down what a person does, best in the transaction that does it.

    Signs that can't be stored or would tear a line apart are left out, and what is too long is cut.
    """
    await conn.execute(
        "insert into cdc.audit (actor, action, subject, count, because) values (%s, %s, %s, %s, %s)",
        [_line(actor), _line(action), _line(subject), count, _line(because)],
    )


async def entries(conn: AsyncConnection[Any], *, before: int | None = None, limit: int = 50) -> list[Entry]:
    """List what was done, newest first.

    Args:
        conn: any state connection.
        before: only what was written before the entry with this id; the last one of the page above.
        limit: entries at most.
    """
    cursor = await conn.execute(
        "select id, at, actor, action, subject, count, because from cdc.audit"
        " where id < coalesce(%s::bigint, 9223372036854775807) order by id desc limit %s",
        [before, limit],
    )
    names = ("id", "at", "actor", "action", "subject", "count", "because")
    return [Entry(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]


def _line(text: str) -> str:
    """Make one line of it: no control signs, no halves of signs, no directions that turn what follows around."""
    kept = "".join(sign if sign.isprintable() else " " for sign in text)
    words = " ".join(kept.split())
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
