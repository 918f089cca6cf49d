"""Reads a request's body: bounded in size, time and number, and JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import ClientDisconnect, Request

from cdc.web.refusals import Refusal

MAX_BYTES: Final = 1024 * 1024
MAX_FORM_BYTES: Final = 64 * 1024
MAX_AT_ONCE: Final = 64
_MAX_FIELDS: Final = 1000
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


async def read_body(request: Request, most: int = MAX_BYTES) -> bytes:
    """Read the whole body.

    Raises:
        Refusal: 413 beyond 1 MiB or what else is the most, whatever the headers say; 408 if it doesn't come.
    """
    parts, size = [], 0
    stated = request.headers.get("content-length", "0")
    if stated.isdecimal() and (len(stated) > len(str(most)) or int(stated) > most):
        _refuse_size(most)
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    _refuse_size(most)
                parts.append(part)
    except (TimeoutError, ClientDisconnect):
        raise Refusal(408, "timeout", "the body didn't come in time") from None
    return b"".join(parts)


async def read_form(request: Request) -> ImmutableMultiDict[str, str]:
    """Read a form as a page of ours sends it: url-encoded, in UTF-8, of at most 64 KiB.

    Raises:
        Refusal: 408, 413, 415 or 422.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refusal(415, "unsupported_media_type", "content-type must be application/x-www-form-urlencoded")
    body = await read_body(request, MAX_FORM_BYTES)
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise Refusal(422, "invalid_body", "the body must be an url-encoded form in UTF-8") from None
    return ImmutableMultiDict(fields)


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


def _refuse_size(most: int) -> NoReturn:
    raise Refusal(413, "too_large", f"a body may have {most} bytes")
