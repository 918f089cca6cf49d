"""A person's pauses: what delivers nothing because somebody said so.

They stand in a table of their own. A failure's pause, a broken feed or a gap's hold (`cdc.control`) may stand beside
one of them, and neither lifts the other. There is no probe: such a pause ends with its time or with a person's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from cdc.state.outbox import NOTIFY_SQL


@dataclass(frozen=True, slots=True)
class Hold:
    """A pause by hand; `until` is None where only a person ends it."""

    scope: str
    until: datetime | None
    actor: str
    because: str
    at: datetime


async def pause(
    conn: AsyncConnection[Any], scope: str, *, actor: str, because: str = "", seconds: float | None = None
) -> None:
    """Pause a scope on a person's word; a later word replaces an earlier one.

    Args:
        conn: any state connection.
        scope: `control.EVERYTHING`, a feed, or `control.BULK_SCOPE`.
        actor: who says so.
        because: why.
        seconds: for how long; None until it is resumed.
    """
    await conn.execute(
        """
        insert into cdc.pause (scope, paused_until, actor, because)
        values (%(scope)s, coalesce(now() + make_interval(secs => %(seconds)s), 'infinity'), %(actor)s, %(because)s)
        on conflict (scope) do update set paused_until = excluded.paused_until, actor = excluded.actor,
            because = excluded.because, paused_at = excluded.paused_at
        """,
        {"scope": scope, "seconds": seconds, "actor": actor, "because": because},
    )


async def resume(conn: AsyncConnection[Any], scopes: Sequence[str] | None = None) -> list[str]:
    """End pauses by hand, and wake the workers.

    Args:
        conn: any state connection.
        scopes: which; None for all of them.

    Returns:
        The scopes that were paused.
    """
    async with conn.transaction():
        cursor = await conn.execute(
            """
            with gone as (
                delete from cdc.pause where %(scopes)s::text[] is null or scope = any(%(scopes)s)
                returning scope, paused_until
            )
            select scope from gone where paused_until > now() order by scope
            """,
            {"scopes": None if scopes is None else list(scopes)},
        )
        resumed = [str(row[0]) for row in await cursor.fetchall()]
        await conn.execute(NOTIFY_SQL)
    return resumed


async def holds(conn: AsyncConnection[Any]) -> list[Hold]:
    """Give the pauses by hand that are in force."""
    cursor = await conn.execute(
        "select scope, nullif(paused_until, 'infinity'), actor, because, paused_at from cdc.pause"
        " where paused_until > now() order by scope"
    )
    return [Hold(*row) for row in await cursor.fetchall()]
