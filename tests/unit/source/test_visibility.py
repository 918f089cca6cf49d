"""Which transactions a snapshot sees, when the stream has only 32 bits of their ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.source.visibility import Snapshot

EPOCH = 1 << 32


@pytest.mark.parametrize(
    ("text", "xid", "visible"),
    [
        ("10:20:10,14", 9, True),
        ("10:20:10,14", 10, False),
        ("10:20:10,14", 13, True),
        ("10:20:10,14", 14, False),
        ("10:20:10,14", 19, True),
        ("20:20:", 20, False),
        ("20:20:", 19, True),
        ("20:20:", 21, False),  # it got its id before a transaction that has ended, and commits
        ("20:20:", EPOCH - 5, True),  # long ago: ids are compared on a circle
    ],
)
def test_a_snapshot_sees_what_is_below_its_end_and_not_running(text: str, xid: int, visible: bool) -> None:
    assert Snapshot.parse(text).sees(xid) is visible


@given(st.integers(min_value=3, max_value=5 * EPOCH), st.integers(min_value=1, max_value=1 << 30))
def test_ids_are_told_apart_across_a_wraparound(xmax: int, back: int) -> None:
    xid = max(0, xmax - back)
    assert Snapshot(xmax, frozenset()).sees(xid % EPOCH)
    assert not Snapshot(xmax, frozenset({xid})).sees(xid % EPOCH)
    assert not Snapshot(xmax, frozenset()).sees(xmax % EPOCH)
    assert not Snapshot(xmax, frozenset()).sees((xmax + back) % EPOCH)
