"""Health, for whoever starts, routes to, or watches the process. Three questions that are not the same.

`/livez`: does the process answer? `/readyz`: can it serve? `/syncz`: does the CRM keep up with the database? Only the
first may be a reason to start it anew; a CRM that is away isn't mended by that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
import structlog
from psycopg_pool import PoolTimeout
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from cdc.errors import CdcError
from cdc.state.database import Pool, pending_migrations
from cdc.watch.condition import judge
from cdc.web.access import Role, require
from cdc.web.refusals import Refusal
from cdc.web.sharing import SharedRead, StatusFeed

log = structlog.get_logger()

_WAIT_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    is_ok: bool

    def __str__(self) -> str:
        return f"[+]{self.name} ok" if self.is_ok else f"[-]{self.name} failed"


class Health:
    """The endpoints.

    Args:
        state: pool on the state database.
        status: shared with everybody else who shows it; None to leave `/syncz` out.
    """

    def __init__(self, state: Pool, status: StatusFeed | None) -> None:
        self._state = state
        self._status = status
        self._readiness = SharedRead(self._look)

    def routes(self) -> list[Route]:
        """Routes to mount."""
        routes = [
            Route("/livez", _livez, methods=["GET"]),
            Route("/healthz", _livez, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
        ]
        if self._status is not None:
            routes.append(Route("/syncz", self._syncz, methods=["GET"]))
        return routes

    async def _readyz(self, request: Request) -> Response:
        return await _answer(request, "ready", await self._readiness.now())

    async def _look(self) -> Sequence[Check]:
        try:
            async with asyncio.timeout(_WAIT_SECONDS), self._state.connection(timeout=_WAIT_SECONDS) as conn:
                pending = await pending_migrations(conn)
        except (psycopg.Error, PoolTimeout, TimeoutError, CdcError) as error:
            log.warning("not_ready", error=type(error).__name__)
            return [Check("state database", is_ok=isinstance(error, CdcError)), Check("migrations", is_ok=False)]
        return [Check("state database", is_ok=True), Check("migrations", is_ok=not pending)]

    async def _syncz(self, request: Request) -> Response:
        assert self._status is not None  # noqa: S101 - else it isn't mounted
        try:
            state = judge(await self._status.now()).state
        except (psycopg.Error, PoolTimeout, TimeoutError) as error:
            log.warning("sync_not_judged", error=type(error).__name__)
            return await _answer(request, "in step", [Check("status", is_ok=False)])
        sync = Check(f"sync {state}", is_ok=not state.is_broken)
        return await _answer(request, "in step", [Check("status", is_ok=True), sync])


async def _livez(_: Request) -> Response:
    """The process is alive; nothing is said of how well it does."""
    return JSONResponse({"status": "alive"})


async def _answer(request: Request, word: str, checks: Sequence[Check]) -> Response:
    """Tell everybody whether, and whoever is signed in why (`?verbose`)."""
    is_ok = all(check.is_ok for check in checks)
    status = 200 if is_ok else 503
    if "verbose" in request.query_params and await _is_signed_in(request):
        return PlainTextResponse("".join(f"{check}\n" for check in checks), status)
    return JSONResponse({"status": word if is_ok else f"not {word}"}, status)


async def _is_signed_in(request: Request) -> bool:
    if request.app.state.access is None:
        return False
    try:
        await require(request, Role.VIEWER)
    except Refusal:
        return False
    return True
