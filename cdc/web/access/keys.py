"""The public keys of a Supabase project (JWKS): fetched when they are needed, and not too often.

An unknown key id is a reason to look again, since keys are rotated; but it comes from the caller, so it is one at most
every half minute. Supabase itself caches the list for ten minutes and asks to keep it for no longer than twenty.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
import jwt
import structlog

from cdc.web.access.visitors import SignInRefused

log = structlog.get_logger()

ALGORITHMS: Final = frozenset({"ES256", "RS256", "EdDSA"})
"""Asymmetric ones that Supabase signs with. A key of another kind in the list is left out."""
FRESH_SECONDS: Final = 600.0
USABLE_SECONDS: Final = 1200.0
COOLDOWN_SECONDS: Final = 30.0
_AFTER_FAILURE_SECONDS: Final = 5.0
_FETCH_SECONDS: Final = 5.0
_MOST_BYTES: Final = 256 * 1024
_NEVER: Final = float("-inf")


class RemoteKeys:
    """The keys behind an address.

    Args:
        url: of the JWKS.
        clock: seconds that only go up.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at = _NEVER
        self._may_try_at = _NEVER
        self._one = asyncio.Lock()

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Give the key of this id; None if the project has none.

        Raises:
            SignInRefused: 503 if the keys can't be had and those that are known are too old.
        """
        if self._is_wanted(key_id):
            async with self._one:
                if self._is_wanted(key_id):  # another one may have fetched them meanwhile
                    await self._refresh()
        if self._clock() - self._fetched_at > USABLE_SECONDS:
            raise SignInRefused("keys_unavailable", "Sign-in can't be checked at the moment. Try again shortly.", 503)
        return self._keys.get(key_id)

    def _is_wanted(self, key_id: str) -> bool:
        now = self._clock()
        is_stale = now - self._fetched_at > FRESH_SECONDS
        return (is_stale or key_id not in self._keys) and now >= self._may_try_at

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                self._keys = _keys_in(await self._fetch())
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError, RecursionError) as error:
            log.warning("dashboard_keys_not_fetched", error=type(error).__name__)
            self._may_try_at = self._clock() + _AFTER_FAILURE_SECONDS
            return
        if not self._keys:
            log.warning("dashboard_keys_empty", hint="a project that signs with a shared secret publishes none")
        self._fetched_at = self._clock()
        self._may_try_at = self._fetched_at + COOLDOWN_SECONDS

    async def _fetch(self) -> bytes:
        body = b""
        async with httpx.AsyncClient(timeout=_FETCH_SECONDS) as http, http.stream("GET", self._url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise ValueError("not 200")
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _MOST_BYTES:
                    raise ValueError("too long for a list of keys")
        return body


def _keys_in(body: bytes) -> dict[str, jwt.PyJWK]:
    """Read the keys that can be used; what else is in the list is left out.

    Raises:
        ValueError: if it is no list of keys at all.
    """
    value = json.loads(body)
    listed = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no list of keys")  # noqa: TRY004 - a wrong document, not a wrong argument
    found = {}
    for entry in listed:
        key = _key_of(entry) if isinstance(entry, dict) else None
        if key is not None and isinstance(key.key_id, str) and key.public_key_use in {None, "sig"}:
            found[key.key_id] = key
    return found


def _key_of(entry: Mapping[str, Any]) -> jwt.PyJWK | None:
    try:
        key = jwt.PyJWK(dict(entry))
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        return None
    return key if key.algorithm_name in ALGORITHMS else None
