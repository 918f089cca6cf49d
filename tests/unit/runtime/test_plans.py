"""When a job is due, from the clock alone."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.runtime.plans import Daily, Every, Plan

NIGHT = Daily((time(2), time(14, 30)))


def at(hour: int, minute: int = 0, day: int = 10) -> datetime:
    return datetime(2026, 5, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "last", "following"),
    [
        (at(2), at(2), at(14, 30)),
        (at(1, 59), at(14, 30, 9), at(2)),
        (at(14, 30), at(14, 30), at(2, 0, 11)),
        (at(23, 59), at(14, 30), at(2, 0, 11)),
    ],
)
def test_times_of_day(now: datetime, last: datetime, following: datetime) -> None:
    assert (NIGHT.last(now), NIGHT.next(now)) == (last, following)
    assert str(NIGHT) == "daily at 02:00, 14:30 UTC"


def test_windows_are_the_same_for_all_processes() -> None:
    quarter = Every(15)
    assert (quarter.last(at(9, 44)), quarter.next(at(9, 44))) == (at(9, 30), at(9, 45))
    assert (quarter.last(at(9, 45)), quarter.next(at(9, 45))) == (at(9, 45), at(10))
    assert str(quarter) == "every 15 min"


MOMENTS = st.builds(
    datetime.fromtimestamp,
    st.integers(0, 4_000_000_000),
    st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))]),
)


@given(now=MOMENTS, plan=st.sampled_from([NIGHT, Daily((time(0),)), Daily((time(23, 59),)), Every(15), Every(0.5)]))
def test_now_lies_between_two_neighbouring_moments(now: datetime, plan: Plan) -> None:
    last, following = plan.last(now), plan.next(now)
    assert last <= now < following
    assert plan.next(last) == following
    assert plan.last(following) == following
