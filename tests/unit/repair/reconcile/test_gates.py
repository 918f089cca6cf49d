"""Each gate, closed by the least that closes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cdc.repair.reconcile.gates import Situation, closed_gates
from cdc.state.reconciles import Obstacles
from tests.unit.repair.reconcile.cases import RUN

OPEN = Situation(
    is_complete=True,
    is_caught_up=True,
    compared=10_200,
    fixes=500,
    credits=1_000,
    credits_left=10_000,
    crm_counts={"people": 1_200},
    last=RUN,
    mapping="m",
    obstacles=Obstacles(backlog=100),
)


def test_all_open_at_their_limits() -> None:
    assert closed_gates(OPEN) == []
    assert closed_gates(replace(OPEN, crm_counts={"people": 800})) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_complete": False}, "isn't complete"),
        ({"is_caught_up": False}, "hasn't caught up"),
        ({"compared": 10_000}, "5.0% of the compared records would be sent"),
        ({"fixes": 501}, "501 records would be sent; 500 is the limit"),
        ({"credits": 1_001}, "it costs 1,001 credits; a tenth of what is left is 1,000"),
        ({"last": None}, "no complete run before"),
        ({"crm_counts": {"people": 1_201}}, "people: the CRM has 1,201 records and had 1,000"),
        ({"crm_counts": {"people": 799}}, "people: the CRM has 799"),
        ({"mapping": "other"}, "feeds or views have changed"),
        ({"obstacles": Obstacles(paused=["zoho"])}, "delivery is paused: zoho"),
        ({"obstacles": Obstacles(jobs=1)}, "a backfill is under way"),
        ({"obstacles": Obstacles(backlog=101)}, "a backfill is under way"),
        ({"obstacles": Obstacles(gaps=1)}, "the slot had a gap"),
    ],
)
def test_each_closes_alone(change: dict[str, Any], words: str) -> None:
    [said] = closed_gates(replace(OPEN, **change))
    assert words in said
