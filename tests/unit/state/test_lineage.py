"""Timeline history files, as the server writes them."""

from __future__ import annotations

import pytest

from cdc.lsn import Lsn
from cdc.state.lineage import Fork, left_at, parse_history

FILE = """1\t0/3000148\tno recovery target specified

# a comment
2\t1/A0000000\tbefore 2000-01-01 00:00:00.000000+00
"""


def test_a_history_lists_where_each_timeline_was_left() -> None:
    history = parse_history(FILE)
    assert history == (Fork(1, Lsn.parse("0/3000148")), Fork(2, Lsn.parse("1/A0000000")))
    assert left_at(history, 1) == Lsn.parse("0/3000148")
    assert left_at(history, 3) is None
    assert parse_history("") == ()


def test_anything_else_is_no_history() -> None:
    with pytest.raises(ValueError, match="not an LSN"):
        parse_history("1 here reason")
