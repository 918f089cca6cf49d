"""Serves the endpoints beside the pipeline, in its loop, for as long as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from cdc.errors import ConfigError
from cdc.routing.feeds import Profile
from cdc.settings import Settings
from cdc.state.database import Pool
from cdc.web.refusals import Refusal, answer_refusal, answer_unknown
from cdc.web.webhooks import Webhooks

log = structlog.get_logger()

_STOP_SECONDS: Final = 3


def build_app(webhooks: Webhooks) -> Starlette:
    """Put the endpoints together."""
    return Starlette(
        routes=[
            Route("/livez", _livez, methods=["GET"]),
            Route("/api/webhooks/supabase", webhooks.supabase, methods=["POST"]),
            Route("/api/webhooks/zoho/{name}", webhooks.application, methods=["POST"]),
        ],
        exception_handlers={Refusal: answer_refusal, HTTPException: answer_unknown},
    )


async def _livez(_: Request) -> Response:
    """The process is alive; nothing is said of how well it does."""
    return JSONResponse({"status": "alive"})


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the command."""
        yield


@asynccontextmanager
async def receiving(settings: Settings, profile: Profile, state: Pool) -> AsyncIterator[str | None]:
    """Listen for webhooks for the length of the block, if a port is configured; gives the address.

    Raises:
        ConfigError: if the address can't be listened at.
    """
    if settings.cdc_http_port is None:
        yield None
        return
    async with serving(
        build_app(Webhooks.make(settings, profile, state)), settings.cdc_http_host, settings.cdc_http_port
    ) as url:
        log.info("http_listening", url=url, doorbells=sorted(profile.doorbells))
        yield url


@asynccontextmanager
async def serving(app: ASGIApp, host: str, port: int) -> AsyncIterator[str]:
    """Serve an application for the length of the block; gives its address.

    At the end nobody is let in any more, and whoever is inside has three seconds.

    Raises:
        ConfigError: if the address can't be listened at.
    """
    listener = _listen(host, port)
    config = uvicorn.Config(
        app, ws="none", loop="none", lifespan="off", log_config=None, access_log=False, server_header=False,
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
