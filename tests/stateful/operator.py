"""The person who looks after the pipeline: holds and resumes, retries what is parked, sweeps and replays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from cdc.repair.sweep import sweep_feed
from cdc.routing.feeds import Lane
from cdc.state import control, failures, pauses
from cdc.state.failures import Selection
from cdc.state.outbox import Mark, mark
from tests.stateful.ground import HASH_KEY, Ground


@dataclass(frozen=True)
class Operator:
    """Does by the program's own functions what the commands do."""

    ground: Ground

    async def pauses(self) -> list[control.Pause]:
        async with self.ground.state.connection() as conn:
            return await control.pauses(conn)

    async def hold(self, scope: str) -> None:
        async with self.ground.state.connection() as conn:
            await pauses.pause(conn, scope, actor="operator", because="by hand")

    async def resume(self, scope: str) -> None:
        async with self.ground.state.connection() as conn:
            await pauses.resume(conn, [scope])

    async def retry(self, selection: Selection) -> None:
        async with self.ground.state.connection() as conn:
            await failures.retry(conn, selection)

    async def sweep(self, feed: str, *, forced: bool, with_parked: bool) -> None:
        chosen = self.ground.profile.feeds[feed]
        async with self.ground.source.connection() as source, self.ground.state.connection() as state:
            await sweep_feed(source, state, chosen, HASH_KEY, forced=forced, with_parked=with_parked)

    async def replay(self, keys: Collection[tuple[str, str]], *, forced: bool) -> None:
        """Mark keys again, as if they had changed once more."""
        now = datetime.now(UTC)
        marks = [Mark(feed=f, key=k, lane=Lane.BULK, dirty_at=now, forced=forced) for f, k in sorted(keys)]
        async with self.ground.state.connection() as conn:
            await mark(conn, marks)
