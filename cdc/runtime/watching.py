"""What the capturing process looks at beside the stream: the slot's runway, the publication, and the feeds' tables.

Postgres 18 skips what isn't published without a word, so somebody has to look. One look does both that follows from it:
the feeds that are broken are set aside (`drifting`), and the stretch of the stream that misses something is a gap.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import psycopg
import structlog

from cdc.errors import CdcError
from cdc.routing.feeds import Profile
from cdc.routing.router import build_routes
from cdc.runtime.connections import Connections
from cdc.runtime.drifting import Drift
from cdc.source.capture import Capture
from cdc.source.publication import find_breaches, read_fingerprint
from cdc.state.breaches import close_breach, open_breach
from cdc.waiting import wait_at_most
from cdc.watch.slot import read_slot_health, take_sample

log = structlog.get_logger()

WATCH_SECONDS: Final = 15.0
_STEP_SECONDS: Final = 1.0
RUNWAY_ALARM_SECONDS: Final = 6 * 3_600.0
"""A slot that will be lost sooner than this is worth a warning."""


class Watch:
    """Looks every quarter of a minute, while this process captures, and as soon as it begins to.

    Args:
        connections: open.
        profile: whose tables must be published.
        slot: its name.
        publication: its name.
        capture: whose state says that this is the process, and which owes a sweep when a breach is mended.
    """

    def __init__(
        self, connections: Connections, profile: Profile, slot: str, publication: str, capture: Capture
    ) -> None:
        self._connections = connections
        self._routes = build_routes(profile)
        self._slot = slot
        self._publication = publication
        self._capture = capture
        self._drift = Drift(profile, publication, connections.hash_key)
        self._breaches: list[str] = []
        self._short = False

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop` is set."""
        due_at, before = 0.0, ""
        while not stop.is_set():
            now = self._capture.stats.state
            is_due = time.monotonic() >= due_at or (now == "capturing" != before)
            if is_due and now in {"capturing", "reconnecting"}:
                due_at = time.monotonic() + WATCH_SECONDS
                await self._try(whole=True)
            elif now == "capturing" and self._drift.is_mending:
                await self._try(whole=False)
            before = now
            await wait_at_most(stop, min(_STEP_SECONDS, WATCH_SECONDS))

    async def _try(self, *, whole: bool) -> None:
        try:
            await self._look(whole=whole)
        except (psycopg.Error, CdcError) as error:  # the database comes back, and so does the watch
            log.warning("watch_interrupted", error=type(error).__name__)

    async def _look(self, *, whole: bool) -> None:
        """Look at everything, or only at feeds that are being mended.

        The feeds come first: what keeps the publication from being judged (a table without any identity) breaks one.
        While the stream is away they are left alone, since the database behind the connection may be another one.
        """
        connections = self._connections
        async with connections.source.connection() as source, connections.state.connection() as state:
            if self._capture.stats.state == "capturing":
                await self._drift.look(source, state)
            if not whole:
                return
            await take_sample(source, state, self._slot)
            breaches = await find_breaches(source, self._publication, self._routes)
            if breaches:
                await open_breach(state, self._slot, "; ".join(breaches))
            elif await close_breach(state, self._slot, await read_fingerprint(source, self._publication)):
                log.warning("publication_mended", publication=self._publication, repair="a sweep follows")
                self._capture.sweep_due.set()
            health = await read_slot_health(source, state, self._slot)
        self._say(breaches, health.runway_seconds)

    def _say(self, breaches: list[str], runway: float | None) -> None:
        """Log what is new; not every quarter of a minute."""
        if breaches and breaches != self._breaches:
            log.error("publication_incomplete", breaches=breaches, fix="run `cdc setup`; a sweep follows")
        self._breaches = breaches
        short = runway is not None and runway < RUNWAY_ALARM_SECONDS
        if short and not self._short:
            log.error("slot_runway_short", slot=self._slot, lost_in_seconds=round(runway or 0), fix="see `cdc slot`")
        self._short = short
