"""A lease of any length that may be set leaves room for a call, for recording it and for what comes before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.delivery.options import DeliveryOptions, times_within

KEY = b"0" * 16


@given(st.floats(min_value=5, max_value=100_000))
def test_every_lease_that_may_be_set_makes_valid_options(lease: float) -> None:
    options = DeliveryOptions(hash_key=KEY, worker_id="w", **times_within(lease))

    assert options.call_seconds + options.settle_seconds <= 0.8 * options.lease_seconds + 1e-9
    assert options.call_seconds >= 3
    assert options.settle_seconds >= 1


def test_the_default_lease_gives_the_default_times() -> None:
    assert DeliveryOptions(hash_key=KEY, worker_id="w", **times_within(120)) == DeliveryOptions(
        hash_key=KEY, worker_id="w"
    )


def test_a_long_lease_makes_no_call_longer() -> None:
    assert times_within(3600)["call_seconds"] == times_within(120)["call_seconds"]


def test_the_keys_of_a_dead_worker_are_looked_for_within_half_a_lease() -> None:
    assert times_within(6)["idle_seconds"] == 3


def test_a_lease_that_a_call_outlasts_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than"):
        DeliveryOptions(hash_key=KEY, worker_id="w", lease_seconds=60)
