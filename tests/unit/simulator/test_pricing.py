import pytest

from sinks.simulator.kinds import Kind
from sinks.simulator.pricing import coql_extra, heavy, price


@pytest.mark.parametrize(
    ("kind", "records", "query", "credits"),
    [
        (Kind.UPSERT, 0, {}, 1),
        (Kind.UPSERT, 10, {}, 1),
        (Kind.UPSERT, 11, {}, 2),
        (Kind.INSERT, 100, {}, 10),
        (Kind.UPDATE, 95, {}, 10),
        (Kind.DELETE, 100, {}, 1),
        (Kind.LIST, 0, {}, 1),
        (Kind.LIST, 0, {"cvid": "1"}, 3),
        (Kind.DELETED, 0, {}, 2),
        (Kind.BULK_WRITE, 0, {}, 500),
        (Kind.BULK_STATUS, 0, {}, 1),
        (Kind.TOKEN, 0, {}, 0),
    ],
)
def test_prices(kind: Kind, records: int, query: dict[str, str], credits: int) -> None:
    assert price(kind, records, query) == credits


@pytest.mark.parametrize(("limit", "more"), [(1, 0), (200, 0), (201, 1), (1_000, 1), (1_001, 2), (2_000, 2)])
def test_coql_costs_more_by_its_limit(limit: int, more: int) -> None:
    assert coql_extra(limit) == more


@pytest.mark.parametrize(
    ("kind", "records", "query", "is_heavy"),
    [
        (Kind.UPSERT, 10, {}, False),
        (Kind.UPSERT, 11, {}, True),
        (Kind.LIST, 0, {"sort_by": "id"}, True),
        (Kind.LIST, 0, {}, False),
        (Kind.SEARCH, 0, {}, True),
        (Kind.COQL, 0, {}, True),
        (Kind.GET, 0, {}, False),
    ],
)
def test_heavy_calls(kind: Kind, records: int, query: dict[str, str], is_heavy: bool) -> None:
    assert heavy(kind, records, query) is is_heavy
