"""Takes the one request that a browser comes back with after a consent, and listens no longer than that."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from cdc.errors import ConfigError
from cdc.web.server import serving

REDIRECT_PORT: Final = 53682
"""Zoho compares the redirect URI to the letter, so the port has to be fixed."""

_PAGE: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>optio-cdc</title></head>
<body><h1>{head}</h1><p>{text}</p></body></html>
"""
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the code is in the address
}


def redirect_uri(port: int) -> str:
    """Give the address to register in Zoho's API console, to the letter."""
    return f"http://localhost:{port}/"


class _Waiting:
    """One sign-in that waits for its browser."""

    def __init__(self, state: str) -> None:
        self._state = state
        self.answer: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    async def take(self, request: Request) -> Response:
        query = dict(request.query_params)
        if not secrets.compare_digest(query.get("state", "").encode(), self._state.encode()):
            return _page(400, "This isn't the sign-in that is waited for", "Use the address that the terminal shows.")
        if self.answer.done():
            return _page(410, "This sign-in is over", "You can close this tab.")
        self.answer.set_result(query)
        return _page(200, "Back to the terminal", "You can close this tab.")


def _page(status: int, head: str, text: str) -> Response:
    return HTMLResponse(_PAGE.format(head=head, text=text), status, headers=_HEADERS)


@asynccontextmanager
async def waiting_for_browser(port: int, state: str) -> AsyncIterator[asyncio.Future[dict[str, str]]]:
    """Listen on this machine for the length of the block.

    Args:
        port: fixed, since it is part of the redirect URI.
        state: a request without it is turned away and changes nothing.

    Yields:
        What becomes the query of the first request that has the state.

    Raises:
        ConfigError: if the port is taken.
    """
    waiting = _Waiting(state)
    app = Starlette(routes=[Route("/", waiting.take, methods=["GET"])])
    try:
        async with serving(app, "127.0.0.1", port):
            yield waiting.answer
    except ConfigError:
        raise ConfigError(
            f"port {port} of this machine is taken, and the browser is to come back to it",
            fix="end what uses it; or take another with --port, and register http://localhost:<that port>/ as well",
        ) from None
