"""Pages of a list: `page` up to row 2,000, `page_token` beyond.

https://www.zoho.com/crm/developer/docs/api/v8/get-records.html
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sinks.simulator.answers import Json, Refusal
from sinks.simulator.clock import Clock, iso

PER_PAGE = 200
PAGED_ROWS = 2_000
TOKEN_ROWS = 100_000
TOKEN_LIFETIME = 24 * 3600.0
FIELDS = 50

Row = TypeVar("Row")


def invalid_param(name: str, message: str = "invalid data", **why: object) -> Refusal:
    """The refusal of a query parameter."""
    return Refusal(400, "INVALID_DATA", message, {**why, "param_name": name})


def whole(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A query parameter that is a number from 1 to `most`."""
    text = query.get(name)
    if text is None:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise invalid_param(name, expected_data_type="integer", maximum=most)
    return int(text)


def wanted_fields(query: Mapping[str, str], *, required: bool) -> list[str] | None:
    """The names in the `fields` parameter."""
    text = query.get("fields", "")
    names = [name for name in text.split(",") if name]
    if not names:
        if required:
            raise Refusal(
                400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", {"param_name": "fields"}
            )
        return None
    if len(names) > FIELDS:
        raise Refusal(400, "LIMIT_EXCEEDED", "Max field limit exceeded", {"limit": FIELDS, "param_name": "fields"})
    return names


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where a token goes on, and the list it belongs to."""

    bound: tuple[str, ...]
    offset: int
    expires: float


class Pager:
    """Cuts pages and remembers page tokens."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._marks: dict[str, _Mark] = {}

    def clear(self) -> None:
        """Forget every token."""
        self._marks.clear()

    def cut(self, rows: Sequence[Row], query: Mapping[str, str], bound: tuple[str, ...]) -> tuple[Sequence[Row], Json]:
        """One page of the rows, and its `info`.

        Args:
            rows: all rows, in order.
            query: holds `page`, `per_page` or `page_token`.
            bound: what a token is bound to; it is refused for anything else.

        Raises:
            Refusal: a page out of range, or a token that is unknown, expired or another list's.
        """
        per_page = whole(query, "per_page", PER_PAGE, PER_PAGE)
        token = query.get("page_token")
        if token is None:
            page = whole(query, "page", 1, PAGED_ROWS)
            if page * per_page > PAGED_ROWS:
                raise Refusal(
                    400,
                    "DISCRETE_PAGINATION_LIMIT_EXCEEDED",
                    "use page_token beyond 2000 records",
                    {"limit": PAGED_ROWS},
                )
            offset = (page - 1) * per_page
        else:
            if "page" in query:
                names = [{"param_name": "page"}, {"param_name": "page_token"}]
                raise Refusal(
                    400, "AMBIGUITY_DURING_PROCESSING", "use either page or page_token", {"ambiguity_due_to": names}
                )
            offset = self._offset(token, bound)
            page = offset // per_page + 1
        rows_here = rows[offset : offset + per_page]
        more = offset + per_page < len(rows)
        next_token, expiry = self._next(bound, offset + per_page) if more else (None, None)
        info = {
            "per_page": per_page,
            "count": len(rows_here),
            "page": page,
            "more_records": more,
            "next_page_token": next_token,
            "previous_page_token": None,
            "page_token_expiry": expiry,
        }
        return rows_here, info

    def _offset(self, token: str, bound: tuple[str, ...]) -> int:
        mark = self._marks.get(token)
        if mark is None:
            raise invalid_param("page_token")
        if mark.expires <= self._clock.now():
            raise Refusal(400, "EXPIRED_VALUE", "the page token has expired", {"param_name": "page_token"})
        if mark.bound != bound:
            raise Refusal(
                400,
                "TOKEN_BOUND_DATA_MISMATCH",
                "the page token belongs to another request",
                {"param_name": "page_token"},
            )
        if mark.offset >= TOKEN_ROWS:
            raise Refusal(400, "PAGINATION_LIMIT_EXCEEDED", "no more than 100000 records", {"limit": TOKEN_ROWS})
        return mark.offset

    def _next(self, bound: tuple[str, ...], offset: int) -> tuple[str, str]:
        now = self._clock.now()
        for token in [token for token, mark in self._marks.items() if mark.expires <= now - TOKEN_LIFETIME]:
            del self._marks[token]
        token = secrets.token_hex(24)
        self._marks[token] = _Mark(bound, offset, now + TOKEN_LIFETIME)
        return token, iso(now + TOKEN_LIFETIME)
