"""Notes: the server gives them no identity, so the text carries a short reference that can be found again.

Notes have no custom fields, no unique fields and no upsert. A note whose call may have been carried out is looked for
among the contact's notes before it is sent again. https://www.zoho.com/crm/developer/docs/api/v8/create-notes.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sinks.base import Delivered, Effect, FieldValue, Operation, Outcome
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.activities import ActivitySink
from sinks.zoho.client import ZohoClient
from sinks.zoho.fields import CrmField
from sinks.zoho.limits import Kind
from sinks.zoho.reading import rows_of
from sinks.zoho.transport import JsonValue

_CONTENT = "Note_Content"
_PAGE = 200
_NO_PARENT = frozenset({"INVALID_DATA"})


def reference(record_id: str) -> str:
    """Make the line that marks a note as ours: 64 bits of a hash, so that nothing of the identity can be read from it.

    Among one contact's notes that can't collide by chance.
    """
    return f"ref {hashlib.sha256(record_id.encode()).hexdigest()[:16]}"


_ENDING = len("\n\n" + reference(""))

# The fields are fixed, and Notes isn't among the modules of which field metadata is documented.
FIELDS: Mapping[str, CrmField] = MappingProxyType(
    {
        "Note_Title": CrmField(api_name="Note_Title", label="Note Title", data_type="text", max_length=120),
        _CONTENT: CrmField(
            api_name=_CONTENT,
            label="Note Content",
            data_type="textarea",
            max_length=65_535 - _ENDING,
            is_mandatory=True,
        ),
    }
)


class NotesSink(ActivitySink):
    """The notes of contacts."""

    module = "Notes"
    name = "zoho.notes"
    parent_field = "Parent_Id"
    _delete_params = MappingProxyType({})

    def __init__(self, client: ZohoClient, *, mandatory: Sequence[str] = ()) -> None:
        super().__init__(client, external_id=None, mandatory=mandatory)

    async def _read_fields(self) -> Mapping[str, CrmField]:
        return FIELDS

    def _parent(self, crm_id: str) -> dict[str, JsonValue]:
        return {"Parent_Id": {"module": {"api_name": "Contacts"}, "id": crm_id}}

    def _body(self, operation: Operation) -> dict[str, JsonValue]:
        body = super()._body(operation)
        if _CONTENT in body:
            body[_CONTENT] = f"{body[_CONTENT] or ''}\n\n{reference(operation.record_id)}"
        return body

    async def _create(self, operations: Sequence[Operation]) -> dict[str, Outcome]:
        doubtful = [op for op in operations if op.uncertain]
        found = await self._find(doubtful)
        outcomes: dict[str, Outcome] = {
            record_id: Delivered(record_id=record_id, crm_id=ids[0], effect=Effect.FOUND)
            for record_id, ids in found.items()
        }
        return outcomes | await super()._create([op for op in operations if op.record_id not in outcomes])

    async def _find(self, operations: Sequence[Operation]) -> dict[str, list[str]]:
        """Look notes up by their reference among their contacts' notes.

        A note without a known contact can't have been made, since making one takes the contact's id.
        """
        by_parent: dict[str, dict[str, str]] = {}
        for op in operations:
            if op.parent_crm_id is not None:
                by_parent.setdefault(op.parent_crm_id, {})[reference(op.record_id)] = op.record_id
        found: dict[str, list[str]] = {}
        for parent, wanted in by_parent.items():
            for crm_id, content in await self._read_notes(parent):
                # The last line, or the end of it should the CRM have folded white space.
                record_id = wanted.get(content.rstrip()[-len(reference("")) :])
                if record_id is not None:
                    found.setdefault(record_id, []).append(crm_id)
        return found

    def same(self, column: str, ours: FieldValue, theirs: object) -> bool:
        """See `sinks.base.Readable`: what we appended to the text is ours."""
        if column == _CONTENT and isinstance(theirs, str):
            theirs = theirs[:-_ENDING] if theirs[-_ENDING:].startswith("\n\nref ") else theirs
        return super().same(column, ours, theirs)

    async def _read_notes(self, parent_crm_id: str) -> list[tuple[str, str]]:
        """Read id and content of all notes of a contact; none if the contact isn't there."""
        notes: list[tuple[str, str]] = []
        page = 1
        while True:
            answer = await self._client.call(
                Kind.NOTES_READ,
                "GET",
                f"/Contacts/{parent_crm_id}/Notes",
                params={"fields": f"id,{_CONTENT}", "per_page": str(_PAGE), "page": str(page)},
                records=_PAGE,
                expect=_NO_PARENT,
            )
            if answer.status >= 400:
                return notes
            notes += [
                (row["id"], row.get(_CONTENT) or "") for row in rows_of(answer.body) if isinstance(row.get("id"), str)
            ]
            info = answer.body.get("info") if isinstance(answer.body, dict) else None
            if not isinstance(info, dict) or info.get("more_records") is not True:
                return notes
            page += 1
            if page > 10:
                # Pages beyond the tenth need a page token; a contact with 2,000 notes is past what this can settle.
                raise SinkError(Reason.BAD_ANSWER, "a contact has more than 2,000 notes")
