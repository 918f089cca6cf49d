"""Whether a view's columns can go into a module's fields. No I/O.

The CRM ignores an unknown field name in silence and refuses an over-long text or a wrong type record by record. Held
against the metadata beforehand, each of these is one clear sentence instead of a thousand failures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from sinks.base import Column, Misfit
from sinks.reasons import Reason
from sinks.zoho.fields import CrmField, find_field, resolve

_TEXT = frozenset({"text", "textarea", "email", "phone", "website", "picklist"})
_WHOLE = frozenset({"integer", "bigint", "double", "currency", "percent"})
_BROKEN = frozenset({"double", "currency", "percent"})

# Postgres type, without its modifier -> CRM types that take its values as they are. Whether a bigint's value has
# at most the CRM's nine or eighteen digits can't be seen from its type: count(*) is a bigint and small.
TYPES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "text": _TEXT,
        "character varying": _TEXT,
        "character": _TEXT,
        "citext": _TEXT,
        "name": _TEXT,
        "uuid": frozenset({"text", "textarea"}),
        "smallint": _WHOLE,
        "integer": _WHOLE,
        "bigint": _WHOLE,
        "numeric": _BROKEN,
        "real": _BROKEN,
        "double precision": _BROKEN,
        "boolean": frozenset({"boolean"}),
        "date": frozenset({"date"}),
        "timestamp with time zone": frozenset({"datetime"}),
    }
)
_MODIFIER = re.compile(r"\s*\([^)]*\)")

_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "timestamp without time zone": "say which zone it is in: column at time zone 'UTC'",
        "numeric": "cast to integer if it holds whole numbers",
        "jsonb": "take out the parts that the CRM shall hold",
        "json": "take out the parts that the CRM shall hold",
    }
)


def check_fit(
    columns: Sequence[Column],
    fields: Mapping[str, CrmField],
    *,
    module: str,
    external_id: str | None,
    mandatory: Iterable[str],
    upserts: bool,
) -> list[Misfit]:
    """Compare a view's columns with a module's fields.

    Args:
        columns: those that become fields; not the key, nor the external id, which comes from the record's identity.
        fields: the module's metadata.
        module: its API name, for messages.
        external_id: the field that holds our record id, as configured.
        mandatory: columns that go into every operation, as configured.
        upserts: whether creations and updates are upserts. These must always carry what the CRM demands, and match by
            other unique fields too.

    Returns:
        What doesn't fit, in the order of the columns; empty if all does.
    """
    found: list[Misfit] = []
    own = find_field(external_id, fields) if external_id is not None else None
    if external_id is not None:
        found += _check_external_id(external_id, fields, module)
    matched = resolve((c.name for c in columns), fields)
    taken: dict[str, str] = {}
    for column in columns:
        field = matched.get(column.name)
        if field is None:
            found.append(_no_field(column, fields, module))
            continue
        first = taken.setdefault(field.api_name, column.name)
        if first != column.name:
            detail = f"{column.name} and {first} both mean the field {field.api_name}"
            found.append(Misfit(column=column.name, reason=Reason.REQUEST_REFUSED, detail=detail))
            continue
        found += _check_column(column, field)
        if upserts and field.is_unique and field.is_custom and field != own:
            # Upsert looks in the other unique custom fields after the one it is told, and would merge two people.
            detail = f"{field.api_name} is unique, so the CRM would also match by it and write into another's record"
            found.append(Misfit(column=column.name, reason=Reason.DUPLICATE_IN_CRM, detail=detail))
    always = {matched[name].api_name for name in mandatory if name in matched}
    supplied = set(taken) | ({own.api_name} if own is not None else set())
    found += _check_mandatory(fields, supplied, always if upserts else None, module)
    found += [
        Misfit(column=name, reason=Reason.REQUIRED_FIELD_MISSING, detail=f"{name} is mandatory but not in the view")
        for name in mandatory
        if name not in {c.name for c in columns}
    ]
    return found


def _no_field(column: Column, fields: Mapping[str, CrmField], module: str) -> Misfit:
    detail = f"{module} has no field with the API name or label {column.name}, or several that could be meant"
    return Misfit(column=column.name, reason=Reason.FIELD_NOT_IN_CRM, detail=detail)


def _check_external_id(name: str, fields: Mapping[str, CrmField], module: str) -> list[Misfit]:
    field = find_field(name, fields)
    if field is None:
        detail = f"{module} has no field {name}, which shall hold our identity of the record"
        return [Misfit(column=name, reason=Reason.FIELD_NOT_IN_CRM, detail=detail)]
    if not field.is_unique or field.data_type != "text" or field.is_read_only:
        detail = f"{field.api_name} must be a writable single-line text with 'Do not allow duplicate values'"
        return [Misfit(column=name, reason=Reason.WRONG_TYPE, detail=detail)]
    return []


def _check_column(column: Column, field: CrmField) -> list[Misfit]:
    def misfit(reason: Reason, detail: str) -> Misfit:
        return Misfit(column=column.name, reason=reason, detail=detail)

    if field.is_read_only:
        return [misfit(Reason.REQUEST_REFUSED, f"{field.api_name} is read-only in the CRM")]
    base = _MODIFIER.sub("", column.type)
    if field.data_type not in TYPES.get(base, frozenset()):
        hint = _HINTS.get(base, "" if base in TYPES else "cast it to text")
        detail = f"{field.api_name} is of type {field.data_type}, the column of type {column.type}"
        return [misfit(Reason.WRONG_TYPE, f"{detail}; {hint}" if hint else detail)]
    found: list[Misfit] = []
    if field.max_length is not None and column.max_length is not None and column.max_length > field.max_length:
        detail = f"{field.api_name} holds {field.max_length} characters, the longest text has {column.max_length}"
        found.append(misfit(Reason.FIELD_TOO_LONG, detail))
    if field.data_type == "picklist" and column.values is not None and (missing := column.values - field.values):
        # The CRM's own list may be shown; what the rows hold may not.
        listed = ", ".join(sorted(field.values)) or "nothing"
        detail = f"{len(missing)} of {len(column.values)} values are not on the picklist of {field.api_name} ({listed})"
        found.append(misfit(Reason.PICKLIST_VALUE_UNKNOWN, detail))
    return found


def _check_mandatory(
    fields: Mapping[str, CrmField], supplied: set[str], always: set[str] | None, module: str
) -> list[Misfit]:
    found = []
    for field in fields.values():
        if not field.is_mandatory or field.is_read_only:
            continue
        if field.api_name not in supplied:
            detail = f"{module} demands {field.api_name}, which no column supplies"
        elif always is not None and field.api_name not in always:
            detail = f"{module} demands {field.api_name} in every call; list it under mandatory in feeds.toml"
        else:
            continue
        found.append(Misfit(column=field.api_name, reason=Reason.REQUIRED_FIELD_MISSING, detail=detail))
    return found
