"""Prices, editions and the reading of a 429."""

from __future__ import annotations

import pytest

from sinks.reasons import Reason
from sinks.zoho.limits import EDITIONS, Kind, RefusalWatch, daily_credits, is_heavy, price


@pytest.mark.parametrize(
    ("kind", "records", "credits"),
    [
        (Kind.UPSERT, 1, 1),
        (Kind.UPSERT, 10, 1),
        (Kind.UPSERT, 11, 2),
        (Kind.UPSERT, 100, 10),
        (Kind.INSERT, 25, 3),
        (Kind.UPDATE, 100, 10),
        (Kind.DELETE, 100, 1),
        (Kind.COQL, 200, 1),
        (Kind.COQL, 201, 2),
        (Kind.COQL, 2000, 3),
        (Kind.BULK_WRITE, 25_000, 500),
        (Kind.BULK_READ, 1, 50),
        (Kind.ORG_READ, 1, 1),
    ],
)
def test_what_a_call_costs(kind: Kind, records: int, credits: int) -> None:
    assert price(kind, records) == credits


@pytest.mark.parametrize(
    ("edition", "users", "credits"),
    [
        ("free", 3, 5_000),
        ("standard", 1, 50_250),
        ("standard", 1000, 100_000),
        ("professional", 10, 55_000),
        ("enterprise", 5, 55_000),
        ("ultimate", 1, 52_000),
    ],
)
def test_what_an_organisation_has_a_day(edition: str, users: int, credits: int) -> None:
    assert daily_credits(edition, users) == credits


def test_concurrency_by_edition() -> None:
    assert [e.concurrency for e in EDITIONS.values()] == [5, 10, 15, 20, 25]


def test_heavy_calls() -> None:
    assert not is_heavy(Kind.UPSERT, 10)
    assert is_heavy(Kind.UPSERT, 11)
    assert is_heavy(Kind.COQL, 1)
    assert not is_heavy(Kind.DELETE, 100)


def test_a_first_429_means_too_many_at_once() -> None:
    assert RefusalWatch().refused(None, 0.0) is Reason.CONCURRENCY_LIMIT


def test_a_429_with_credits_left_means_too_many_at_once() -> None:
    assert RefusalWatch().refused(20_000, 0.0) is Reason.CONCURRENCY_LIMIT


def test_a_429_near_zero_means_credits() -> None:
    watch = RefusalWatch()
    watch.accepted(10)
    assert watch.refused(None, 0.0) is Reason.CREDITS_EXHAUSTED
    assert RefusalWatch().refused(0, 0.0) is Reason.CREDITS_EXHAUSTED


def test_a_429_that_stays_for_minutes_means_credits_until_a_call_goes_through() -> None:
    watch = RefusalWatch()
    assert watch.refused(None, 0.0) is Reason.CONCURRENCY_LIMIT
    assert watch.refused(None, 119.0) is Reason.CONCURRENCY_LIMIT
    assert watch.refused(None, 120.0) is Reason.CREDITS_EXHAUSTED
    watch.accepted(None)
    assert watch.refused(None, 300.0) is Reason.CONCURRENCY_LIMIT
