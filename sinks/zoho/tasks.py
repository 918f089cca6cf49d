"""Tasks: a unique custom field carries the event's identity, and a duplicate is a success.

Tasks take no upsert. https://www.zoho.com/crm/developer/docs/api/v8/insert-records.html
"""

from __future__ import annotations

from typing import ClassVar

from sinks.base import Delivered, Effect, Operation, Outcome
from sinks.zoho.activities import ActivitySink
from sinks.zoho.responses import Failed, Item
from sinks.zoho.transport import JsonValue


class TasksSink(ActivitySink):
    """The module Tasks."""

    module = "Tasks"
    name = "zoho.tasks"
    parent_field = "Who_Id"
    _options: ClassVar[dict[str, JsonValue]] = {"trigger": []}  # no workflow rule runs

    def _parent(self, crm_id: str) -> dict[str, JsonValue]:
        return {"Who_Id": {"id": crm_id}, "$se_module": "Contacts"}

    def _created(self, operation: Operation, item: Item) -> Outcome:
        if isinstance(item, Failed):
            # Only on our own field: another unique field with a taken value is a failure like any other.
            taken = item.find("DUPLICATE_DATA", self._external_name)
            if taken is not None:
                return Delivered(record_id=operation.record_id, crm_id=taken.record_id, effect=Effect.FOUND)
        return super()._created(operation, item)
