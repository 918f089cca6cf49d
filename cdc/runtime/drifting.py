"""Sets broken feeds aside, and takes mended ones back, when the source has what they are made of again."""

from __future__ import annotations

from typing import Any

import structlog
from psycopg import AsyncConnection

from cdc.errors import ProfileError
from cdc.repair.sweep import sweep_feed
from cdc.routing.feeds import Profile
from cdc.source.drift import find_broken
from cdc.state.broken import BrokenFeed, broken_feeds, mark_broken, mark_mended

log = structlog.get_logger()


class Drift:
    """Looks at the catalogue for the watch.

    Args:
        profile: all feeds.
        publication: its name.
        hash_key: of the ledger; a feed that is whole again is swept.
    """

    def __init__(self, profile: Profile, publication: str, hash_key: bytes) -> None:
        self._profile = profile
        self._publication = publication
        self._hash_key = hash_key
        self._mending: dict[str, int] = {}

    @property
    def is_mending(self) -> bool:
        """True while a feed that is whole again waits for transactions that were open, so that looking soon pays."""
        return bool(self._mending)

    async def look(self, source: AsyncConnection[Any], state: AsyncConnection[Any]) -> None:
        """Look once: put what is broken on record, and mend what is whole."""
        found = await find_broken(source, self._profile, self._publication)
        known = await broken_feeds(state)
        news = {f: b for f, b in found.items() if f not in known or known[f].broken != b}
        if news:
            await mark_broken(state, news)
        for feed, broken in news.items():
            log.error("feed_broken", feed=feed, reason=broken.reason.name, what=broken.words, fix=broken.reason.hint)
        whole = {f: b for f, b in known.items() if f in self._profile.feeds and f not in found}
        self._mending = {feed: xid for feed, xid in self._mending.items() if feed in whole}
        for feed, broken_feed in whole.items():
            await self._mend(source, state, feed, broken_feed)

    async def _mend(
        self, source: AsyncConnection[Any], state: AsyncConnection[Any], feed: str, known: BrokenFeed
    ) -> None:
        """Sweep a feed that is whole again, and let it go on.

        What a transaction wrote before it was mended isn't in the stream even if it commits afterwards, so the sweep
        waits for those that are open now.
        """
        row = await (
            await source.execute(
                "select pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint"
                " from pg_current_snapshot() as s"
            )
        ).fetchone()
        oldest, following = row or (0, 0)
        if oldest < self._mending.setdefault(feed, following):
            return
        try:
            sweep = await sweep_feed(source, state, self._profile.feeds[feed], self._hash_key, with_parked=True)
        except ProfileError as error:
            log.warning("sweep_failed", feed=feed, error=error.message)
            return
        if await mark_mended(state, feed, known.at):
            del self._mending[feed]
            log.info("feed_mended", feed=feed, marked=sweep.marked)
