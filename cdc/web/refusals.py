"""What a caller is told when a request isn't taken. Never a word of what it sent."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


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


async def answer_refusal(_: Request, error: Exception) -> Response:
    """Turn a refusal into JSON."""
    assert isinstance(error, Refusal)  # noqa: S101 - the application registers it for nothing else
    return JSONResponse({"error": error.code, "message": error.message}, error.status, error.headers)


async def answer_unknown(_: Request, error: Exception) -> Response:
    """Answer for an address or a method that there isn't, in the same form."""
    status = getattr(error, "status_code", 404)
    word = "not_found" if status == 404 else "method_not_allowed"
    return JSONResponse({"error": word, "message": "there is nothing here for this request"}, status)
