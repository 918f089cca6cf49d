"""How things stand, as JSON, for whoever may look."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cdc.state.database import Pool
from cdc.state.synclog import Logged, latest
from cdc.watch.condition import judge
from cdc.watch.status import Status, plain
from cdc.web.access import Role, require
from cdc.web.sharing import SharedRead, StatusFeed

_RECENT: Final = 50


class Api:
    """The endpoints.

    Args:
        status: shared with everybody else who shows it.
        state: pool on the state database.
    """

    def __init__(self, status: StatusFeed, state: Pool) -> None:
        self._status = status
        self._state = state
        self._log = SharedRead(self._read_log)

    def routes(self) -> list[Route]:
        """Routes to mount."""
        return [
            Route("/api/status", self._all, methods=["GET"]),
            Route("/api/admin/zoho/sync-status", self._sync, methods=["GET"]),
        ]

    async def _all(self, request: Request) -> Response:
        """The same as `cdc status --json`."""
        await require(request, Role.VIEWER)
        return JSONResponse((await self._status.now()).as_json())

    async def _sync(self, request: Request) -> Response:
        """Credits, queue and the latest operations, for the app's own administration."""
        await require(request, Role.VIEWER)
        status, logged = await self._status.now(), await self._log.now()
        return JSONResponse(sync_status(status, logged))

    async def _read_log(self) -> list[Logged]:
        async with self._state.connection() as conn:
            return await latest(conn, limit=_RECENT)


def sync_status(status: Status, logged: list[Logged]) -> dict[str, Any]:
    """Put together what the app's administration shows of the synchronisation."""
    condition, credits = judge(status), status.credits
    queue = [
        {
            "feed": c.feed, "lane": c.lane.value, "depth": c.due + c.gathering + c.in_flight + c.retrying + c.deferred,
            "parked": c.parked,
        }
        for c in status.outbox
    ]  # fmt: skip
    paused = [{"scope": pause.scope, "reason": pause.reason, "until": pause.until} for pause in status.pauses]
    recent = [
        {
            "at": line.at, "feed": line.feed, "action": line.action, "status": line.status, "key": line.key,
            "zoho_id": line.crm_id, "reason": line.reason, "attempts": line.attempts, "latency_ms": line.latency_ms,
        }
        for line in logged
    ]  # fmt: skip
    value = {
        "at": status.at, "state": condition.state.value, "why": condition.why,
        "credits": {
            "used_24h": credits.used, "limit_24h": credits.limit,
            "by_kind": {kind: usage.credits for kind, usage in credits.by_kind.items()},
        },
        "queue_depth": status.dirty, "parked": status.parked, "queue": queue, "paused": paused, "recent": recent,
    }  # fmt: skip
    answer: dict[str, Any] = plain(value)
    return answer
