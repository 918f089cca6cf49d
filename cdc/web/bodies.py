"""Reads a request's body: bounded in size, time and number, and JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final, NoReturn

from starlette.requests import ClientDisconnect, Request

from cdc.web.refusals import Refusal

MAX_BYTES: Final = 1024 * 1024
MAX_AT_ONCE: Final = 64
_READ_SECONDS: Final = 10.0


class Door:
    """Lets so many requests in at once, and no more."""

    def __init__(self) -> None:
        self._inside = 0

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Be inside for the length of the block.

        Raises:
            Refusal: 429 if there are too many.
        """
        if self._inside >= MAX_AT_ONCE:
            raise Refusal(429, "too_many_requests", "too many requests at once", {"retry-after": "1"})
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


def require_json(request: Request) -> None:
    """Refuse anything that doesn't call itself JSON.

    Raises:
        Refusal: 415.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "unsupported_media_type", "content-type must be application/json")


async def read_body(request: Request) -> bytes:
    """Read the whole body.

    Raises:
        Refusal: 413 beyond 1 MiB, whatever the headers say; 408 if it doesn't come.
    """
    parts, size = [], 0
    stated = request.headers.get("content-length", "0")
    if stated.isdecimal() and (len(stated) > len(str(MAX_BYTES)) or int(stated) > MAX_BYTES):
        _refuse_size()
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BYTES:
                    _refuse_size()
                parts.append(part)
    except (TimeoutError, ClientDisconnect):
        raise Refusal(408, "timeout", "the body didn't come in time") from None
    return b"".join(parts)


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object. Numbers with a fraction keep their digits; NaN and the like are no JSON.

    Raises:
        Refusal: 422.
    """
    try:
        value = json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # a JSONDecodeError and a UnicodeDecodeError are ValueErrors
        value = None
    if not isinstance(value, dict):
        raise Refusal(422, "invalid_body", "the body must be a JSON object")
    return value


def _no_constant(_: str) -> NoReturn:
    raise ValueError("no JSON")


def _refuse_size() -> NoReturn:
    raise Refusal(413, "too_large", f"a body may have {MAX_BYTES} bytes")
