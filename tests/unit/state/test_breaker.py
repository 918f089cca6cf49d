"""What the breaker holds, given what happened in the last hour."""

from __future__ import annotations

import pytest

from cdc.lsn import Lsn
from cdc.state.breaker import Candidate, Judged, Limits, Recent, hold

LIMITS = Limits(withdrawals=2, rewrites=3, announced=10)


def candidates(count: int, judged: Judged, transaction: int | None = None, *, first: int = 1) -> list[Candidate]:
    lsn = None if transaction is None else Lsn(transaction)
    return [Candidate(record_id=str(n), judged=judged, transaction=lsn) for n in range(first, first + count)]


@pytest.mark.parametrize(("judged", "limit"), [(Judged.WITHDRAWAL, 2), (Judged.UNANNOUNCED, 3), (Judged.ANNOUNCED, 10)])
def test_what_reaches_the_limit_passes_and_what_exceeds_it_is_held_whole(judged: Judged, limit: int) -> None:
    assert hold(candidates(limit, judged), Recent(), LIMITS) == frozenset()
    assert len(hold(candidates(limit + 1, judged), Recent(), LIMITS)) == limit + 1
    assert len(hold(candidates(1, judged), Recent({judged: limit}), LIMITS)) == 1


def test_one_kind_does_not_use_up_another_s_limit() -> None:
    recent = Recent({Judged.WITHDRAWAL: 2, Judged.UNANNOUNCED: 3})
    assert hold(candidates(5, Judged.ANNOUNCED), recent, LIMITS) == frozenset()


def test_a_transaction_that_rewrites_many_is_held_and_its_neighbours_are_not() -> None:
    mass, single = candidates(4, Judged.ANNOUNCED, 7), candidates(1, Judged.ANNOUNCED, 8, first=9)
    assert hold([*mass, *single], Recent(), LIMITS) == {"1", "2", "3", "4"}


def test_a_transaction_is_counted_over_its_batches() -> None:
    recent = Recent({Judged.ANNOUNCED: 3}, {Lsn(7): 3})
    assert hold(candidates(1, Judged.ANNOUNCED, 7), recent, LIMITS) == {"1"}
    assert hold(candidates(1, Judged.ANNOUNCED, 8), recent, LIMITS) == frozenset()
