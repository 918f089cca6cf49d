"""A replay's dry run: how many records it touches, what would differ, and what sending that would cost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from types import MappingProxyType
from typing import Any, Final

from psycopg import AsyncConnection

from cdc.repair.replay import Window, read_window
from cdc.routing.feeds import Feed, Profile
from cdc.routing.keys import Retracer, Unwatched
from cdc.runtime.comparing import Case, Standing, compare, differing
from cdc.state.truth import Truth
from sinks.base import Action
from sinks.zoho.limits import MAX_RECORDS, Kind, price

_SAMPLE: Final = 5_000  # keys of a feed; more than twice as many are not all compared
_READ: Final = 1_000
_PARALLEL: Final = 2  # bulk calls at a time, see cdc.delivery.batching
_ASSUMED_SECONDS: Final = 1.0
_ENOUGH: Final = 20  # answers that a measured time must rest on

_WRITES: Mapping[str, tuple[Kind, Kind]] = MappingProxyType(
    {
        "zoho.contacts": (Kind.UPSERT, Kind.UPSERT),
        "zoho.tasks": (Kind.INSERT, Kind.UPDATE),
        "zoho.notes": (Kind.INSERT, Kind.UPDATE),
    }
)
"""The calls of each sink: for a creation, for an update."""


@dataclass(slots=True)
class Rehearsed:
    """What a replay would do to one feed.

    Attributes:
        records: keys touched.
        compared: of them, how many were compared; the numbers below are of these, and costs are scaled up from them.
        equal: nothing would be sent.
        waiting: hang on a record that isn't in the CRM.
        refused: can't be sent as the view gives them.
        fields: by field, in how many records that the CRM holds it differs.
        calls: to the CRM.
        credits: that these cost.
    """

    feed: str
    records: int = 0
    compared: int = 0
    creates: int = 0
    updates: int = 0
    withdrawals: int = 0
    equal: int = 0
    waiting: int = 0
    refused: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    credits: int = 0

    @property
    def is_sample(self) -> bool:
        """True when not every record was compared."""
        return self.compared < self.records


@dataclass(slots=True)
class Rehearsal:
    """What a replay would do.

    Attributes:
        unwatched: what the journal couldn't say.
        call_seconds: how long a call takes.
        is_measured: that time is from the sync log; False for an assumption.
    """

    changes: int
    feeds: list[Rehearsed]
    unwatched: Sequence[Unwatched]
    call_seconds: float
    is_measured: bool

    @property
    def seconds(self) -> float:
        """About how long sending takes, with nothing more urgent to send."""
        return sum(feed.calls for feed in self.feeds) * self.call_seconds / _PARALLEL


async def rehearse(
    source: AsyncConnection[Any],
    state: AsyncConnection[Any],
    profile: Profile,
    window: Window,
    retracer: Retracer,
    hash_key: bytes,
    *,
    forced: bool,
    show: Callable[[int], None],
) -> Rehearsal:
    """Read a window and compare what it touched; marks nothing and sends nothing.

    Raises:
        ProfileError: if a view can't be read.
        StateError: if retention takes chunks away meanwhile.
    """
    changes = 0
    async for batch in read_window(state, window, retracer):
        changes += batch.changes
        show(changes)
    found = []
    for name in sorted(retracer.feeds):
        keys = sorted(retracer.known.get(name, ()))
        found.append(await _rehearse(source, state, profile.feeds[name], keys, hash_key, Standing(forced=forced)))
    measured = await _observed_seconds(state)
    return Rehearsal(
        changes, found, sorted(retracer.unwatched), measured or _ASSUMED_SECONDS, is_measured=measured is not None
    )


async def _rehearse(
    source: AsyncConnection[Any],
    state: AsyncConnection[Any],
    feed: Feed,
    keys: list[str],
    hash_key: bytes,
    standing: Standing,
) -> Rehearsed:
    result = Rehearsed(feed.name, records=len(keys))
    if len(keys) > 2 * _SAMPLE:
        keys = random.Random(0).sample(keys, _SAMPLE)  # noqa: S311 - the same sample for the same keys
    truth = await Truth.open(source, feed)
    for start in range(0, len(keys), _READ):
        cases = await compare(source, state, truth, keys[start : start + _READ], hash_key, standing)
        for case in cases.values():
            _count(result, case)
    result.compared = len(keys)
    price_calls(result, feed.sink)
    return result


def _count(result: Rehearsed, case: Case) -> None:
    plan = case.plan
    result.refused += len(plan.refused)
    result.waiting += bool(plan.missing)
    result.equal += not (plan.planned or plan.refused or plan.missing)
    for planned in plan.planned:
        match planned.operation.action:
            case Action.CREATE:
                result.creates += 1
            case Action.UPDATE:
                result.updates += 1
                result.fields.update(differing(planned, case.entries))
            case Action.WITHDRAW:
                result.withdrawals += 1


def price_calls(result: Rehearsed, sink: str) -> None:
    """Price the calls. A worker claims a batch of keys and sends those of them that differ, so they spread over all."""
    if not result.compared or sink not in _WRITES:
        return
    scale = result.records / result.compared
    claims = ceil(result.records / MAX_RECORDS)
    create, update = _WRITES[sink]
    wanted: Counter[Kind] = Counter()
    wanted[create] += result.creates
    wanted[update] += result.updates
    wanted[Kind.DELETE] += result.withdrawals
    for kind, counted in wanted.items():
        records = ceil(counted * scale)
        calls = min(records, claims)
        if calls:
            result.calls += calls
            result.credits += calls * price(kind, ceil(records / calls))


async def _observed_seconds(state: AsyncConnection[Any]) -> float | None:
    """Take from the sync log how soon the quickest answers came after their commit; None if there are few.

    The quickest twentieth, since the others gathered first or waited their turn.
    """
    row = await (
        await state.execute(
            "select count(*), percentile_cont(0.05) within group (order by latency_ms) from cdc.zoho_sync_log"
            " where created_at > now() - interval '7 days' and status = 'success' and latency_ms is not null"
        )
    ).fetchone()
    return None if row is None or row[0] < _ENOUGH else float(row[1]) / 1_000
