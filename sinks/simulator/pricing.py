"""What a call costs in credits, and which calls count as heavy.

https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html
"""

from __future__ import annotations

from collections.abc import Mapping

from sinks.simulator.kinds import Kind

RECORDS_PER_CREDIT = 10
HEAVY_RECORDS = 10

_WRITES = frozenset({Kind.INSERT, Kind.UPDATE, Kind.UPSERT})
_FIXED: dict[Kind, int] = {Kind.TOKEN: 0, Kind.REVOKE: 0, Kind.DELETED: 2, Kind.BULK_WRITE: 500}


def price(kind: Kind, records: int, query: Mapping[str, str]) -> int:
    """Credits of a call that is let through, refused records included.

    A COQL query's further credits are known only once it is parsed; see `coql_extra`.

    Args:
        kind: kind of call.
        records: records in its body.
        query: query parameters.
    """
    if kind in _WRITES:
        return max(1, -(-records // RECORDS_PER_CREDIT))
    if kind is Kind.LIST and "cvid" in query:
        return 3
    return _FIXED.get(kind, 1)


def coql_extra(limit: int) -> int:
    """Credits of a COQL query beyond the first, by its LIMIT: 1 up to 200, 2 up to 1,000, 3 up to 2,000.

    Whether Zoho counts the LIMIT or the rows that come of it is told in both ways; this is the dearer one.
    """
    return (limit > 200) + (limit > 1_000)


def heavy(kind: Kind, records: int, query: Mapping[str, str]) -> bool:
    """Whether the lower limit of simultaneous calls applies."""
    if kind in _WRITES:
        return records > HEAVY_RECORDS
    if kind is Kind.LIST:
        return "cvid" in query or "sort_by" in query
    return kind in (Kind.SEARCH, Kind.COQL)
