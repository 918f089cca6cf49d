"""The page at `/`, and the part of it that refreshes itself."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc.state import audit
from cdc.watch.condition import Condition, State, judge
from cdc.web.access import Role, require
from cdc.web.dashboard.actions import LENGTHS
from cdc.web.dashboard.asked import whole
from cdc.web.dashboard.figures import figures
from cdc.web.dashboard.ground import Ground, show
from cdc.web.dashboard.panels import fill
from cdc.web.dashboard.path import Mark

_ENTRIES: Final = 100
_WAITING: Final = frozenset({State.STARTING, State.STANDBY, State.BACKFILLING, State.PAUSED})


class Home:
    """The overview and the audit.

    Args:
        ground: what the pages stand on.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def routes(self) -> list[Route]:
        """Routes to mount."""
        return [
            Route("/", self._page, methods=["GET"]),
            Route("/fragment/status", self._fragment, methods=["GET"]),
            Route("/audit", self._audit, methods=["GET"]),
        ]

    async def _page(self, request: Request) -> Response:
        visitor = await require(request, Role.VIEWER)
        return show(request, visitor, "home.html", **await self._values(request))

    async def _fragment(self, request: Request) -> Response:
        visitor = await require(request, Role.VIEWER)
        return show(request, visitor, "fragment.html", **await self._values(request))

    async def _values(self, request: Request) -> dict[str, Any]:
        status = await self._ground.status.now()
        condition = judge(status)
        return {
            "status": status,
            "condition": condition,
            "mark": mark_of(condition).value,
            "figures": figures(status),
            "panels": await fill(self._ground, status, request.query_params),
            "feeds": list(self._ground.profile.feeds),
            "lengths": list(LENGTHS),
            "runbook": self._ground.runbook,
            "is_linked": self._ground.runbook.startswith(("https://", "http://")),
        }

    async def _audit(self, request: Request) -> Response:
        visitor = await require(request, Role.VIEWER)
        before = whole(request.query_params, "before")
        async with self._ground.connection() as conn:
            entries = await audit.entries(conn, before=before, limit=_ENTRIES)
        following = entries[-1].id if len(entries) == _ENTRIES else None
        return show(request, visitor, "audit.html", entries=entries, before=before, next=following)


def mark_of(condition: Condition) -> Mark:
    """Say how bad a state is."""
    if condition.state.is_broken or condition.state is State.CREDITS_EXHAUSTED:
        return Mark.BROKEN
    if condition.state in _WAITING:
        return Mark.WAITING
    return Mark.OK if condition.state.is_fine else Mark.ATTENTION
