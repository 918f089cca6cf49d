"""Pages of a list by the last row seen, so that the thousandth page costs what the first does. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cdc.web.refusals import Refusal

_LONGEST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page: the next one begins behind it."""

    at: datetime
    feed: str
    key: str

    def __str__(self) -> str:
        plain = json.dumps([self.at.isoformat(), self.feed, self.key], ensure_ascii=False)
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def parse_cursor(text: str | None) -> Cursor | None:
    """Read what `str` made of a cursor; None for nothing.

    Raises:
        Refusal: 422 for anything else.
    """
    if not text:
        return None
    found = _read(text) if len(text) <= _LONGEST else None
    if found is None or found.at.tzinfo is None or "\0" in found.feed + found.key:
        raise Refusal(422, "invalid_page", "this page of the list can't be read; begin at its first page")
    return found


def _read(text: str) -> Cursor | None:
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
        at, feed, key = json.loads(plain)
        found = Cursor(datetime.fromisoformat(at), str(feed), str(key))
        (found.feed + found.key).encode()
    except (ValueError, TypeError, binascii.Error, RecursionError):
        return None
    return found
