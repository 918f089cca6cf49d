"""The breaker: what is too much at once waits for a person.

Withdrawals are always judged. A rewrite (an update of a record that the CRM holds) is judged unless it carries nothing
but fields that may wait a day. What it counts against depends on what marked the record:

| marked by | counts against |
| --- | --- |
| a sweep, a replay, a person | `rewrite_limit` in an hour |
| a change, and a field that may not wait differs | `rewrite_limit` of its transaction, `announced_limit` in an hour |
| a change, and only fields of `rollup` differ | `announced_limit` in an hour |

The database is asked for every withdrawal. For rewrites it is asked once a process has let a twentieth of the limit
pass since it asked last, so that a single change costs no question; what it let pass is in the log by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog

from cdc.delivery.conclude import Case, Held
from cdc.delivery.line import Line
from cdc.delivery.planner import Planned
from cdc.lsn import Lsn
from cdc.routing.feeds import Feed, Lane
from cdc.state.breaker import Candidate, Judged, Limits, reserve
from cdc.state.claims import Claim
from cdc.state.held import describe, fields_of, is_withdrawal
from sinks.base import Action

_log = structlog.get_logger()

_SPARE: Final = 20
"""A process asks when it has used this fraction of a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the breaker says of a batch.

    Attributes:
        held: by key.
        reserved: log lines that were made, by record id.
        judged: how the others count, by record id.
    """

    held: Mapping[str, Held] = field(default_factory=dict)
    reserved: Mapping[str, UUID] = field(default_factory=dict)
    judged: Mapping[str, str] = field(default_factory=dict)


async def judge(line: Line, operations: Sequence[tuple[Case, Planned]]) -> Judgement:
    """Judge the updates and withdrawals of a batch.

    Args:
        line: whose feed it is.
        operations: all that would go.
    """
    feed = line.feed
    candidates: dict[str, Candidate] = {}
    approved: list[str] = []
    orphaned: list[str] = []  # the breaker has judged the withdrawal that orphaned them
    for case, planned in operations:
        record_id = planned.operation.record_id
        if planned.operation.action is Action.WITHDRAW:
            if feed.needs is not None and planned.parent_id is None:
                orphaned.append(record_id)
            elif _is_approved(case.claim, planned):
                approved.append(record_id)
            else:
                candidates[record_id] = Candidate(record_id=record_id, judged=Judged.WITHDRAWAL)
        elif (candidate := rewrite(feed, case.claim, planned)) is not None:
            candidates[record_id] = candidate
    judged = {record_id: candidate.judged.value for record_id, candidate in candidates.items()}
    limits = Limits(withdrawals=feed.withdraw_limit, rewrites=feed.rewrite_limit, announced=feed.announced_limit)
    if not (approved or orphaned or must_ask(line.unasked, candidates.values(), limits)):
        return Judgement(judged=judged)
    async with line.state.connection() as state:
        ruling = await reserve(state, feed.name, limits, list(candidates.values()), approved=approved, exempt=orphaned)
    held = {
        case.claim.key: Held(planned.operation.action, describe(planned.operation.action, planned.changed))
        for case, planned in operations
        if planned.operation.record_id in ruling.held
    }
    if held:
        kinds = Counter(h.action.value for h in held.values())
        _log.warning("held_by_breaker", feed=feed.name, **kinds)
    return Judgement(held=held, reserved=ruling.reserved, judged=judged)


def rewrite(feed: Feed, claim: Claim, planned: Planned) -> Candidate | None:
    """Say how an update counts; None if it doesn't. Pure."""
    record_id, changed = planned.operation.record_id, planned.changed
    lane = feed.lane_of(changed) if changed else Lane.LIVE
    if _is_approved(claim, planned) or (lane is Lane.DAILY and not claim.forced):
        return None
    if claim.lane is Lane.BULK or claim.forced:
        return Candidate(record_id=record_id, judged=Judged.UNANNOUNCED)
    # A class that takes up a quest changes the counters of all its pupils in one transaction, on any ordinary day.
    transaction = claim.last_lsn if lane is Lane.LIVE else None
    return Candidate(record_id=record_id, judged=Judged.ANNOUNCED, transaction=transaction)


def _is_approved(claim: Claim, planned: Planned) -> bool:
    """Tell whether a person has let just this pass: this kind, and for a rewrite no other fields than they saw."""
    if claim.approved is None:
        return False
    if planned.operation.action is Action.WITHDRAW:
        return is_withdrawal(claim.approved)
    return not claim.approved or (not is_withdrawal(claim.approved) and planned.changed <= fields_of(claim.approved))


def must_ask(unasked: Counter[Lsn | Judged], candidates: Iterable[Candidate], limits: Limits) -> bool:
    """Tell whether the database has to be asked. If not, what goes is noted."""
    fresh: Counter[Lsn | Judged] = Counter()
    for candidate in candidates:
        fresh[candidate.judged] += 1
        if candidate.transaction is not None:
            fresh[candidate.transaction] += 1
    spare: dict[Lsn | Judged, int] = {Judged.WITHDRAWAL: 0, Judged.ANNOUNCED: limits.announced // _SPARE}
    if all(unasked[what] + count <= spare.get(what, limits.rewrites // _SPARE) for what, count in fresh.items()):
        unasked.update(fresh)
        return False
    unasked.clear()
    return True
