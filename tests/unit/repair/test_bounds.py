"""What a person may ask for, and what the journal can answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdc.errors import ConfigError
from cdc.lsn import Lsn
from cdc.repair.bounds import Bounds, choose_span, parse_bounds
from cdc.state.journal import JournalGap, Span

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def parse(**options: str) -> Bounds:
    return parse_bounds(
        **{"from_lsn": None, "since": None, "to_lsn": None, "until": None, **options},  # type: ignore[arg-type]
        now=NOW,
    )


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("6h", NOW - timedelta(hours=6)),
        ("2d", NOW - timedelta(days=2)),
        (" 1.5 h ", NOW - timedelta(minutes=90)),
        ("0s", NOW),
        ("2026-11-26T09:30:00+01:00", NOW.replace(hour=8, minute=30)),
        ("2026-11-26T09:30:00Z", NOW.replace(hour=9, minute=30)),
        ("2026-11-26 09:30", NOW.replace(hour=9, minute=30)),
        ("2026-11-26", NOW.replace(hour=0)),
    ],
)
def test_times_and_ages(text: str, time: datetime) -> None:
    assert parse(since=text) == Bounds(time)
    assert parse(since="4w", until=text) == Bounds(NOW - timedelta(weeks=4), time)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "say from when"),
        ({"to_lsn": "0/1"}, "say from when"),
        ({"from_lsn": "0/1", "since": "1h"}, "--from-lsn and --since"),
        ({"from_lsn": "0/1", "until": "1h", "to_lsn": "0/2"}, "--to-lsn and --until"),
        ({"from_lsn": "16B3748"}, "--from-lsn: '16B3748' is not an LSN"),
        ({"from_lsn": "0/1", "to_lsn": "zero"}, "--to-lsn: 'zero'"),
        ({"since": "yesterday"}, "--since: 'yesterday' is neither a time nor an age"),
        ({"since": "-1h"}, "neither a time nor an age"),
        ({"since": "6"}, "neither a time nor an age"),
        ({"since": "999999w"}, "neither a time nor an age"),
        ({"since": "2026-13-01"}, "neither a time nor an age"),
        ({"since": "2026-11-27"}, "in the future"),
        ({"since": "1h", "until": "2026-11-26T13:00:00"}, "--until: 2026-11-26T13:00:00.000000Z lies in the future"),
        ({"since": "1h", "until": "2h"}, "before it begins"),
        ({"from_lsn": "0/2", "to_lsn": "0/1"}, "ends at 0/1, before it begins at 0/2"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(options: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(**options)
    assert words in caught.value.message
    assert caught.value.fix


def hours(number: float) -> datetime:
    return NOW - timedelta(hours=number)


def span(number: int, begin: int, end: int, age: float, ended: float | None = None, **more: Any) -> Span:
    """A span from LSN `begin` to `end`, begun so many hours ago."""
    values = {"system_id": "1", "timeline": 1, "after_chunk": 0, "to_chunk": None if ended is None else 10}
    return Span(
        id=number, from_lsn=Lsn(begin), to_lsn=Lsn(end), from_time=hours(age), began_at=hours(age),
        to_time=None if ended is None else hours(ended), ended_at=None if ended is None else hours(ended - 0.4),
        **{**values, **more},
    )  # fmt: skip


def gap(begin: int, end: int | None, age: float, cause: str = "the slot was dropped") -> JournalGap:
    return JournalGap(cause, str(Lsn(begin)), None if end is None else str(Lsn(end)), hours(age), None)


ONE = [span(1, 100, 500, 48)]
TWO = [span(1, 100, 300, 48, 24), span(2, 400, 500, 23)]
TWO_GAPS = [gap(300, 400, 23.6)]


@pytest.mark.parametrize(
    ("spans", "bounds", "number"),
    [
        (ONE, Bounds(Lsn(100)), 1),
        (ONE, Bounds(Lsn(600)), 1),  # nothing there yet, and that is no mistake
        (ONE, Bounds(hours(48)), 1),
        (ONE, Bounds(hours(2), Lsn(450)), 1),
        (TWO, Bounds(Lsn(400)), 2),
        (TWO, Bounds(hours(1)), 2),
        (TWO, Bounds(Lsn(100), Lsn(299)), 1),
        (TWO, Bounds(hours(40), hours(24)), 1),
        # LSNs began anew with another cluster: a number means that one's
        ([span(1, 100, 900, 48, 24), span(2, 200, 500, 23, system_id="2")], Bounds(Lsn(450)), 2),
        # a restored database: the same cluster went through the same LSNs twice
        ([span(1, 100, 900, 48, 24), span(2, 200, 500, 23, timeline=2)], Bounds(Lsn(300)), 2),
    ],
)
def test_a_window_that_is_whole(spans: list[Span], bounds: Bounds, number: int) -> None:
    assert choose_span(spans, TWO_GAPS if len(spans) == 2 else [], bounds).id == number


@pytest.mark.parametrize(
    ("spans", "gaps", "bounds", "words", "fix"),
    [
        (ONE, [], Bounds(Lsn(99)), "0/63 is older than the journal, which is complete from 0/64", "--from-lsn 0/64"),
        (ONE, [], Bounds(hours(49)), "is older than the journal", "--since 2026-11-24T12:00:00.000000Z (0/64)"),
        (TWO, TWO_GAPS, Bounds(Lsn(99)), "is older than the journal", "--from-lsn 0/64"),
        (TWO, TWO_GAPS, Bounds(Lsn(350)), "lies in a gap of the journal: the slot was dropped", "--from-lsn 0/190"),
        (TWO, TWO_GAPS, Bounds(hours(23.9)), "lies in a gap of the journal", "--since 2026-11-25T13:00"),
        (TWO, TWO_GAPS, Bounds(Lsn(200)), "a gap lies in this window: the slot was dropped", "--from-lsn 0/190"),
        (TWO, TWO_GAPS, Bounds(Lsn(200), Lsn(300)), "between 0/12C and 0/190", "cdc sweep"),
        (TWO, TWO_GAPS, Bounds(hours(40), hours(1)), "a gap lies in this window", "--since 2026-11-25T13:00"),
        # recorded while the span went on, by whatever hand
        (ONE, [gap(200, 300, 1)], Bounds(Lsn(150)), "a gap lies in this window", "cdc sweep"),
        (ONE, [gap(200, None, 1)], Bounds(hours(2)), "a gap lies in this window", "cdc sweep"),
        # another cluster's LSNs are nobody's
        ([span(1, 100, 900, 48, 24), span(2, 600, 700, 23, system_id="2")], [], Bounds(Lsn(500)), "older", "0/258"),
    ],
)
def test_a_window_with_a_hole_is_refused(
    spans: list[Span], gaps: list[JournalGap], bounds: Bounds, words: str, fix: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_span(spans, gaps, bounds)
    assert words in caught.value.message
    assert fix in str(caught.value.fix)
    assert "cdc sweep" in str(caught.value.fix)


def test_gaps_outside_a_window_are_no_matter() -> None:
    spans, before_it_began = ONE, gap(200, 300, 49)
    assert choose_span(spans, [before_it_began, gap(200, 300, 1)], Bounds(Lsn(301))).id == 1
