"""Everything that comes before a batch's first call: read, plan, ask the breaker, write down what is about to go.

It may be broken off anywhere. What it has written by then does no harm: a mark too many, a withdrawal counted that did
not go, a create that is looked for before it is sent, a value that is sent twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import psycopg
import structlog

from cdc.connection import WAITABLE
from cdc.delivery import breaker
from cdc.delivery.conclude import Case
from cdc.delivery.line import Line
from cdc.delivery.planner import Known, Plan, Planned, plan_key
from cdc.delivery.reading import Reading, open_view, view_error_code
from cdc.routing.feeds import Lane
from cdc.state import ledger
from cdc.state.claims import Claim, Claimed
from cdc.state.ledger import Intent
from cdc.state.outbox import Mark, mark, marked_keys
from cdc.state.records import LedgerEntry, Standing
from cdc.state.truth import View
from sinks.base import Action
from sinks.errors import SinkError
from sinks.reasons import Reason

_log = structlog.get_logger()


@dataclass(slots=True)
class Prepared:
    """A batch that is ready to be sent.

    Attributes:
        cases: by key.
        reserved: log lines that are there already, by record id.
        judged: how the breaker counts an operation, by record id.
        children: (feed, key) of the view rows that hang on each record that is to be created.
        overlooked: (feed, key) of view rows that hang on the others, and that nobody has sent or will look at.
    """

    cases: dict[str, Case]
    reserved: Mapping[str, UUID] = field(default_factory=dict)
    judged: Mapping[str, str] = field(default_factory=dict)
    children: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    overlooked: list[tuple[str, str]] = field(default_factory=list)

    def planned(self, action: Action) -> Iterator[tuple[Case, Planned]]:
        """Give the operations of one kind that nothing holds back."""
        for case in self.cases.values():
            for planned in case.plan.planned if case.plan is not None else ():
                operation = planned.operation
                if operation.action is action and case.sends(operation):
                    yield case, planned

    def sendable(self) -> list[Planned]:
        """Give all operations that nothing holds back."""
        return [planned for action in Action for _, planned in self.planned(action)]


async def prepare(line: Line, claimed: Claimed) -> Prepared:
    """Make a claimed batch ready.

    Raises:
        SinkError: VIEW_UNREADABLE, if the feed's view, or that of the feed it needs, can't be read.
        SourceUnavailable: if a database is another one than capture has joined up with.
        psycopg.OperationalError: if a database can't be reached.
    """
    prepared = Prepared(await _plan(line, claimed))
    await _ask_breaker(line, prepared)
    created = await _mark_sending(line, prepared)
    await _mark_doubtful(line, prepared)
    await _find_children(line, prepared, created)
    return prepared


async def _plan(line: Line, claimed: Claimed) -> dict[str, Case]:
    claims = {claim.key: claim for claim in claimed.claims}
    reading = await line.read(list(claims))
    parents = await _read_parents(line, reading)
    plans = {key: plan_claim(line, claimed.at, claim, reading, parents) for key, claim in claims.items()}
    missing = frozenset[str]().union(*(plan.missing for plan in plans.values()))
    coming = await _ring_for(line, claimed, missing, parents) if missing else frozenset()
    return {
        key: Case(claim=claim, plan=plans[key], missing=plans[key].missing & coming) for key, claim in claims.items()
    }


def plan_claim(line: Line, at: datetime, claim: Claim, reading: Reading, parents: Mapping[str, LedgerEntry]) -> Plan:
    """Plan one claimed key from what was read.

    Args:
        line: the feed's.
        at: the database's time of the claim.
        claim: the key with its ledger entries.
        reading: the view's rows.
        parents: ledger entries of the parents that the rows name.
    """
    if claim.key in reading.refused:
        return Plan(key=claim.key, refused=(reading.refused[claim.key],))
    time_has_come = claim.deferred_until is not None and claim.deferred_until <= at
    known = Known(
        key=claim.key,
        rows=reading.rows.get(claim.key, ()),
        entries=claim.entries,
        parents=parents,
        lane=claim.lane,
        slow_due=time_has_come,
        forced=claim.forced,
    )
    return plan_key(line.feed, known, line.options.hash_key)


async def _read_parents(line: Line, reading: Reading) -> dict[str, LedgerEntry]:
    ids = {row.parent_id for rows in reading.rows.values() for row in rows if row.parent_id is not None}
    if line.feed.needs is None or not ids:
        return {}
    async with line.state.connection() as state:
        return await ledger.read_records(state, line.feed.needs, ids)


async def _ring_for(
    line: Line, claimed: Claimed, missing: Collection[str], parents: Mapping[str, LedgerEntry]
) -> frozenset[str]:
    """Tell which missing parents will come; those that nobody works on are marked dirty.

    A parent that isn't in its own view will never come, and its dependents have nothing to wait for.
    """
    if line.parent is None:
        return frozenset()
    coming = await _present(line, line.parent, missing)
    idle = {p for p in coming if p not in parents or parents[p].standing is not Standing.SENDING}
    if idle:
        feed = line.parent.feed.name
        async with line.state.connection() as state, state.transaction():
            unknown = sorted(idle - await marked_keys(state, feed, idle))
            await mark(state, [Mark(feed=feed, key=key, lane=Lane.LIVE, dirty_at=claimed.at) for key in unknown])
    return coming


async def _present(line: Line, parent: View, keys: Collection[str]) -> frozenset[str]:
    """Tell which keys are in the parent's view. Without it nobody knows what to wait for: the feed is paused."""
    async with line.source.connection() as source:
        try:
            return await (await open_view(source, parent)).present(source, keys)
        except WAITABLE:
            raise
        except psycopg.Error as error:
            parent.forget()
            words = f"view of {parent.feed.name}: {view_error_code(error)}"
            raise SinkError(Reason.VIEW_UNREADABLE, words) from None


async def _ask_breaker(line: Line, prepared: Prepared) -> None:
    """Keep back what is too much at once, until a person has looked."""
    operations = [pair for action in (Action.WITHDRAW, Action.UPDATE) for pair in prepared.planned(action)]
    judgement = await breaker.judge(line, operations)
    for key, held in judgement.held.items():
        prepared.cases[key] = replace(prepared.cases[key], held=held)
    prepared.reserved, prepared.judged = judgement.reserved, judgement.judged


async def _mark_sending(line: Line, prepared: Prepared) -> frozenset[str]:
    """Write creates down before they are sent. Returns the record ids that may be sent."""
    creates = list(prepared.planned(Action.CREATE))
    if not creates:
        return frozenset()
    intents = [Intent(record_id=p.operation.record_id, key=p.key, parent_id=p.parent_id) for _, p in creates]
    async with line.state.connection() as state:
        allowed = await ledger.mark_sending(state, line.feed.name, line.feed.needs, intents)
    for case, planned in creates:
        record_id = planned.operation.record_id
        if record_id not in allowed:
            current = prepared.cases[case.claim.key]
            prepared.cases[case.claim.key] = replace(current, unsent=current.unsent | {record_id})
    return allowed


async def _find_children(line: Line, prepared: Prepared, created: Collection[str]) -> None:
    """Find the view rows that hang on records that are to be created, and those that were overlooked.

    A row is overlooked when its key came up while its parent had left the view, and the parent was back before anybody
    withdrew it: then nothing about the parent differs. What lets a record out and in changes in the lane `live`.
    """
    known = {
        entry.record_id
        for case in prepared.cases.values()
        if case.claim.lane is Lane.LIVE
        for entry in case.claim.entries
        if entry.standing is Standing.SENT
    }
    if not line.children or not (known or created):
        return
    doubtful: dict[str, dict[str, str]] = {}
    for child in line.children:
        for parent_id, key, record_id in await children_of(line, child, {*known, *created}):
            if parent_id in created:
                prepared.children.setdefault(parent_id, []).append((child.feed.name, key))
            else:
                doubtful.setdefault(child.feed.name, {})[record_id] = key
    if doubtful:
        async with line.state.connection() as state:
            for feed, keys in doubtful.items():
                prepared.overlooked += [(feed, key) for key in await ledger.overlooked_keys(state, feed, keys)]


async def children_of(line: Line, child: View, parent_ids: Collection[str]) -> list[tuple[str, str, str]]:
    """Give (parent id, key, record id) of a child feed's rows.

    A child's view that fails, as a whole or at one row, is no fault of the parents, and they go. The child's own keys
    meet the same failure and tell of it; what isn't found here is left to the sweep.
    """
    async with line.source.connection() as source:
        try:
            return await (await open_view(source, child)).children(source, parent_ids)
        except WAITABLE:
            raise
        except (psycopg.Error, SinkError) as error:
            child.forget()
            if child.feed.name not in line.unreadable:
                line.unreadable.add(child.feed.name)
                words = view_error_code(error) if isinstance(error, psycopg.Error) else error.detail
                _log.warning("children_unreadable", feed=child.feed.name, error=words)
            return []


async def _mark_doubtful(line: Line, prepared: Prepared) -> None:
    """Forget what the sink holds of what is about to be changed or withdrawn, until its answer is recorded."""
    doubtful: dict[str, Collection[str] | None] = {}
    for _, planned in prepared.planned(Action.UPDATE):
        doubtful[planned.operation.record_id] = planned.operation.fields
    for _, planned in prepared.planned(Action.WITHDRAW):
        doubtful[planned.operation.record_id] = None
    if doubtful:
        async with line.state.connection() as state:
            await ledger.mark_doubtful(state, line.feed.name, doubtful)
