"""The CRM's fields, and which of them a view column means.

The CRM makes API names from labels by rules of its own, adds a digit where two collide, and ignores names it doesn't
know in silence. So names are never assumed: they are looked up in the metadata.
https://www.zoho.com/crm/developer/docs/api/v8/field-meta.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.client import ZohoClient
from sinks.zoho.limits import Kind
from sinks.zoho.transport import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class CrmField:
    """One field of a CRM module, as its metadata describes it.

    Attributes:
        api_name: the name in request bodies.
        label: what people see.
        data_type: the CRM's type, such as `text` or `picklist`.
        max_length: longest text; None for types without one.
        is_unique: no two records may share a value.
        is_read_only: it can't be written through the API.
        is_mandatory: the CRM itself demands it.
        is_custom: somebody added it.
        values: the picklist's values as they are sent; empty for other types.
    """

    api_name: str
    label: str
    data_type: str
    max_length: int | None = None
    is_unique: bool = False
    is_read_only: bool = False
    is_mandatory: bool = False
    is_custom: bool = False
    values: frozenset[str] = frozenset()


_LONG_TYPES = frozenset({"text", "textarea", "email", "phone", "website"})
_SALESFORCE_ENDING = re.compile(r"__c$", re.IGNORECASE)
_SIGNS = re.compile(r"[^0-9a-z]+")


async def read_fields(client: ZohoClient, module: str) -> dict[str, CrmField]:
    """Read a module's fields, by API name.

    Raises:
        SinkError: as `ZohoClient.call`.
    """
    answer = await client.call(Kind.FIELDS_READ, "GET", "/settings/fields", params={"module": module})
    return parse_fields(answer.body)


def parse_fields(body: JsonValue) -> dict[str, CrmField]:
    """Read the body of a metadata answer.

    Raises:
        SinkError: BAD_ANSWER if it isn't one.
    """
    entries = body.get("fields") if isinstance(body, dict) else None
    if not isinstance(entries, list):
        raise SinkError(Reason.BAD_ANSWER, "field metadata without a list of fields")
    found = [_parse_field(entry) for entry in entries if isinstance(entry, dict)]
    return {field.api_name: field for field in found if field is not None}


def _parse_field(entry: Mapping[str, JsonValue]) -> CrmField | None:
    name, data_type = entry.get("api_name"), entry.get("data_type")
    if not isinstance(name, str) or not isinstance(data_type, str):
        return None
    label = entry.get("field_label") or entry.get("display_label") or name
    length = entry.get("length")
    writable = entry.get("operation_type")
    closed = isinstance(writable, dict) and writable.get("api_create") is False and writable.get("api_update") is False
    return CrmField(
        api_name=name,
        label=str(label),
        data_type=data_type,
        max_length=length if isinstance(length, int) and data_type in _LONG_TYPES else None,
        is_unique=bool(entry.get("unique")),  # an empty object says no, one with case sensitivity says yes
        is_read_only=bool(entry.get("read_only") or entry.get("field_read_only") or closed),
        is_mandatory=bool(entry.get("system_mandatory")),
        is_custom=bool(entry.get("custom_field")),
        values=frozenset(_values(entry.get("pick_list_values"))),
    )


def _values(entries: JsonValue) -> Iterable[str]:
    for entry in entries if isinstance(entries, list) else ():
        value = entry.get("actual_value") if isinstance(entry, dict) else None
        if isinstance(value, str) and entry.get("type") != "unused":
            yield value


def plain(name: str) -> str:
    """Reduce a name or label to what people mean by it: no case, no spaces, no signs, no trailing `__c`."""
    return _SIGNS.sub("", _SALESFORCE_ENDING.sub("", name.strip()).lower())


def find_field(name: str, fields: Mapping[str, CrmField]) -> CrmField | None:
    """Find the field that a name means.

    The API name as written wins. Otherwise label and API name are compared as `plain` has them; where several fields
    fit, a single custom one among them wins. That finds `External_ID__c`, `External ID`, and a field whose API name got
    a digit because the label was taken.

    Returns:
        The field; None if there is none, or if it can't be told which one is meant.
    """
    exact = fields.get(name)
    if exact is not None:
        return exact
    wanted = plain(name)
    if not wanted:
        return None
    close = [f for f in fields.values() if wanted in (plain(f.label), plain(f.api_name))]
    if len(close) > 1:
        close = [f for f in close if f.is_custom]
    return close[0] if len(close) == 1 else None


def resolve(columns: Iterable[str], fields: Mapping[str, CrmField]) -> dict[str, CrmField]:
    """Map view columns to fields. A column that no field fits is left out."""
    found = {column: find_field(column, fields) for column in columns}
    return {column: field for column, field in found.items() if field is not None}
