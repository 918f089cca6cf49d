"""Records that hang on a contact: made once by POST, changed by PUT, in one delivery if need be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from sinks.base import Action, Delivered, Effect, Operation, Outcome, Refused
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.limits import Kind
from sinks.zoho.module import ModuleSink
from sinks.zoho.responses import Done, Failed, Item
from sinks.zoho.transport import JsonValue


class ActivitySink(ModuleSink):
    """A module whose records hang on a contact and that knows no upsert.

    Attributes:
        parent_field: API name of the field that names the contact.
    """

    parent_field: ClassVar[str]
    _options: ClassVar[dict[str, JsonValue]] = {}

    async def _write(self, operations: Sequence[Operation]) -> list[Outcome]:
        outcomes: dict[str, Outcome] = {}
        creations: list[Operation] = []
        updates: list[Operation] = []
        for op in await self._with_ids(operations):
            if op.action is Action.UPDATE and op.crm_id is not None:
                updates.append(op)
            elif op.parent_crm_id is None:
                outcomes[op.record_id] = Refused(record_id=op.record_id, reason=Reason.PARENT_NOT_DELIVERED)
            else:
                creations.append(op)  # also what was to be changed and isn't there
        outcomes |= await self._create(creations)
        try:
            outcomes |= await self._update(updates)
        except SinkError as error:
            if not creations or error.maybe_applied:
                raise
            # The first half is done and its outcomes are lost with this error.
            raise SinkError(error.reason, error.detail, retry_after=error.retry_after, maybe_applied=True) from error
        return [outcomes[op.record_id] for op in operations]

    async def _with_ids(self, operations: Sequence[Operation]) -> list[Operation]:
        """Look up what is to be changed and whose id isn't known; what isn't found will be made."""
        unknown = [op for op in operations if op.action is Action.UPDATE and op.crm_id is None]
        found = await self._find(unknown)
        return [replace(op, crm_id=found[op.record_id][0]) if op.record_id in found else op for op in operations]

    async def _create(self, operations: Sequence[Operation]) -> dict[str, Outcome]:
        if not operations:
            return {}
        bodies = [self._body(op) | self._parent(op.parent_crm_id or "") for op in operations]
        items = await self._send(Kind.INSERT, "POST", f"/{self.module}", bodies, **self._options)
        return {op.record_id: self._created(op, item) for op, item in zip(operations, items, strict=True)}

    async def _update(self, operations: Sequence[Operation]) -> dict[str, Outcome]:
        if not operations:
            return {}
        bodies = [self._body(op) | {"id": op.crm_id} for op in operations]
        items = await self._send(Kind.UPDATE, "PUT", f"/{self.module}", bodies, **self._options)
        return {op.record_id: self._updated(op, item) for op, item in zip(operations, items, strict=True)}

    def _created(self, operation: Operation, item: Item) -> Outcome:
        if isinstance(item, Done):
            return Delivered(record_id=operation.record_id, crm_id=item.crm_id, effect=Effect.CREATED)
        return self._refused(operation, item)

    def _updated(self, operation: Operation, item: Item) -> Outcome:
        if isinstance(item, Done):
            return Delivered(record_id=operation.record_id, crm_id=item.crm_id, effect=Effect.UPDATED)
        return self._refused(operation, item)

    def _refused(self, operation: Operation, item: Failed) -> Outcome:
        """Make the outcome; a contact that is no longer there is told apart, so that the caller can make it anew."""
        refused = item.refused(operation.record_id)
        if item.find("INVALID_DATA", self.parent_field) is None:
            return refused
        return replace(refused, reason=Reason.PARENT_NOT_DELIVERED, field=self.parent_field)

    def _parent(self, crm_id: str) -> dict[str, JsonValue]:
        """Name the contact, in the form that this module takes."""
        raise NotImplementedError
