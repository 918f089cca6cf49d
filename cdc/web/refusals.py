"""What a caller is told when a request isn't taken. Never a word of what it sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import psycopg
from psycopg_pool import PoolTimeout
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from cdc.web.rendering import page

_AWAY: Final = (psycopg.OperationalError, PoolTimeout, TimeoutError)


class Refusal(Exception):
    """A request that isn't taken.

    Args:
        status: of the answer.
        code: one word for programs.
        message: a sentence for people.
        headers: further ones.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


async def answer_refusal(request: Request, error: Exception) -> Response:
    """Turn a refusal into JSON, or into a page for a browser; who isn't signed in there is sent to do so."""
    assert isinstance(error, Refusal)  # noqa: S101 - the application registers it for nothing else
    if error.code == "not_signed_in" and request.method == "GET" and _is_browser(request):
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(here, safe='')}", 303)
    return _say(request, error.status, error.code, error.message, error.headers)


async def answer_unknown(request: Request, error: Exception) -> Response:
    """Answer for an address or a method that there isn't, in the same form."""
    status = getattr(error, "status_code", 404)
    word = "not_found" if status == 404 else "method_not_allowed"
    return _say(request, status, word, "there is nothing here for this request")


async def answer_failure(request: Request, error: Exception) -> Response:
    """Answer for what went wrong on our side. Neither the error's words nor a traceback go out."""
    if isinstance(error, _AWAY):
        words = "the database doesn't answer at the moment; try again"
        return _say(request, 503, "database_away", words, {"retry-after": "5"})
    return _say(request, 500, "internal", "this went wrong here; the log has the kind of it")


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def _say(request: Request, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    if not _is_browser(request):
        return JSONResponse({"error": code, "message": message}, status, headers)
    answer = page("error.html", status, heading=status, sentence=f"{message[:1].upper()}{message[1:]}.")
    answer.headers.update(headers or {})
    return answer
