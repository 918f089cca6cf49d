"""Feeds that are broken: something that they are made of is gone from the source, and the others go on.

A broken feed is a pause without an end in `cdc.control`. It ends when what was broken is found whole again and the feed
has been swept, since nobody heard what changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from cdc.state.outbox import NOTIFY_SQL
from sinks.reasons import Reason

_REASONS: Final = [Reason.KEY_NOT_CAPTURED.name, Reason.VIEW_UNREADABLE.name]


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a feed is broken. `words` names the table, column or view."""

    reason: Reason
    words: str


@dataclass(frozen=True, slots=True)
class BrokenFeed:
    """A feed that is on record as broken; `at` tells this record from a later one."""

    broken: Broken
    at: datetime


_MARK_SQL: LiteralString = """
insert into cdc.control as c (scope, paused_until, reason, detail, failures)
select b.scope, 'infinity', b.reason, b.detail, 1
from unnest(%(scopes)s::text[], %(reasons)s::text[], %(details)s::text[]) as b (scope, reason, detail)
order by b.scope
on conflict (scope) do update set
    paused_until = excluded.paused_until, reason = excluded.reason, detail = excluded.detail, updated_at = now()
"""


async def mark_broken(conn: AsyncConnection[Any], feeds: Mapping[str, Broken]) -> None:
    """Put on record that feeds are broken, in the caller's transaction."""
    await conn.execute(
        _MARK_SQL,
        {
            "scopes": list(feeds),
            "reasons": [broken.reason.name for broken in feeds.values()],
            "details": [broken.words for broken in feeds.values()],
        },
    )


async def broken_feeds(conn: AsyncConnection[Any]) -> dict[str, BrokenFeed]:
    """Give the feeds that are on record as broken."""
    cursor = await conn.execute(
        "select scope, reason, detail, updated_at from cdc.control"
        " where paused_until = 'infinity' and reason = any(%s) order by scope",
        [_REASONS],
    )
    return {
        scope: BrokenFeed(Broken(Reason[reason], detail), at) for scope, reason, detail, at in await cursor.fetchall()
    }


async def mark_mended(conn: AsyncConnection[Any], feed: str, at: datetime) -> bool:
    """Let a feed go on, unless it broke again since `at`. Tells whether it goes on."""
    cursor = await conn.execute("delete from cdc.control where scope = %s and updated_at = %s", [feed, at])
    await conn.execute(NOTIFY_SQL)
    return cursor.rowcount > 0
