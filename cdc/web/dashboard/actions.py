"""Pausing, resuming and sweeping."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import psycopg
import structlog
from psycopg_pool import PoolTimeout
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc.errors import CdcError
from cdc.repair.sweep import sweep_all
from cdc.state import pauses
from cdc.state.control import BULK_SCOPE, EVERYTHING
from cdc.web.dashboard.acting import acting
from cdc.web.dashboard.asked import choice, needed
from cdc.web.dashboard.ground import Ground, go
from cdc.web.refusals import Refusal

log = structlog.get_logger()

LENGTHS: Final[Mapping[str, int]] = MappingProxyType(
    {"15 min": 900, "1 h": 3_600, "4 h": 14_400, "12 h": 43_200, "24 h": 86_400}
)
"""How long a pause may be asked for, in seconds."""


class Actions:
    """What is done about delivery as a whole. All of it needs the role operator.

    Args:
        ground: what the pages stand on.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._sweep: asyncio.Task[None] | None = None

    def routes(self) -> list[Route]:
        """Routes to mount."""
        return [
            Route("/pause", self._pause, methods=["POST"]),
            Route("/resume", self._resume, methods=["POST"]),
            Route("/sweep", self._begin_sweep, methods=["POST"]),
        ]

    async def close(self) -> None:
        """End a sweep that is under way; what it has marked stays marked."""
        if self._sweep is not None:
            self._sweep.cancel()
            await asyncio.gather(self._sweep, return_exceptions=True)

    async def _pause(self, request: Request) -> Response:
        async with acting(request, self._ground) as act:
            scope = self._scope(act.form.get("scope", ""))
            why = needed(act.form, "because", "say why it is paused; whoever finds it so wants to know")
            length = choice(act.form, "length", LENGTHS)
            seconds = None if length is None else LENGTHS[length]
            await pauses.pause(act.conn, scope, actor=act.visitor.actor, because=why, seconds=seconds)
            await act.record("pause", described_scope(scope))
        until = "until it is resumed" if length is None else f"for {length}"
        return go(request, "/", f"{described_scope(scope).capitalize()} is paused {until}. Capture goes on.")

    async def _resume(self, request: Request) -> Response:
        async with acting(request, self._ground) as act:
            scope = self._scope(act.form.get("scope", ""))
            was_paused = bool(await pauses.resume(act.conn, [scope]))
            if was_paused:
                await act.record("resume", described_scope(scope))
        words = "is resumed" if was_paused else "wasn't paused"
        return go(request, "/", f"{described_scope(scope).capitalize()} {words}.")

    def _scope(self, scope: str) -> str:
        if scope not in {EVERYTHING, BULK_SCOPE, *self._ground.profile.feeds}:
            raise Refusal(422, "invalid_parameter", "there is no such feed")
        return scope

    async def _begin_sweep(self, request: Request) -> Response:
        async with acting(request, self._ground) as act:
            if self._sweep is not None and not self._sweep.done():
                return go(request, "/#progress", "A sweep that was started here is under way already.")
            self._sweep = asyncio.create_task(self._sweep_all(), name="sweep from the dashboard")
            await act.record("sweep", "everything", len(self._ground.profile.feeds))
        return go(request, "/#progress", "The sweep began: everything is compared, and what differs is marked.")

    async def _sweep_all(self) -> None:
        ground = self._ground
        try:
            async with ground.source.connection() as source, ground.state.connection() as state:
                found = await sweep_all(source, state, ground.profile, ground.hash_key)
            log.info("swept", by="hand", **{sweep.feed: sweep.marked for sweep in found})
        except (psycopg.Error, PoolTimeout, CdcError) as error:
            log.warning("sweep_interrupted", by="hand", error=type(error).__name__)


def described_scope(scope: str) -> str:
    """Name a scope for people."""
    return {EVERYTHING: "everything", BULK_SCOPE: "the bulk lane"}.get(scope, scope)
