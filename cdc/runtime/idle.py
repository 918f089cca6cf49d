"""When a run is at its end: nothing is dirty or in flight but what can't move without a person.

Parked keys wait for a person by definition. So does everything behind a pause that time doesn't heal (a revoked token,
a pause by hand), and a record that hangs on a parked one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from psycopg import AsyncConnection, sql

from cdc.routing.feeds import Feed, Profile
from cdc.state.control import BULK_SCOPE, EVERYTHING
from cdc.state.gaps import GAP_UNDECIDED
from cdc.state.truth import view_identifier
from sinks.reasons import Reason

_LASTING_PAUSES: Final = [
    GAP_UNDECIDED,
    *(
        reason.name
        for reason in (
            Reason.TOKEN_INVALID,
            Reason.CLIENT_INVALID,
            Reason.SCOPE_MISSING,
            Reason.NO_PERMISSION,
            Reason.REQUEST_REFUSED,
            Reason.VIEW_UNREADABLE,
            Reason.KEY_NOT_CAPTURED,
        )
    ),
]


async def is_settled(
    source: AsyncConnection[Any],
    state: AsyncConnection[Any],
    profile: Profile,
    *,
    delivers: bool = True,
    urgent_only: bool = False,
) -> bool:
    """Tell whether everything is delivered that can be.

    Args:
        source: the database with the views.
        state: the database with the outbox.
        profile: the feeds.
        delivers: False if nothing is sent, so that nothing but capture is waited for.
        urgent_only: look at the lane `live` only.
    """
    stuck = set(profile.feeds) if not delivers else await _stuck_feeds(state, profile)
    if await _is_moving(state, stuck, urgent_only=urgent_only):
        return False
    for feed in profile.feeds.values():
        if feed.name in stuck or feed.needs is None or feed.needs in stuck:
            continue
        if not await _all_wait_for_parked(source, state, feed):
            return False
    return True


async def _stuck_feeds(state: AsyncConnection[Any], profile: Profile) -> set[str]:
    rows = await (
        await state.execute(
            # Once its time is over it is tried again, and that has to be waited for.
            "select scope from cdc.control where reason = any(%s) and paused_until > now()"
            " union all select scope from cdc.pause where paused_until > now()",
            [_LASTING_PAUSES],
        )
    ).fetchall()
    scopes = {row[0] for row in rows}
    return {
        feed.name for feed in profile.feeds.values() if scopes & {EVERYTHING, feed.name, feed.sink.partition(".")[0]}
    }


async def _is_moving(state: AsyncConnection[Any], stuck: Collection[str], *, urgent_only: bool) -> bool:
    """Look for a key that is claimed, or that isn't and could be."""
    cursor = await state.execute(
        """
        select exists (
            select from cdc.outbox
            where parked_at is null and (lane = 'live' or not %(urgent_only)s)
              and (claimed_until > now()
                   or feed <> all(%(stuck)s) and reason is distinct from 'PARENT_NOT_DELIVERED'
                      and (lane <> 'bulk' or not exists (
                          select from cdc.pause where scope = %(bulk_scope)s and paused_until > now()))))
        """,
        {"stuck": list(stuck), "urgent_only": urgent_only, "bulk_scope": BULK_SCOPE},
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def _all_wait_for_parked(source: AsyncConnection[Any], state: AsyncConnection[Any], feed: Feed) -> bool:
    """Tell whether each key of the feed that waits for another record waits for a parked one."""
    rows = await (
        await state.execute(
            "select key from cdc.outbox where feed = %s and parked_at is null and reason = 'PARENT_NOT_DELIVERED'",
            [feed.name],
        )
    ).fetchall()
    if not rows:
        return True
    key, parent = sql.Identifier("v", feed.key), sql.Identifier("v", feed.parent or "")
    query = sql.SQL("select {key}::text, {parent}::text from {view} as v where {key}::text = any(%s)")
    waits = await (
        await source.execute(
            query.format(key=key, parent=parent, view=view_identifier(feed)), [[row[0] for row in rows]]
        )
    ).fetchall()
    if {key for key, _ in waits} != {row[0] for row in rows}:
        return False  # one has left its view and is about to be settled
    parents = {parent for _, parent in waits}
    parked = await (
        await state.execute(
            "select key from cdc.outbox where feed = %s and parked_at is not null and key = any(%s)",
            [feed.needs, list(parents)],
        )
    ).fetchall()
    return parents == {row[0] for row in parked}
