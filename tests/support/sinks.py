"""An honest sink in memory: it keeps records as the contract demands, and fails when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from sinks.base import Action, Column, Delivered, Effect, FieldValue, Misfit, Operation, Outcome, Refused
from sinks.errors import SinkError
from sinks.reasons import Reason

Refuse = Callable[[Operation], Reason | None]


@dataclass(slots=True)
class Held:
    """A record as the sink holds it."""

    record_id: str
    crm_id: str
    parent_crm_id: str | None
    fields: dict[str, FieldValue]


@dataclass(slots=True)
class Fault:
    """What happens to one call.

    Attributes:
        before: raised without doing anything.
        after: raised once everything is done: a lost answer.
        hang: the call waits for this before it does anything.
    """

    before: SinkError | None = None
    after: SinkError | None = None
    hang: asyncio.Event | None = None


@dataclass(slots=True)
class MemorySink:
    """Keeps records under a CRM id of its own.

    Attributes:
        unique: record ids are unique in it, as with an external id field: whatever names a record finds it. Otherwise
            a create that isn't called uncertain makes a second record, as with Zoho's notes, and an uncertain one
            leaves what it finds as it is.
        faults: for the calls to come, in order; a call beyond them succeeds.
        refuse: gives a reason for an operation that is refused.
        calls: every call that was made, refused ones included.
    """

    name: str = "memory.records"
    batch_size: int = 100
    unique: bool = True
    faults: list[Fault | None] = field(default_factory=list)
    refuse: Refuse = lambda _: None
    spoil: Refuse = lambda _: None
    misfits: list[Misfit] = field(default_factory=list)
    records: dict[str, Held] = field(default_factory=dict)
    calls: list[list[Operation]] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    _ids: count[int] = field(default_factory=lambda: count(1))

    async def fit(self, columns: Sequence[Column]) -> list[Misfit]:
        assert all(column.type for column in columns)
        return self.misfits

    async def deliver(self, operations: Sequence[Operation]) -> list[Outcome]:
        assert len(operations) <= self.batch_size
        actions = {o.action for o in operations}
        assert Action.WITHDRAW not in actions or actions == {Action.WITHDRAW}
        self.calls.append(list(operations))
        self.started.set()
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and fault.hang is not None:
            await fault.hang.wait()
        if fault is not None and fault.before is not None:
            raise fault.before
        for operation in operations:
            reason = self.spoil(operation)
            if reason is not None:
                raise SinkError(reason, "spoilt")
        outcomes = [self._one(operation) for operation in operations]
        if fault is not None and fault.after is not None:
            raise fault.after
        return outcomes

    def of(self, record_id: str) -> list[Held]:
        """Give all records with this identity: more than one is a double."""
        return [held for held in self.records.values() if held.record_id == record_id]

    def fields(self) -> dict[str, dict[str, FieldValue]]:
        """Give fields by record id.

        Raises:
            AssertionError: if there are doubles.
        """
        ids = [held.record_id for held in self.records.values()]
        assert len(ids) == len(set(ids)), "doubles in the sink"
        return {held.record_id: dict(held.fields) for held in self.records.values()}

    def operations(self) -> list[tuple[str, str]]:
        """Give (action, record id) of everything that was asked."""
        return [(o.action.value, o.record_id) for call in self.calls for o in call]

    def _one(self, operation: Operation) -> Outcome:
        reason = self.refuse(operation)
        if reason is not None:
            return Refused(record_id=operation.record_id, reason=reason, field="Name")
        match operation.action:
            case Action.CREATE:
                return self._create(operation)
            case Action.UPDATE:
                return self._update(operation)
            case Action.WITHDRAW:
                return self._withdraw(operation)

    def _create(self, operation: Operation) -> Outcome:
        there = self.of(operation.record_id) if self.unique or operation.uncertain else []
        if not there:
            return self._done(self._insert(operation), operation, Effect.CREATED)
        if not self.unique:
            return self._done(there[0].crm_id, operation, Effect.FOUND)
        there[0].fields.update(operation.fields)
        there[0].parent_crm_id = operation.parent_crm_id
        return self._done(there[0].crm_id, operation, Effect.UPDATED)

    def _insert(self, operation: Operation) -> str:
        crm_id = f"crm-{next(self._ids)}"
        held = Held(operation.record_id, crm_id, operation.parent_crm_id, dict(operation.fields))
        self.records[crm_id] = held
        return crm_id

    def _update(self, operation: Operation) -> Outcome:
        there = self.of(operation.record_id) if self.unique else []
        held = self.records.get(operation.crm_id or "") or next(iter(there), None)
        if held is None and self.unique:
            return self._done(self._insert(operation), operation, Effect.CREATED)
        if held is None:
            return Refused(record_id=operation.record_id, reason=Reason.RECORD_GONE)
        held.fields.update(operation.fields)
        return self._done(held.crm_id, operation, Effect.UPDATED)

    def _withdraw(self, operation: Operation) -> Outcome:
        for held in [h for h in self.records.values() if h.record_id == operation.record_id]:
            del self.records[held.crm_id]
        return self._done(operation.crm_id, operation, Effect.WITHDRAWN)

    @staticmethod
    def _done(crm_id: str | None, operation: Operation, effect: Effect) -> Delivered:
        return Delivered(record_id=operation.record_id, crm_id=crm_id, effect=effect)
