from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.delivery.budget import LANE_SHARE, credits_left, lanes_within
from cdc.routing.feeds import Lane


def test_every_lane_has_a_share() -> None:
    assert set(LANE_SHARE) == set(Lane)


@pytest.mark.parametrize(
    ("used", "lanes"),
    [
        (0, {"live", "rollup", "daily", "bulk"}),
        (599, {"live", "rollup", "daily", "bulk"}),
        (600, {"live", "rollup", "daily"}),
        (700, {"live", "rollup"}),
        (800, {"live"}),
        (900, set()),
        (5000, set()),
    ],
)
def test_lanes_stop_one_after_the_other(used: int, lanes: set[str]) -> None:
    assert lanes_within(used, 1000) == lanes


def test_a_sink_that_costs_nothing_stops_no_lane() -> None:
    assert lanes_within(10**9, None) == set(Lane)


def test_the_reserve_is_taken_off_first() -> None:
    assert lanes_within(850, 1000, reserve=100) == frozenset()
    assert lanes_within(0, 1000, reserve=2000) == frozenset()


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_spending_never_opens_a_lane(used: int, more: int, limit: int) -> None:
    assert lanes_within(used + more, limit) <= lanes_within(used, limit)


def test_what_a_lane_has_left_ends_at_its_share() -> None:
    assert credits_left(Lane.BULK, 0, 50_000, 5_000) == 27_000
    assert credits_left(Lane.BULK, 27_001, 50_000, 5_000) == 0
    assert credits_left(Lane.BULK, 1_000_000, None) == math.inf
