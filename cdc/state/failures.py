"""Parked keys: what failed for good, for a person to look at, retry or dismiss."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection

from cdc.lsn import Lsn
from cdc.routing.feeds import Lane
from cdc.state import synclog
from cdc.state.outbox import NOTIFY_SQL
from cdc.state.synclog import LogLine, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A parked key.

    Attributes:
        reason: a name of `sinks.reasons`.
        detail: codes and field names, never values.
        dirty_at: commit time of the oldest change that is held up.
    """

    feed: str
    key: str
    lane: Lane
    reason: str
    detail: str
    attempts: int
    parked_at: datetime
    dirty_at: datetime
    first_lsn: Lsn | None
    last_lsn: Lsn | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which parked keys; None leaves a criterion open.

    Attributes:
        since: parked at that time or later.
        until: parked at that time or before, so that who confirms a number gets no more than that.
        without: none with this reason.
    """

    feed: str | None = None
    keys: Collection[str] | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    without: str | None = None

    def params(self) -> dict[str, Any]:
        """Give the parameters of `_SELECTED`."""
        return {
            "feed": self.feed,
            "keys": None if self.keys is None else list(self.keys),
            "reason": self.reason,
            "since": self.since,
            "until": self.until,
            "without": self.without,
        }


_SELECTED: LiteralString = """
parked_at is not null
and (%(feed)s::text is null or feed = %(feed)s)
and (%(keys)s::text[] is null or key = any(%(keys)s))
and (%(reason)s::text is null or reason = %(reason)s)
and (%(since)s::timestamptz is null or parked_at >= %(since)s)
and (%(until)s::timestamptz is null or parked_at <= %(until)s)
and (%(without)s::text is null or reason <> %(without)s)
"""
# A row comparison can't be used here: the time descends and the rest ascends. The index gives the time's part.
_BEHIND: LiteralString = """
parked_at <= %(at)s and (parked_at < %(at)s or (feed, key) > (%(after_feed)s, %(after_key)s))
"""

_COLUMNS: LiteralString = (
    "feed, key, lane, reason, coalesce(detail, ''), attempts, parked_at, dirty_at, first_lsn::text, last_lsn::text"
)


async def failures(
    conn: AsyncConnection[Any],
    selection: Selection,
    *,
    limit: int = 100,
    after: tuple[datetime, str, str] | None = None,
) -> list[Failure]:
    """List parked keys, the latest first.

    Args:
        conn: any state connection.
        selection: which.
        limit: rows at most.
        after: time, feed and key of the last row of the page before; None for the first page.
    """
    behind: LiteralString = "" if after is None else f"and {_BEHIND}"
    at, feed, key = after or (None, None, None)
    cursor = await conn.execute(
        f"select {_COLUMNS} from cdc.outbox where {_SELECTED} {behind} order by parked_at desc, feed, key"
        " limit %(limit)s",
        {**selection.params(), "limit": limit, "at": at, "after_feed": feed, "after_key": key},
    )
    return [_failure(row) for row in await cursor.fetchall()]


async def count(conn: AsyncConnection[Any], selection: Selection) -> tuple[int, datetime]:
    """Count parked keys; gives the number, and the database's time at which it was right."""
    cursor = await conn.execute(f"select count(*), now() from cdc.outbox where {_SELECTED}", selection.params())
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - an aggregate always gives a row
    return int(row[0]), row[1]


async def failure(conn: AsyncConnection[Any], feed: str, key: str) -> Failure | None:
    """Give one parked key; None if it isn't parked."""
    found = await failures(conn, Selection(feed=feed, keys=[key]), limit=1)
    return found[0] if found else None


async def failure_counts(conn: AsyncConnection[Any]) -> list[tuple[str, str, int]]:
    """Count parked keys by feed and reason."""
    cursor = await conn.execute(
        "select feed, reason, count(*) from cdc.outbox where parked_at is not null group by 1, 2 order by 1, 2"
    )
    return await cursor.fetchall()


_CHOSEN: LiteralString = f"""
with chosen as materialized (
    select feed, key, nextval('cdc.generation') as fresh
    from cdc.outbox where {_SELECTED} order by feed collate "C", key collate "C" for update
)
"""

# What the breaker held goes as it was held; of other records a person wants to see everything sent again.
_RETRY_SQL: LiteralString = f"""
{_CHOSEN}
update cdc.outbox o
set parked_at = null, attempts = 0, due_at = now(), lane = 'live', generation = c.fresh, approved = c.fresh,
    forced = o.forced or o.reason not in ('HELD_BY_BREAKER', 'REJECTED'),
    approved_for = case when o.reason in ('HELD_BY_BREAKER', 'REJECTED') then coalesce(o.detail, 'withdrawal') end
from chosen c
where o.feed = c.feed and o.key = c.key
"""


async def retry(conn: AsyncConnection[Any], selection: Selection) -> int:
    """Let parked keys try again now, sending all their fields. Returns how many.

    The breaker lets them pass: what it held as it was held, of the others any update. A change that arrives in between
    takes that back.
    """
    cursor = await conn.execute(_RETRY_SQL, selection.params())
    await conn.execute(NOTIFY_SQL)
    return cursor.rowcount


_DISCARD_SQL: LiteralString = f"""
{_CHOSEN}
delete from cdc.outbox o using chosen c
where o.feed = c.feed and o.key = c.key
returning o.feed, o.key, o.reason, o.attempts
"""


async def discard(conn: AsyncConnection[Any], selection: Selection, because: str) -> int:
    """Take parked keys out of the outbox undelivered, and write down why. Returns how many.

    The next change of such a key, or the next sweep, brings it back.

    Args:
        conn: in autocommit.
        selection: which.
        because: a person's words; they go into the log.

    Raises:
        ValueError: if `because` is blank.
    """
    words = because.strip()
    if not words:
        raise ValueError("say why these failures are discarded")
    async with conn.transaction():
        rows = await (await conn.execute(_DISCARD_SQL, selection.params())).fetchall()
        lines = [
            LogLine(
                user_id=None,
                feed=feed,
                action="discard",
                status=Status.FAILED,
                record_id=key,
                reason=reason,
                message=f"discarded: {words}",
                attempts=attempts,
            )
            for feed, key, reason, attempts in rows
        ]
        await synclog.write(conn, lines)
    return len(rows)


def _failure(row: tuple[Any, ...]) -> Failure:
    feed, key, lane, reason, detail, attempts, parked_at, dirty_at, first_lsn, last_lsn = row
    return Failure(
        feed=feed,
        key=key,
        lane=Lane(lane),
        reason=reason,
        detail=detail,
        attempts=attempts,
        parked_at=parked_at,
        dirty_at=dirty_at,
        first_lsn=None if first_lsn is None else Lsn.parse(first_lsn),
        last_lsn=None if last_lsn is None else Lsn.parse(last_lsn),
    )
