"""Prices, editions and the reading of a 429. No I/O.

https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from types import MappingProxyType

from sinks.reasons import Reason

MAX_RECORDS = 100
"""Most records that one insert, update, upsert or delete may carry."""

HEAVY_CONCURRENCY = 10
"""Heavy calls at once, in every edition."""

HEAVY_RECORDS = 10
"""A write of more records than this is a heavy call."""


class Kind(StrEnum):
    """What a call is, for pricing and for the books."""

    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"
    COQL = "coql"
    RECORDS_READ = "records_read"
    NOTES_READ = "notes_read"
    DELETED_READ = "deleted_read"
    COUNT = "count"
    FIELDS_READ = "fields_read"
    FIELDS_CREATE = "fields_create"
    ORG_READ = "org_read"
    BULK_WRITE = "bulk_write"
    BULK_READ = "bulk_read"
    BULK_POLL = "bulk_poll"
    BULK_RESULT = "bulk_result"
    UPLOAD = "upload"


WRITES = frozenset(
    {Kind.INSERT, Kind.UPDATE, Kind.UPSERT, Kind.DELETE, Kind.FIELDS_CREATE, Kind.BULK_WRITE, Kind.UPLOAD}
)
"""Calls that change something there: a lost answer leaves us in doubt."""

_BATCHED = frozenset({Kind.INSERT, Kind.UPDATE, Kind.UPSERT})
_ALWAYS_HEAVY = frozenset({Kind.COQL})
_FLAT: Mapping[Kind, int] = MappingProxyType({Kind.BULK_WRITE: 500, Kind.BULK_READ: 50, Kind.DELETED_READ: 2})


def price(kind: Kind, records: int = 1) -> int:
    """Say what a call costs.

    Args:
        kind: the kind of call.
        records: records sent; for COQL the rows asked for (its LIMIT).

    Returns:
        Credits.
    """
    if kind in _BATCHED:
        return max(1, ceil(records / 10))
    if kind is Kind.COQL:
        return 1 if records <= 200 else 2 if records <= 1000 else 3
    return _FLAT.get(kind, 1)


MERGE_CREDITS = 50
"""What a merge of one record with at most two others costs."""

COQL_TIERS = (200, 1_000, 2_000)
"""LIMITs up to which a COQL query costs one, two and three credits; the last is the most that one may ask for."""


def upserts_price(records: int) -> int:
    """Say what so many records cost by upserts or inserts of a hundred each, in credits."""
    calls, rest = divmod(records, MAX_RECORDS)
    return calls * price(Kind.UPSERT, MAX_RECORDS) + (price(Kind.UPSERT, rest) if rest else 0)


def is_heavy(kind: Kind, records: int) -> bool:
    """Tell whether a call counts against the smaller concurrency limit."""
    return kind in _ALWAYS_HEAVY or (kind in _BATCHED and records > HEAVY_RECORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """What an edition of Zoho CRM allows in 24 rolling hours and at once.

    Attributes:
        credits: credits before users are counted.
        per_user: credits added for each user licence.
        ceiling: most credits; None for no ceiling.
        concurrency: calls at once.
    """

    credits: int
    per_user: int
    ceiling: int | None
    concurrency: int


EDITIONS: Mapping[str, Edition] = MappingProxyType(
    {
        "free": Edition(credits=5_000, per_user=0, ceiling=5_000, concurrency=5),
        "standard": Edition(credits=50_000, per_user=250, ceiling=100_000, concurrency=10),
        "professional": Edition(credits=50_000, per_user=500, ceiling=3_000_000, concurrency=15),
        "enterprise": Edition(credits=50_000, per_user=1_000, ceiling=5_000_000, concurrency=20),
        "ultimate": Edition(credits=50_000, per_user=2_000, ceiling=None, concurrency=25),
    }
)


def daily_credits(edition: str, users: int = 1) -> int:
    """Say how many credits an organisation has in any 24 hours.

    Raises:
        KeyError: for an edition that is not in `EDITIONS`.
    """
    found = EDITIONS[edition]
    total = found.credits + found.per_user * users
    return total if found.ceiling is None else min(total, found.ceiling)


class RefusalWatch:
    """Tells the two causes of a 429 apart, as far as that can be done.

    Zoho gives the same answer for too many calls at once and for spent credits. The header
    `X-API-CREDITS-REMAINING` comes only once half of the credits are gone. So: near zero, or refused for minutes on
    end, means credits; anything else means too many at once.

    Attributes:
        remaining: the last figure of the header; None if it never came. Add-on credits are not in it.
    """

    _NEAR_ZERO = 50
    _PERSISTS_SECONDS = 120.0

    def __init__(self) -> None:
        self.remaining: int | None = None
        self._refused_since: float | None = None

    def accepted(self, remaining: int | None) -> None:
        """Note an answer that was no refusal, with the header's figure if it came."""
        self.remaining = remaining
        self._refused_since = None

    def refused(self, remaining: int | None, now: float) -> Reason:
        """Note a 429 and say what it means.

        Args:
            remaining: the header's figure, if it came.
            now: seconds of a clock that doesn't jump.
        """
        if remaining is not None:
            self.remaining = remaining
        if self._refused_since is None:
            self._refused_since = now
        return self.meaning(now)

    def meaning(self, now: float) -> Reason:
        """Say what the refusals mean by now."""
        spent = self.remaining is not None and self.remaining <= self._NEAR_ZERO
        persists = self._refused_since is not None and now - self._refused_since >= self._PERSISTS_SECONDS
        return Reason.CREDITS_EXHAUSTED if spent or persists else Reason.CONCURRENCY_LIMIT
