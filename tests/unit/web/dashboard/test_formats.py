"""Numbers and times as a person reads them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cdc.web.dashboard import formats
from tests.support.status import NOW


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"), (0, "0 s"), (0.34, "340 ms"), (59.4, "59 s"), (60, "1 min"), (107, "1 min 47 s"),
        (200, "3 min"), (4_800, "1 h 20 min"), (86_400, "1 d"), (90_000, "1 d 1 h"), (-5, "0 s"), (86_400 * 9, "9 d"),
    ],
)  # fmt: skip
def test_a_length_of_time(seconds: float | None, words: str) -> None:
    assert formats.duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, "–"), (0, "0 B"), (1023, "1023 B"), (1024, "1 kB"), (1024**2 - 1, "1.0 MB"), (61 * 1024**2, "61.0 MB"),
        (4096 * 1024**2, "4.0 GB"), (1024**5, "1024.0 TB"),
    ],
)  # fmt: skip
def test_a_size(count: int | None, words: str) -> None:
    assert formats.size(count) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (1.0, "100%"), (0.0, "0%"), (0.99999, "99.9%"), (0.000001, "0.1%"), (0.994, "99.4%")],
)
def test_a_share_says_all_only_when_it_is_all(value: float | None, words: str) -> None:
    assert formats.share(value) == words


def test_times() -> None:
    assert formats.moment(NOW) == "2026-03-02 09:30:00"
    assert formats.ago(NOW - timedelta(minutes=5), NOW) == "5 min ago"
    assert formats.ago(None, NOW) == "never"
    assert formats.iso(NOW) == "2026-03-02T09:30:00+00:00"


def test_a_reason_has_its_meaning_and_an_unknown_one_has_none() -> None:
    assert formats.meaning("FIELD_TOO_LONG") == "A value is longer than the CRM's field."
    assert formats.hint("FIELD_TOO_LONG")
    assert (formats.meaning("OF_LATER"), formats.hint(None)) == ("", "")


def test_words() -> None:
    assert formats.counted(1, "record") == "1 record"
    assert formats.counted(1_200, "delivery", "deliveries") == "1,200 deliveries"
    assert formats.short("a" * 36) == "a" * 36
    assert len(formats.short("b" * 400)) < 40
