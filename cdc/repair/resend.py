"""Sending named records again: what a person asks for who doesn't believe the ledger about them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection

from cdc.routing.feeds import Feed, Lane
from cdc.state.outbox import Mark, mark
from cdc.state.truth import Truth

CAUSE = "by hand"
"""What the outbox says of it."""


async def resend(
    source: AsyncConnection[Any], state: AsyncConnection[Any], feed: Feed, keys: Collection[str]
) -> tuple[list[str], list[str]]:
    """Mark records dirty in the lane `live`, to be sent whole even if the ledger calls them equal.

    A record that somebody deleted in the CRM is made again so; an event is still sent once.

    Args:
        source: where the view is.
        state: in autocommit or in a transaction.
        feed: theirs.
        keys: of the view, as text.

    Returns:
        The keys that were marked, and those that are neither in the view nor in the ledger.

    Raises:
        ProfileError: if the view can't be looked up.
    """
    wanted = sorted(set(keys))
    present = await (await Truth.open(source, feed)).present(source, wanted)
    cursor = await state.execute("select key from cdc.ledger where feed = %s and key = any(%s)", [feed.name, wanted])
    known = present | {row[0] for row in await cursor.fetchall()}
    marked = [key for key in wanted if key in known]
    now = datetime.now(UTC)
    await mark(
        state,
        [Mark(feed=feed.name, key=key, lane=Lane.LIVE, dirty_at=now, forced=True) for key in marked],
        cause=CAUSE,
    )
    return marked, [key for key in wanted if key not in known]
