"""Numbers and states in words."""

from __future__ import annotations

import pytest

from cdc.cli.wording import exact_duration, milliseconds, size, story_outcome
from cdc.embedded.story import Deltas


@pytest.mark.parametrize(("count", "words"), [(None, "-"), (0, "0 kB"), (2048, "2 kB"), (5 * 1024 * 1024, "5.0 MB")])
def test_size(count: int | None, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(("value", "words"), [(None, "-"), (12.3, "12 ms"), (9_999, "9999 ms"), (12_000, "12 s")])
def test_milliseconds(value: float | None, words: str) -> None:
    assert milliseconds(value) == words


@pytest.mark.parametrize(
    ("deltas", "words"),
    [
        (Deltas(), "nothing to send"),
        (Deltas(contacts=1), "1 new contact"),
        (Deltas(contacts=30, changed=2), "30 new contacts, 2 contacts changed"),
        (Deltas(contacts=-1), "1 contact less"),
        (Deltas(changed=1, tasks=1, notes=2), "1 contact changed, 1 task, 2 notes"),
    ],
)
def test_story_outcome(deltas: Deltas, words: str) -> None:
    assert story_outcome(deltas) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (11_400, "3 h 10 min"), (90_000, "1 d 1 h")]
)
def test_an_exact_duration_has_its_two_largest_units(seconds: float, words: str) -> None:
    assert exact_duration(seconds) == words
