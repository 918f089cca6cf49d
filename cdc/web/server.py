"""Serves the endpoints beside the pipeline, in its loop, for as long as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from cdc.errors import ConfigError
from cdc.routing.feeds import Profile
from cdc.settings import Settings, words_in
from cdc.state.database import Pool
from cdc.web.access import Access, Role, csrf_token, require, signin
from cdc.web.hardening import Hardened, allowed_hosts
from cdc.web.health import Health
from cdc.web.metrics import Metrics
from cdc.web.refusals import Refusal, answer_failure, answer_refusal, answer_unknown
from cdc.web.rendering import STATIC, page
from cdc.web.sharing import StatusFeed
from cdc.web.webhooks import Webhooks

log = structlog.get_logger()

_STOP_SECONDS: Final = 3


def build_app(
    webhooks: Webhooks,
    health: Health,
    *,
    metrics: Metrics | None = None,
    access: Access | None = None,
    routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """Put the endpoints together.

    Args:
        webhooks: always on, each closed without its secret.
        health: always on.
        metrics: for Prometheus, with a guard of its own.
        access: the ways to sign in; without them the dashboard is off.
        routes: of the dashboard. They ask `require` who it is themselves.
    """
    dashboard: list[BaseRoute] = [] if access is None else [*signin.routes(), *routes, Route("/", _home), _static()]
    app = Starlette(
        routes=[
            *health.routes(),
            *([] if metrics is None else [Route("/metrics", metrics.answer, methods=["GET"])]),
            Route("/api/webhooks/supabase", webhooks.supabase, methods=["POST"]),
            Route("/api/webhooks/zoho/{name}", webhooks.application, methods=["POST"]),
            *dashboard,
        ],
        exception_handlers={Refusal: answer_refusal, HTTPException: answer_unknown, Exception: answer_failure},
    )
    app.state.access = access
    return app


def _static() -> Mount:
    return Mount("/static", StaticFiles(directory=STATIC))


async def _home(request: Request) -> Response:
    """The page of somebody who has signed in; other pages take its place."""
    visitor = await require(request, Role.VIEWER)
    return page("home.html", visitor=visitor, csrf=csrf_token(request))


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the command."""
        yield


@asynccontextmanager
async def receiving(
    settings: Settings,
    profile: Profile,
    state: Pool,
    *,
    status: StatusFeed | None = None,
    metrics: Metrics | None = None,
    access: Access | None = None,
    routes: Sequence[BaseRoute] = (),
) -> AsyncIterator[str | None]:
    """Serve HTTP for the length of the block, if a port is configured; gives the address.

    Args:
        settings: as configured.
        profile: says what webhooks there are.
        state: pool on the state database.
        status: how things stand, for `/syncz`.
        metrics: see `build_app`.
        access: see `build_app`.
        routes: see `build_app`.

    Raises:
        ConfigError: if the address can't be listened at.
    """
    if settings.cdc_http_port is None:
        yield None
        return
    webhooks, health = Webhooks.make(settings, profile, state), Health(state, status)
    endpoints = build_app(webhooks, health, metrics=metrics, access=access, routes=routes)
    app: ASGIApp = Hardened(endpoints, allowed_hosts(settings))
    if settings.cdc_trusted_proxies:
        app = cast("ASGIApp", ProxyHeadersMiddleware(app, list(words_in(settings.cdc_trusted_proxies))))  # type: ignore[arg-type]
    async with serving(app, settings.cdc_http_host, settings.cdc_http_port) as url:
        log.info("http_listening", url=url, doorbells=sorted(profile.doorbells), dashboard=access is not None)
        try:
            yield url
        finally:
            for shared in (status, metrics):
                if shared is not None:
                    await shared.close()


@asynccontextmanager
async def serving(app: ASGIApp, host: str, port: int) -> AsyncIterator[str]:
    """Serve an application for the length of the block; gives its address.

    At the end nobody is let in any more, and whoever is inside has three seconds.

    Raises:
        ConfigError: if the address can't be listened at.
    """
    listener = _listen(host, port)
    config = uvicorn.Config(  # h11 bounds what stands before a body; httptools, taken if it is there, doesn't
        app, http="h11", ws="none", loop="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_keep_alive=10, timeout_graceful_shutdown=_STOP_SECONDS,
    )  # fmt: skip
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(
            f"CDC_HTTP_HOST {host}, CDC_HTTP_PORT {port} can't be listened at: {error.strerror}",
            fix="choose another port, or end the program that has it",
        ) from None
    # asyncio sets this only on sockets that it made itself; without it an answer may wait 40 ms for an ACK
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
