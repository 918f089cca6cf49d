"""Contacts: upsert by the external id field, a hundred at a time."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from sinks.base import Delivered, Effect, Operation, Outcome, Refused
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.limits import Kind
from sinks.zoho.module import ModuleSink
from sinks.zoho.responses import Done, Item

log = structlog.get_logger()


class ContactsSink(ModuleSink):
    """The module Contacts.

    Creations and updates go out in one call: both are upserts, and the CRM says which it was. An update whose contact
    somebody has deleted makes it anew, and is reported as CREATED.
    """

    module = "Contacts"
    name = "zoho.contacts"
    upserts = True
    bulk = True

    async def _write(self, operations: Sequence[Operation]) -> list[Outcome]:
        items = await self._send(
            Kind.UPSERT,
            "POST",
            "/Contacts/upsert",
            [self._body(op) for op in operations],
            duplicate_check_fields=[self._external_name],
            trigger=[],  # without the key every workflow rule of the organisation runs, mails included
        )
        _check_order(operations, items)
        outcomes = [self._outcome(op, item) for op, item in zip(operations, items, strict=True)]
        self._report_strangers(items)
        return outcomes

    def _outcome(self, operation: Operation, item: Item) -> Outcome:
        if isinstance(item, Done):
            return Delivered(record_id=operation.record_id, crm_id=item.crm_id, effect=_effect(item))
        if item.find("DUPLICATE_DATA", self._external_name) is not None:
            # Two calls were making the same contact at once; by the next attempt there is one to update.
            return Refused(
                record_id=operation.record_id,
                reason=Reason.RECORD_LOCKED,
                field=self._external_name,
                detail="DUPLICATE_DATA: another call was making this record",
            )
        return item.refused(operation.record_id)

    def _report_strangers(self, items: Sequence[Item]) -> None:
        """Say when the CRM found a contact by another unique field than ours.

        It looks at the module's other unique custom fields after the listed one, which can't be switched off. The
        contact it took may be one that a person typed in, or a second person's.
        """
        fields = {
            i.matched_on for i in items if isinstance(i, Done) and i.matched_on not in (None, self._external_name)
        }
        if fields:
            log.warning("zoho_matched_on_other_field", module=self.module, fields=sorted(f for f in fields if f))


def _check_order(operations: Sequence[Operation], items: Sequence[Item]) -> None:
    """Refuse an answer that isn't in the order of the request, as far as the ids that we know can tell.

    The order is all that ties a new contact's id to its record. One known id in another's place may be two contacts
    that somebody merged; when all of them are there, and not where they belong, the answer was shuffled.

    Raises:
        SinkError: BAD_ANSWER with `maybe_applied`.
    """
    known = [op.crm_id for op in operations]
    given = [item.crm_id if isinstance(item, Done) else None for item in items]
    expected = {crm_id for crm_id in known if crm_id is not None}
    displaced = any(crm_id not in (None, answered) for crm_id, answered in zip(known, given, strict=True))
    if displaced and expected <= set(given):
        raise SinkError(Reason.BAD_ANSWER, "results are not in the order of the request", maybe_applied=True)


def _effect(item: Done) -> Effect:
    """Tell what the upsert did. One that matched has written every field it was given, so nothing is owed."""
    return Effect.CREATED if item.inserted else Effect.UPDATED
