"""Watches that the source has what the feeds are made of; sets broken feeds aside, and takes mended ones back."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection

from cdc.errors import ProfileError
from cdc.repair.sweep import sweep_feed
from cdc.routing.feeds import Profile
from cdc.runtime.connections import Connections
from cdc.source.capture import Capture
from cdc.source.drift import find_broken
from cdc.state.broken import BrokenFeed, broken_feeds, mark_broken, mark_mended
from cdc.waiting import wait_at_most

log = structlog.get_logger()

_LOOK_SECONDS: Final = 15.0
_MENDING_SECONDS: Final = 1.0


class DriftWatch:
    """Looks at the catalogue while this process captures.

    Args:
        connections: open.
        profile: all feeds.
        publication: its name.
        capture: says whether this process captures.
    """

    def __init__(self, connections: Connections, profile: Profile, publication: str, capture: Capture) -> None:
        self._connections = connections
        self._profile = profile
        self._publication = publication
        self._capture = capture
        self._mending: dict[str, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set."""
        while not stop.is_set():
            seconds = _MENDING_SECONDS
            if self._capture.stats.state == "capturing":
                try:
                    await self._look()
                    seconds = _MENDING_SECONDS if self._mending else _LOOK_SECONDS
                except psycopg.Error as error:
                    log.warning("drift_not_looked_for", error=type(error).__name__, code=error.sqlstate)
            await wait_at_most(stop, seconds)

    async def _look(self) -> None:
        connections = self._connections
        async with connections.source.connection() as source, connections.state.connection() as state:
            found = await find_broken(source, self._profile, self._publication)
            known = await broken_feeds(state)
            news = {f: b for f, b in found.items() if f not in known or known[f].broken != b}
            if news:
                await mark_broken(state, news)
            for feed, broken in news.items():
                log.error(
                    "feed_broken", feed=feed, reason=broken.reason.name, what=broken.words, fix=broken.reason.hint
                )
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
            sweep = await sweep_feed(
                source, state, self._profile.feeds[feed], self._connections.hash_key, with_parked=True
            )
        except ProfileError as error:
            log.warning("sweep_failed", feed=feed, error=error.message)
            return
        if await mark_mended(state, feed, known.at):
            del self._mending[feed]
            log.info("feed_mended", feed=feed, marked=sweep.marked)
