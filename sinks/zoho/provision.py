"""Makes the custom fields that a profile needs. Run by a person, once, with a token that may do so.

https://www.zoho.com/crm/developer/docs/api/v8/create-field.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.client import ZohoClient
from sinks.zoho.fields import CrmField, find_field, read_fields
from sinks.zoho.limits import Kind
from sinks.zoho.responses import Failed, read_items
from sinks.zoho.transport import JsonValue

FIELDS_PER_CALL = 5
_DEFAULT_LENGTH = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """A custom field that should be there.

    Attributes:
        name: the API name that the profile uses; the CRM makes its own from the label.
        label: what people see, at most 25 characters.
        type: the CRM's data type.
        length: longest text; None for the CRM's default.
        unique: no two records may share a value.
        values: the picklist.
    """

    name: str
    label: str
    type: str
    length: int | None = None
    unique: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeField:
    """What became of a spec.

    Attributes:
        spec: what was asked for.
        field: the field as the CRM's metadata shows it afterwards; None if it could not be made.
        problem: the CRM's code and bounds, if it refused.
    """

    spec: FieldSpec
    field: CrmField | None
    problem: str = ""


def missing_fields(specs: Sequence[FieldSpec], fields: Mapping[str, CrmField]) -> list[FieldSpec]:
    """Pick the specs that no field answers to, neither by name nor by label."""
    return [s for s in specs if find_field(s.name, fields) is None and find_field(s.label, fields) is None]


async def create_fields(client: ZohoClient, module: str, specs: Sequence[FieldSpec]) -> list[MadeField]:
    """Make the fields that are missing, and read back what the CRM named them.

    Args:
        client: with the scope `ZohoCRM.settings.fields.CREATE`.
        module: API name of the module.
        specs: what should be there; those that are there already are left alone.

    Returns:
        One entry for each field that was missing. A second run makes nothing and returns an empty list.

    Raises:
        SinkError: as `ZohoClient.call`.
    """
    missing = missing_fields(specs, await read_fields(client, module))
    problems: dict[str, str] = {}
    for start in range(0, len(missing), FIELDS_PER_CALL):
        problems |= await _create(client, module, missing[start : start + FIELDS_PER_CALL])
    if not missing:
        return []
    fields = await read_fields(client, module)
    return [_made(spec, fields, problems.get(spec.name, "")) for spec in missing]


async def _create(client: ZohoClient, module: str, specs: Sequence[FieldSpec]) -> dict[str, str]:
    body = {"fields": [_body(spec) for spec in specs]}
    answer = await client.call(
        Kind.FIELDS_CREATE, "POST", "/settings/fields", json=body, params={"module": module}, records=len(specs)
    )
    items = read_items(answer.body, len(specs), key="fields")
    return {
        spec.name: "; ".join(str(p) for p in item.problems)
        for spec, item in zip(specs, items, strict=True)
        if isinstance(item, Failed)
    }


def _made(spec: FieldSpec, fields: Mapping[str, CrmField], problem: str) -> MadeField:
    field = find_field(spec.name, fields) or find_field(spec.label, fields)
    if field is None:
        return MadeField(spec=spec, field=None, problem=problem or "not in the metadata afterwards")
    if spec.unique and not field.is_unique:
        # The key that asks for it is spelled differently in Zoho's own documents, so the result is what counts.
        return MadeField(spec=spec, field=field, problem="not unique: set 'Do not allow duplicate values' in the CRM")
    return MadeField(spec=spec, field=field, problem=problem)


def _body(spec: FieldSpec) -> dict[str, JsonValue]:
    if len(spec.label) > 25:
        raise SinkError(Reason.REQUEST_REFUSED, f"label of {spec.name} is longer than 25 characters")
    body: dict[str, JsonValue] = {"field_label": spec.label, "data_type": spec.type}
    if spec.type == "text":
        body["length"] = spec.length or _DEFAULT_LENGTH
    elif spec.length is not None:
        body["length"] = spec.length
    if spec.unique:
        body["unique"] = {"casesensitive": "false"}
    if spec.values:
        body["pick_list_values"] = [{"display_value": v, "actual_value": v} for v in spec.values]
    return body
