"""What goes through many records at the moment: sweeps and a replay, and how far they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True)
class Replaying:
    """A replay that isn't finished.

    Attributes:
        read: changes so far.
        left: changes in the chunks that are still to be read.
        marked: keys.
        moved_at: when it last got on; long ago means that it was broken off.
    """

    id: int
    feeds: Sequence[str]
    from_lsn: str
    to_lsn: str
    read: int
    left: int
    marked: int
    started_at: datetime
    moved_at: datetime

    @property
    def share(self) -> float:
        """How much of it is read."""
        return self.read / (self.read + self.left) if self.read + self.left else 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What is under way.

    Attributes:
        sweeping: feeds of which a sweep or a replay marks keys right now.
        replay: the newest one that isn't finished.
    """

    sweeping: Sequence[str]
    replay: Replaying | None


# Whoever marks holds a lock (`state.backlog.marking`); it is only tried here, and given back with the statement.
_SQL: LiteralString = """
select array(select f from unnest(%(feeds)s::text[]) f
             where not pg_try_advisory_xact_lock_shared(hashtextextended('cdc.marking ' || f, 0))),
       r.id, r.feeds, r.from_lsn::text, r.to_lsn::text, r.changes,
       (select coalesce(sum(j.changes), 0)::bigint from cdc.journal j
        where j.slot = r.slot and j.id > r.cursor_chunk and j.id <= r.to_chunk),
       r.marked, r.started_at, r.updated_at
from (values (1)) as one
left join lateral (
    select * from cdc.replay where slot = %(slot)s and state = 'unfinished' order by id desc limit 1
) as r on true
"""


async def read_progress(conn: AsyncConnection[Any], slot: str, feeds: Collection[str]) -> Progress:
    """Look at what is under way, in one statement.

    Args:
        conn: in autocommit.
        slot: whose replays.
        feeds: whose sweeps.
    """
    row = await (await conn.execute(_SQL, {"slot": slot, "feeds": sorted(feeds)})).fetchone()
    if row is None:
        return Progress((), None)
    sweeping, *replay = row
    return Progress(sweeping, None if replay[0] is None else Replaying(*replay))
