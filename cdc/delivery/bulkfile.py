"""Puts the file of a bulk job together: reads the view in portions, plans, and leaves aside what doesn't belong in it.

A file takes records that are to be there and differ: creates and updates alike, with all their fields. Withdrawals,
waits, refusals and what turns out equal go the ordinary way, one small batch after the other, before the file leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cdc.delivery.batch import Batch
from cdc.delivery.breaker import rewrite
from cdc.delivery.line import Line
from cdc.delivery.planner import Plan, Planned
from cdc.delivery.prepare import plan_claim
from cdc.delivery.reading import open_view
from cdc.routing.feeds import Feed
from cdc.state import bulkitems
from cdc.state.bulk import Job
from cdc.state.bulkitems import Item
from cdc.state.claims import Claim, Claimed
from sinks.base import Action, BulkFile, BulkSink


@dataclass(slots=True)
class Packing:
    """A file on its way to being uploaded.

    Attributes:
        line: the feed's, as the job works on it.
        sink: takes the file.
        columns: view columns in it.
        keys: those of its records.
        surplus: keys for which there was no room.
    """

    line: Line
    sink: BulkSink
    job: Job
    columns: tuple[str, ...]
    file: BulkFile
    keys: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)

    @classmethod
    async def begin(cls, line: Line, sink: BulkSink, job: Job) -> Packing:
        """Begin a file.

        Raises:
            SinkError: if the view's columns don't fit the sink.
        """
        await line.fit()
        async with line.source.connection() as source:
            truth = await open_view(source, line.view)
        columns = tuple(column.name for column in truth.columns)
        return cls(line, sink, job, columns, sink.open_file(columns))

    async def portion(self, after: str) -> str | None:
        """Take the next claims of the job in. Gives the last key, or None after the last portion.

        Raises:
            SinkError: VIEW_UNREADABLE; or why an ordinary batch failed as a whole.
            SourceUnavailable: if a database is another one than capture has joined up with.
            psycopg.OperationalError: if a database can't be reached.
        """
        async with self.line.state.connection() as state:
            claims = await bulkitems.claims(state, self.job, after, self.line.options.bulk.portion)
        if not claims:
            return None
        reading = await self.line.read([c.key for c in claims])
        items: list[Item] = []
        others: list[Claim] = []
        for claim in claims:
            rows = reading.rows.get(claim.key, [])
            planned = _belongs(self.line.feed, claim, plan_claim(self.line, self.job.begun_at, claim, reading, {}))
            if planned is not None:
                whole = replace(planned.operation, fields=dict(rows[0].fields))
                if self.sink.takes(whole):
                    self._pack(claim, replace(planned, operation=whole), items)
                    continue
            others.append(claim)
        async with self.line.state.connection() as state:
            await bulkitems.add(state, self.job, items)
        await self.send_singly(others)
        return claims[-1].key

    def _pack(self, claim: Claim, planned: Planned, items: list[Item]) -> None:
        if self.file.add(planned.operation):
            self.keys.append(claim.key)
            items.append(_item(claim, planned))
        else:
            self.surplus.append(claim.key)

    async def send_singly(self, claims: Sequence[Claim]) -> None:
        """Deliver claims of the job by ordinary calls.

        Raises:
            SinkError: why a call failed as a whole; the claims of that batch are given back.
        """
        size = self.line.sink.batch_size
        for start in range(0, len(claims), size):
            claimed = Claimed(self.job.begun_at, self.job.claimed_until, tuple(claims[start : start + size]))
            batch = Batch(line=self.line, claimed=claimed, started=self.line.clock())
            await batch.process()
            if batch.answers.failure is not None:
                raise batch.answers.failure

    async def send_all_singly(self) -> None:
        """Deliver what was meant for the file by ordinary calls, since it has become too little.

        Raises:
            SinkError: as `send_singly`.
        """
        async with self.line.state.connection() as state:
            await bulkitems.clear(state, self.job)
        after = ""
        while True:
            async with self.line.state.connection() as state:
                claims = await bulkitems.claims(state, self.job, after, self.line.options.bulk.portion)
            if not claims:
                return
            await self.send_singly(claims)
            after = claims[-1].key


def _belongs(feed: Feed, claim: Claim, plan: Plan) -> Planned | None:
    """Give the one operation of a plan that asks for a record to be there, and for nothing else.

    What the breaker has to judge goes the ordinary way.
    """
    if plan.refused or plan.missing or plan.defer_to or plan.again or len(plan.planned) != 1:
        return None
    planned = plan.planned[0]
    action = planned.operation.action
    is_judged = action is Action.UPDATE and rewrite(feed, claim, planned) is not None
    return None if action is Action.WITHDRAW or is_judged else planned


def _item(claim: Claim, planned: Planned) -> Item:
    operation = planned.operation
    return Item(
        record_id=operation.record_id,
        key=claim.key,
        action=operation.action.value,
        uncertain=operation.uncertain,
        crm_id=operation.crm_id,
        generation=claim.generation,
        attempts=claim.attempts,
        dirty_at=claim.dirty_at,
        last_lsn=claim.last_lsn,
        row_hash=planned.row_hash or b"",
        field_hashes=planned.field_hashes,
    )
