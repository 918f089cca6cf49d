from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdc.delivery.batching import URGENCY, InFlight, Limits, Take, bulk_take, into_calls, urgent_take
from cdc.routing.feeds import Lane
from sinks.base import Action

LIMITS = Limits(batch_size=100, parallel=4, bulk_parallel=2)
ALL = frozenset(Lane)
_flights = st.builds(InFlight, st.integers(0, 6), st.integers(0, 6))


def test_alone_a_single_change_leaves_at_once() -> None:
    assert urgent_take(InFlight(), LIMITS, ALL) == Take((Lane.LIVE, Lane.ROLLUP, Lane.DAILY), 100, 1)


def test_behind_a_batch_changes_gather_until_they_fill_one() -> None:
    take = urgent_take(InFlight(urgent=1), LIMITS, ALL)
    assert take is not None
    assert take.at_least == take.limit == 100


def test_a_backfill_under_way_does_not_make_a_live_change_wait() -> None:
    take = urgent_take(InFlight(bulk=2), LIMITS, ALL)
    assert take is not None
    assert take.at_least == 1


def test_a_backfill_leaves_room_and_gives_way() -> None:
    assert bulk_take(InFlight(bulk=1), LIMITS, ALL) is not None
    assert bulk_take(InFlight(bulk=2), LIMITS, ALL) is None
    assert bulk_take(InFlight(urgent=1), LIMITS, ALL) is None


def test_lanes_that_may_not_spend_are_not_claimed() -> None:
    take = urgent_take(InFlight(), LIMITS, {Lane.LIVE})
    assert take is not None
    assert take.lanes == (Lane.LIVE,)
    assert urgent_take(InFlight(), LIMITS, {Lane.BULK}) is None
    assert bulk_take(InFlight(), LIMITS, {Lane.LIVE}) is None


@given(_flights, st.sets(st.sampled_from(Lane)))
def test_never_more_than_the_limits(flight: InFlight, allowed: set[Lane]) -> None:
    if flight.urgent + flight.bulk >= LIMITS.parallel:
        assert urgent_take(flight, LIMITS, allowed) is None
    take = urgent_take(flight, LIMITS, allowed)
    if take is not None:
        assert set(take.lanes) <= allowed - {Lane.BULK}
        assert list(take.lanes) == sorted(take.lanes, key=URGENCY.index)


@given(st.lists(st.tuples(st.integers(), st.sampled_from(Action))), st.integers(1, 7))
def test_calls_hold_everything_once_and_withdrawals_first_and_apart(
    items: list[tuple[int, Action]], batch_size: int
) -> None:
    calls = list(into_calls(items, batch_size, lambda item: item[1]))
    assert all(0 < len(c) <= batch_size for c in calls)
    withdrawing = [{action for _, action in c} == {Action.WITHDRAW} for c in calls]
    assert withdrawing == sorted(withdrawing, reverse=True)
    for c, apart in zip(calls, withdrawing, strict=True):
        assert apart or all(action is not Action.WITHDRAW for _, action in c)
    assert sorted((item for c in calls for item in c), key=repr) == sorted(items, key=repr)
