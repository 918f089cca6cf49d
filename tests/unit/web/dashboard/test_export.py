"""The export: whole, and harmless where a spreadsheet opens it."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.lsn import Lsn
from cdc.routing.feeds import Lane
from cdc.state.failures import Failure
from cdc.web.dashboard.export import HEAD, harmless, line
from tests.support.status import NOW


def failure(key: str, detail: str = "") -> Failure:
    return Failure(
        feed="contacts", key=key, lane=Lane.LIVE, reason="FIELD_TOO_LONG", detail=detail, attempts=2, parked_at=NOW,
        dirty_at=NOW, first_lsn=Lsn(256), last_lsn=None,
    )  # fmt: skip


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1"])
def test_a_formula_becomes_text(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_no_cell_begins_with_a_formulas_sign_and_none_is_lost(key: str) -> None:
    [names, cells] = csv.reader(io.StringIO(HEAD + line(failure(key, 'a,"b"\n')), newline=""))
    assert len(names) == len(cells)
    found = dict(zip(names, cells, strict=True))
    assert found["key"] in {key, f"'{key}"}
    assert (found["detail"], found["first_lsn"], found["last_lsn"]) == ('a,"b"\n', "0/100", "")
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
