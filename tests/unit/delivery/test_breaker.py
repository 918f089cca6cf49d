"""How an update counts, and when the database is asked about it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cdc.delivery.breaker import must_ask, rewrite
from cdc.delivery.planner import Planned
from cdc.lsn import Lsn
from cdc.routing.feeds import Lane, parse_profile
from cdc.state.breaker import Candidate, Judged, Limits
from cdc.state.claims import Claim
from cdc.state.held import describe
from sinks.base import Action, Operation

FEED = parse_profile(
    "small",
    Path("small"),
    {
        "people": {
            "sink": "memory.people",
            "view": "v",
            "key": "id",
            "watch": {"people": {"key": "id"}},
            "fields": {
                "XP": {"label": "XP", "type": "integer", "lane": "rollup"},
                "Streak": {"label": "Streak", "type": "integer", "lane": "daily"},
            },
        }
    },
).feeds["people"]
LIMITS = Limits(withdrawals=100, rewrites=100, announced=1000)


def claim(**changes: Any) -> Claim:
    values: dict[str, Any] = {
        "key": "1", "lane": Lane.LIVE, "generation": 1, "forced": False, "attempts": 0,
        "dirty_at": datetime.now(UTC), "last_lsn": Lsn(7), "deferred_until": None, "approved": None, "entries": (),
    }  # fmt: skip
    return Claim(**{**values, **changes})


def update(*changed: str) -> Planned:
    operation = Operation(record_id="1", action=Action.UPDATE, fields=dict.fromkeys(changed, 1), crm_id="c")
    return Planned(operation=operation, key="1", parent_id=None, changed=frozenset(changed))


@pytest.mark.parametrize(
    ("claimed", "changed", "judged", "transaction"),
    [
        (claim(), ["Name"], Judged.ANNOUNCED, Lsn(7)),
        (claim(), ["Name", "Streak"], Judged.ANNOUNCED, Lsn(7)),
        (claim(lane=Lane.ROLLUP), ["XP"], Judged.ANNOUNCED, None),
        (claim(lane=Lane.ROLLUP), ["XP", "Streak"], Judged.ANNOUNCED, None),
        (claim(lane=Lane.BULK, last_lsn=None), ["Name"], Judged.UNANNOUNCED, None),
        (claim(lane=Lane.BULK, last_lsn=None), ["XP"], Judged.UNANNOUNCED, None),
        (claim(forced=True), [], Judged.UNANNOUNCED, None),
        (claim(forced=True), ["Streak"], Judged.UNANNOUNCED, None),
    ],
)
def test_an_update_counts_by_what_marked_it_and_what_differs(
    claimed: Claim, changed: list[str], judged: Judged, transaction: Lsn | None
) -> None:
    expected = Candidate(record_id="1", judged=judged, transaction=transaction)
    assert rewrite(FEED, claimed, update(*changed)) == expected


@pytest.mark.parametrize("lane", list(Lane))
def test_what_may_wait_a_day_never_counts(lane: Lane) -> None:
    assert rewrite(FEED, claim(lane=lane), update("Streak")) is None


def test_an_approval_covers_what_was_shown_and_nothing_else() -> None:
    approved = claim(lane=Lane.BULK, approved=describe(Action.UPDATE, {"Name", "XP"}))
    assert rewrite(FEED, approved, update("Name")) is None
    assert rewrite(FEED, approved, update("Name", "Email")) is not None
    assert rewrite(FEED, claim(lane=Lane.BULK, approved=describe(Action.WITHDRAW, ())), update("Name")) is not None
    assert rewrite(FEED, claim(lane=Lane.BULK, approved=""), update("Name")) is None, "a person's retry"


def test_single_changes_ask_nothing_until_a_twentieth_of_the_limit_is_used() -> None:
    unasked: Counter[Lsn | Judged] = Counter()
    one = [Candidate(record_id="1", judged=Judged.ANNOUNCED, transaction=None)]
    asked = [must_ask(unasked, one, LIMITS) for _ in range(102)]
    assert [n for n, ask in enumerate(asked) if ask] == [50, 101]


@pytest.mark.parametrize(
    ("candidate", "free"),
    [
        (Candidate(record_id="1", judged=Judged.WITHDRAWAL), 0),
        (Candidate(record_id="1", judged=Judged.UNANNOUNCED), 5),
        (Candidate(record_id="1", judged=Judged.ANNOUNCED, transaction=Lsn(7)), 5),
        (Candidate(record_id="1", judged=Judged.ANNOUNCED), 50),
    ],
)
def test_a_batch_asks_as_soon_as_it_could_matter(candidate: Candidate, free: int) -> None:
    assert not must_ask(Counter(), [candidate] * free, LIMITS)
    assert must_ask(Counter(), [candidate] * (free + 1), LIMITS)


def test_transactions_are_told_apart() -> None:
    unasked: Counter[Lsn | Judged] = Counter()
    for lsn in range(10):
        batch = [Candidate(record_id=str(n), judged=Judged.ANNOUNCED, transaction=Lsn(lsn)) for n in range(4)]
        assert not must_ask(unasked, batch, LIMITS)
