"""How long a slot will last, from rows of samples that are made up, and from a ramp with a burst in it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from cdc.lsn import Lsn
from cdc.watch.runway import Sample, runway_seconds, seconds_behind, shrink_rate

START = datetime(2026, 1, 1, tzinfo=UTC)
GB = 1 << 30


def samples(room: Callable[[int], int | None], count: int = 40, every: int = 15) -> list[Sample]:
    """A sample each quarter of a minute; `room` takes the seconds since the first."""
    return [Sample(START + timedelta(seconds=n * every), Lsn(n * 1_000_000), room(n * every)) for n in range(count)]


def test_a_steady_loss_is_measured_and_divided_into_what_is_left() -> None:
    steady = samples(lambda t: 4 * GB - 100_000 * t)
    assert shrink_rate(steady) == pytest.approx(100_000)
    assert runway_seconds(steady, 1_140_000_000) == pytest.approx(11_400)  # 3 h 10 min


def test_a_burst_does_not_move_the_rate_and_a_slot_that_follows_has_none() -> None:
    burst = samples(lambda t: 4 * GB - 1_000 * t - (GB if t == 300 else 0))
    assert shrink_rate(burst) == pytest.approx(1_000, rel=0.05)
    follows = samples(lambda t: 4 * GB - (t % 60) * 100_000)  # it gains room back in jumps
    assert shrink_rate(follows[:37]) is None  # whole teeth
    assert shrink_rate(samples(lambda t: 4 * GB + t)) is None


def test_an_old_loss_is_forgotten_after_the_window() -> None:
    assert shrink_rate(samples(lambda t: 4 * GB - min(t, 600) * 100_000, count=120)) is None


def test_nothing_is_said_without_a_limit_or_enough_samples() -> None:
    assert runway_seconds(samples(lambda _: None), None) is None
    assert runway_seconds(samples(lambda t: GB - t, count=3), GB) is None
    assert runway_seconds([], GB) is None
    assert runway_seconds([], 0) == 0.0
    assert runway_seconds([], -5) == 0.0


def test_how_long_ago_the_log_ended_somewhere_is_read_off_the_samples() -> None:
    row = samples(lambda _: None, count=3)  # 0 at 0 s, 1 MB at 15 s, 2 MB at 30 s
    now, end = START + timedelta(seconds=40), Lsn(3_000_000)
    assert seconds_behind(end, row, now, end) == 0.0
    assert seconds_behind(Lsn(1_500_000), row, now, end) == pytest.approx(17.5)
    assert seconds_behind(Lsn(2_500_000), row, now, end) == pytest.approx(5.0)
    assert seconds_behind(Lsn(1_000_000), row, now, end) == pytest.approx(25.0)
    assert seconds_behind(Lsn(5), row[1:], now, end) is None
