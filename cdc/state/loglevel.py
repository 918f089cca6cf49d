"""The log level that a person has set for all processes while they run."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection


async def set_level(conn: AsyncConnection[Any], level: str, *, actor: str, seconds: float | None = None) -> None:
    """Have all processes log at a level, for some seconds or until another word."""
    await conn.execute(
        """
        insert into cdc.log_level (level, until, actor)
        values (%(level)s, coalesce(now() + make_interval(secs => %(seconds)s), 'infinity'), %(actor)s)
        on conflict (one) do update set level = excluded.level, until = excluded.until, actor = excluded.actor,
            set_at = now()
        """,
        {"level": level, "seconds": seconds, "actor": actor},
    )


async def clear_level(conn: AsyncConnection[Any]) -> bool:
    """Have each process log at its own level again. Tells whether another one was set."""
    cursor = await conn.execute("delete from cdc.log_level")
    return cursor.rowcount > 0
