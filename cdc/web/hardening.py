"""What every answer has, whatever it answers: headers that a browser obeys.

And what no request gets by with: a Host that isn't ours. A page of another site can let its own name point to
127.0.0.1 (DNS rebinding), and would then be read as ours; the browser still says the name in Host.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cdc.settings import Settings, words_in

log = structlog.get_logger()

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    # Nothing goes to other sites. Under `no-referrer` a browser would send our own forms with `Origin: null`.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_HSTS: Final = "max-age=15552000"
# Who comes here is no browser, has a secret of its own or is told nothing, and may come by any name: a probe by the
# address of a container, a webhook through a tunnel.
_ANY_HOST: Final = ("/api/webhooks/", "/livez", "/healthz", "/readyz", "/syncz")


class Hardened:
    """Wraps the application.

    Args:
        app: what answers.
        hosts: names that may be called in Host; None if any may.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        if not self._is_for_us(scope):
            refusal = {
                "error": "foreign_host",
                "message": "this isn't served under that name; CDC_HTTP_ALLOWED_HOSTS takes further ones",
            }
            await JSONResponse(refusal, 421)(scope, receive, answer.send)
            return
        try:
            await self._app(scope, receive, answer.send)
        except Exception as error:  # noqa: BLE001 - a traceback, and the database's own words, may hold a row's values
            log.warning("http_failed", error=type(error).__name__)  # it is answered already, see `answer_failure`

    def _is_for_us(self, scope: Scope) -> bool:
        if self._hosts is None or scope["path"].startswith(_ANY_HOST):
            return True
        given = Headers(scope=scope).getlist("host")
        return len(given) == 1 and _without_port(given[0]) in self._hosts


class _Answer:
    """Puts the headers in."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._is_https = scope.get("scheme") == "https"
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
            if self._is_https:
                headers["strict-transport-security"] = _HSTS
        await self._send(message)


def allowed_hosts(settings: Settings) -> frozenset[str] | None:
    """Give the names that may be called in Host; None if any may: at a public address without a list."""
    named = frozenset(name.lower() for name in words_in(settings.cdc_http_allowed_hosts))
    return None if settings.is_http_public and not named else named | LOCAL_HOSTS


def _without_port(host: str) -> str:
    name, colon, port = host.strip().lower().rpartition(":")
    return name if colon and port.isdecimal() else host.strip().lower()
