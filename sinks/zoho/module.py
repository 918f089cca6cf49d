"""What the three module sinks share: names, batches, withdrawal, look-up by external id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from sinks.base import Action, Column, Delivered, Effect, FieldValue, Held, Misfit, Operation, Outcome
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.client import ZohoClient
from sinks.zoho.fields import CrmField, find_field, read_fields, resolve
from sinks.zoho.fitting import check_fit
from sinks.zoho.limits import MAX_RECORDS, Kind
from sinks.zoho.reading import read_record, rows_of, same_value
from sinks.zoho.responses import Done, Item, read_items
from sinks.zoho.transport import JsonValue

COQL_IN = 50
"""Most values that COQL takes in one IN list."""

_COQL_ROWS = 200


class ModuleSink:
    """A CRM module that records are delivered to.

    Args:
        client: one organisation.
        external_id: name or label of the unique field that holds our record id; None for a module without one.
        mandatory: columns that go into every operation because the CRM demands them.
    """

    module: ClassVar[str]
    upserts: ClassVar[bool] = False
    bulk: ClassVar[bool] = False
    """Whether its records may also go by Bulk Write."""
    name: str
    batch_size = MAX_RECORDS
    _delete_params: ClassVar[Mapping[str, str]] = {"wf_trigger": "false"}  # a deletion starts no workflow either

    def __init__(self, client: ZohoClient, *, external_id: str | None, mandatory: Sequence[str] = ()) -> None:
        self._client = client
        self._external_id = external_id
        self._mandatory = tuple(mandatory)
        self._names: Mapping[str, str] | None = None
        self._external_name = ""

    async def fit(self, columns: Sequence[Column]) -> list[Misfit]:
        """See `sinks.base.Sink`. Costs one credit.

        Raises:
            SinkError: as `ZohoClient.call`.
        """
        return self._learn(columns, await self._read_fields())

    async def deliver(self, operations: Sequence[Operation]) -> list[Outcome]:
        """See `sinks.base.Sink`.

        Raises:
            SinkError: the call as a whole failed.
            ValueError: too many operations, a record twice, or withdrawals among others.
            RuntimeError: `fit` hasn't been called.
        """
        self._check(operations)
        if not operations:
            return []
        if operations[0].action is Action.WITHDRAW:
            return await self._withdraw(operations)
        return await self._write(operations)

    async def read(self, record_id: str, crm_id: str | None, columns: Sequence[str]) -> Held | None:
        """See `sinks.base.Readable`. Costs one credit with the CRM id; without it two more, for the look-up."""
        if crm_id is None:
            crm_id = await self._look_up(record_id)
        return None if crm_id is None else await read_record(self._client, self.module, crm_id, columns)

    def same(self, column: str, ours: FieldValue, theirs: object) -> bool:
        """See `sinks.base.Readable`."""
        return same_value(ours, theirs)

    async def _look_up(self, record_id: str) -> str | None:
        """Find a record's CRM id by the external id field, whose name the metadata knows."""
        if self._external_id is None:
            return None
        external = find_field(self._external_id, await self._read_fields())
        name = external.api_name if external is not None else self._external_id
        found = await find_by_external_id(self._client, self.module, name, [record_id])
        return next(iter(found.get(record_id, ())), None)

    @property
    def has_identity(self) -> bool:
        """Whether its records bear our record id in a field."""
        return self._external_id is not None

    @property
    def external_name(self) -> str:
        """API name of the field that holds our record id; known after `fit`."""
        return self._external_name

    def api_names(self, columns: Sequence[str]) -> list[str]:
        """Give the API names of view columns, in their order.

        Raises:
            SinkError: FIELD_NOT_IN_CRM for one that `fit` hasn't seen; the CRM would drop it in silence.
        """
        names = self._names or {}
        unknown = sorted(column for column in columns if column not in names)
        if unknown:
            raise SinkError(Reason.FIELD_NOT_IN_CRM, f"{self.module}: {', '.join(unknown)}")
        return [names[column] for column in columns]

    async def _read_fields(self) -> Mapping[str, CrmField]:
        return await read_fields(self._client, self.module)

    def _learn(self, columns: Sequence[Column], fields: Mapping[str, CrmField]) -> list[Misfit]:
        external = None if self._external_id is None else find_field(self._external_id, fields)
        self._external_name = external.api_name if external is not None else self._external_id or ""
        self._names = {column: f.api_name for column, f in resolve((c.name for c in columns), fields).items()}
        return check_fit(
            columns,
            fields,
            module=self.module,
            external_id=self._external_id,
            mandatory=self._mandatory,
            upserts=self.upserts,
        )

    def _check(self, operations: Sequence[Operation]) -> None:
        if self._names is None:
            raise RuntimeError(f"{self.name}: fit() comes before deliver(); field names are not known yet")
        if len(operations) > self.batch_size:
            raise ValueError(f"{self.name}: {len(operations)} operations, the limit is {self.batch_size}")
        # What the CRM does with two items of one key in one call is not documented; it isn't tried.
        if len({op.record_id for op in operations}) < len(operations) or not all(op.record_id for op in operations):
            raise ValueError(f"{self.name}: record ids must be there and differ within a call")
        withdrawals = sum(op.action is Action.WITHDRAW for op in operations)
        if withdrawals not in (0, len(operations)):
            raise ValueError(f"{self.name}: withdrawals come in batches of their own")

    def _body(self, operation: Operation) -> dict[str, JsonValue]:
        """Give the fields under the names that the CRM knows; `fit` has shown that every column has one."""
        names = self.api_names(list(operation.fields))
        body: dict[str, JsonValue] = dict(zip(names, operation.fields.values(), strict=True))
        if self._external_id is not None:
            body[self._external_name] = operation.record_id
        return body

    async def _write(self, operations: Sequence[Operation]) -> list[Outcome]:
        raise NotImplementedError

    async def _send(
        self, kind: Kind, method: str, path: str, items: Sequence[JsonValue], **options: JsonValue
    ) -> list[Item]:
        """Send records and read one result for each."""
        body = {"data": list(items), **options}
        answer = await self._client.call(kind, method, path, json=body, records=len(items))
        return read_items(answer.body, len(items))

    async def _withdraw(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Delete, first by the id we know, then whatever else bears the record's identity.

        An id can have gone stale: the record was merged into another, or made anew. What the promise is about is that
        nothing of the record is left, so a record that is gone by its id is looked for as well.
        """
        settled = await self._delete([(op.record_id, op.crm_id) for op in operations if op.crm_id is not None])
        copies = await self._find([op for op in operations if settled.get(op.record_id) is None])
        settled |= await self._delete([(record, crm_id) for record, ids in copies.items() for crm_id in ids])
        return [
            settled.get(op.record_id) or Delivered(record_id=op.record_id, crm_id=op.crm_id, effect=Effect.WITHDRAWN)
            for op in operations
        ]

    async def _find(self, operations: Sequence[Operation]) -> dict[str, list[str]]:
        """Look records up by our identity.

        Returns:
            CRM ids by record id; records that aren't there are left out.
        """
        return await find_by_external_id(
            self._client, self.module, self._external_name, [op.record_id for op in operations]
        )

    async def _delete(self, targets: Sequence[tuple[str, str]]) -> dict[str, Outcome | None]:
        """Delete records by CRM id.

        Args:
            targets: pairs of record id and CRM id; a record may have several.

        Returns:
            An outcome for each record id; None if the CRM knows none of its ids.
        """
        outcomes: dict[str, Outcome | None] = {}
        for start in range(0, len(targets), MAX_RECORDS):
            chunk = targets[start : start + MAX_RECORDS]
            params = {"ids": ",".join(crm for _, crm in chunk), **self._delete_params}
            answer = await self._client.call(
                Kind.DELETE, "DELETE", f"/{self.module}", params=params, records=len(chunk)
            )
            for (record, crm), item in zip(chunk, read_items(answer.body, len(chunk)), strict=True):
                outcomes[record] = _worse(outcomes.get(record), _deleted(record, crm, item))
        return outcomes


def _deleted(record_id: str, crm_id: str, item: Item) -> Outcome | None:
    if isinstance(item, Done):
        return Delivered(record_id=record_id, crm_id=crm_id, effect=Effect.WITHDRAWN)
    if all(problem.code == "INVALID_DATA" for problem in item.problems):
        return None  # the CRM's answer to an id that it doesn't know, or not any longer
    return item.refused(record_id)


def _worse(first: Outcome | None, second: Outcome | None) -> Outcome | None:
    """Of the outcomes of two copies of a record keep the one that still needs somebody."""
    if first is None:
        return second
    return first if second is None or isinstance(second, Delivered) else second


async def find_by_external_id(
    client: ZohoClient, module: str, field: str, record_ids: Iterable[str]
) -> dict[str, list[str]]:
    """Find records by a unique field, with COQL, fifty at a time.

    Only rows whose value is one of those asked for count, so a value that upsets the query's quoting finds nothing.

    Returns:
        CRM ids by record id; records that aren't there are left out.

    Raises:
        SinkError: as `ZohoClient.call`, or BAD_ANSWER.
    """
    wanted = list(record_ids)
    found: dict[str, list[str]] = {}
    for start in range(0, len(wanted), COQL_IN):
        chunk = wanted[start : start + COQL_IN]
        listed = ", ".join(quoted(value) for value in chunk)
        query = f"select id, {field} from {module} where {field} in ({listed}) limit {_COQL_ROWS}"
        answer = await client.call(Kind.COQL, "POST", "/coql", json={"select_query": query}, records=_COQL_ROWS)
        for row in rows_of(answer.body):
            value, crm_id = row.get(field), row.get("id")
            if isinstance(value, str) and value in chunk and isinstance(crm_id, str):
                found.setdefault(value, []).append(crm_id)
    return found


def quoted(value: str) -> str:
    """Write a text as COQL's."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
