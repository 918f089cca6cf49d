"""How many keys to claim and when, and how operations are put together into calls. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cdc.routing.feeds import Lane
from sinks.base import Action

URGENCY: tuple[Lane, ...] = tuple(Lane)
"""Lanes, most urgent first."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of one feed may be under way in this process.

    Attributes:
        batch_size: most keys in a claim; the sink's own limit of records in a call.
        parallel: most batches at the same time.
        bulk_parallel: most bulk batches at the same time; less than `parallel`, so that a live change finds room.
    """

    batch_size: int
    parallel: int = 4
    bulk_parallel: int = 2


@dataclass(frozen=True, slots=True)
class InFlight:
    """Batches of one feed that are under way."""

    urgent: int = 0
    bulk: int = 0


@dataclass(frozen=True, slots=True)
class Take:
    """A claim worth making now.

    Attributes:
        lanes: which, most urgent first.
        limit: most keys.
        at_least: claim nothing if fewer are due.
    """

    lanes: tuple[Lane, ...]
    limit: int
    at_least: int


def urgent_take(in_flight: InFlight, limits: Limits, allowed: Collection[Lane]) -> Take | None:
    """Decide about live, rollup and daily keys.

    With nothing under way whatever is due leaves at once. With something under way the next ones gather, and go in
    parallel only as a full batch: so one change is fast and a burst is batched, without a timer.
    """
    lanes = tuple(lane for lane in URGENCY if lane is not Lane.BULK and lane in allowed)
    if not lanes or in_flight.urgent + in_flight.bulk >= limits.parallel:
        return None
    return Take(lanes, limits.batch_size, limits.batch_size if in_flight.urgent else 1)


def bulk_take(in_flight: InFlight, limits: Limits, allowed: Collection[Lane]) -> Take | None:
    """Decide about bulk keys; to be asked only when no other key is due."""
    if Lane.BULK not in allowed or in_flight.urgent or in_flight.bulk >= limits.bulk_parallel:
        return None
    return Take((Lane.BULK,), limits.batch_size, 1)


def into_calls(items: Sequence[T], batch_size: int, action: Callable[[T], Action]) -> Iterator[list[T]]:
    """Split into calls of at most `batch_size`: withdrawals first and apart from the others.

    First, since a record that leaves may free a unique value that one of the others takes.
    """
    withdrawals = [item for item in items if action(item) is Action.WITHDRAW]
    others = [item for item in items if action(item) is not Action.WITHDRAW]
    for group in (withdrawals, others):
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]
