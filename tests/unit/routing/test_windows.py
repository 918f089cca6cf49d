"""Windows of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.routing.windows import seconds_until_window_ends

MOMENTS = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("clock", "window", "left"),
    [
        ("12:00:00", 300, 300),
        ("12:00:01", 300, 299),
        ("12:04:59", 300, 1),
        ("23:00:00", 86_400, 3_600),
        ("12:00:00", 0, 0),
    ],
)
def test_a_window_ends_by_the_clock(clock: str, window: float, left: float) -> None:
    assert seconds_until_window_ends(datetime.fromisoformat(f"2026-11-22T{clock}+00:00"), window) == left


@given(MOMENTS, st.integers(min_value=1, max_value=86_400))
def test_all_moments_of_a_window_share_its_end(moment: datetime, window: int) -> None:
    left = seconds_until_window_ends(moment, window)
    assert 0 < left <= window
    later = moment + timedelta(seconds=left / 2)
    assert abs(left / 2 - seconds_until_window_ends(later, window)) < 1e-3
