"""Settles a bulk job's outcomes portion by portion, each as an ordinary batch is settled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from cdc.delivery.batch import Batch
from cdc.delivery.calls import Answers
from cdc.delivery.conclude import Case
from cdc.delivery.line import Line
from cdc.delivery.planner import Plan, Planned
from cdc.delivery.prepare import Prepared, children_of
from cdc.routing.feeds import Lane
from cdc.state import bulkitems
from cdc.state.bulk import Job
from cdc.state.bulkitems import Item
from cdc.state.claims import Claim, Claimed
from sinks.base import Action, Delivered, Effect, Operation, Outcome


@dataclass(slots=True)
class Totals:
    """What became of a job's records."""

    created: int = 0
    updated: int = 0
    refused: int = 0

    def count(self, outcome: Outcome) -> None:
        """Add one."""
        if not isinstance(outcome, Delivered):
            self.refused += 1
        elif outcome.effect is Effect.CREATED:
            self.created += 1
        else:
            self.updated += 1


async def settle_portion(line: Line, job: Job, outcomes: Sequence[Outcome]) -> None:
    """Record some outcomes. Those whose keys are settled already, or no longer the job's, are passed over.

    Args:
        line: the feed's, as the job works on it.
        job: whose outcomes.
        outcomes: of distinct records.

    Raises:
        psycopg.OperationalError: if a database can't be reached; the portion may be settled again.
    """
    known = {outcome.record_id: outcome for outcome in outcomes}
    async with line.state.connection() as state:
        items = await bulkitems.held(state, job, known)
    if not items:
        return
    found = {item.record_id: known[item.record_id] for item in items}
    prepared = Prepared({item.key: _case(item) for item in items})
    new = [item.record_id for item in items if _is_new(item, found[item.record_id])]
    for child in line.children if new else ():
        for parent_id, key, _ in await children_of(line, child, new):
            prepared.children.setdefault(parent_id, []).append((child.feed.name, key))
    claims = tuple(case.claim for case in prepared.cases.values())
    batch = Batch(
        line=line,
        claimed=Claimed(job.begun_at, job.claimed_until, claims),
        started=line.clock(),
        prepared=prepared,
        answers=Answers(outcomes=found),
    )
    await batch.finish()


def portions(outcomes: Iterator[Outcome], size: int) -> Iterator[list[Outcome]]:
    """Divide outcomes, without holding more than one portion."""
    while portion := list(islice(outcomes, size)):
        yield portion


def _is_new(item: Item, outcome: Outcome) -> bool:
    """Tell whether the sink holds a record that nothing hangs on yet."""
    return isinstance(outcome, Delivered) and (
        item.action == Action.CREATE.value or outcome.effect is Effect.CREATED or outcome.crm_id != item.crm_id
    )


def _case(item: Item) -> Case:
    """Make the case anew from what is on record. The values are gone; which fields went out is all that counts."""
    operation = Operation(
        record_id=item.record_id,
        action=Action(item.action),
        fields=dict.fromkeys(item.field_hashes),
        crm_id=item.crm_id,
        uncertain=item.uncertain,
    )
    planned = Planned(
        operation=operation,
        key=item.key,
        parent_id=None,
        field_hashes=item.field_hashes,
        row_hash=item.row_hash,
    )
    claim = Claim(
        key=item.key,
        lane=Lane.BULK,
        generation=item.generation,
        forced=False,
        attempts=item.attempts,
        dirty_at=item.dirty_at,
        last_lsn=item.last_lsn,
        deferred_until=None,
        approved=None,
        entries=(),
    )
    return Case(claim=claim, plan=Plan(key=item.key, planned=(planned,)))
