"""How a stored record looks in an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sinks.simulator.answers import Json
from sinks.simulator.clock import iso
from sinks.simulator.fields import DataType, Field
from sinks.simulator.org import USER
from sinks.simulator.store import Record, Table, display_name, link_id

_MADE = {"Created_Time": "created", "Modified_Time": "modified"}


def field_value(tables: Mapping[str, Table], table: Table, record: Record, field: Field) -> object:
    """One field of a record as Zoho prints it."""
    name = field.api_name
    if name in _MADE:
        return iso(getattr(table, _MADE[name])[record["id"]])
    if field.type is DataType.OWNER:
        return dict(USER)
    value = record.get(name)
    if value is None:
        return False if field.type is DataType.BOOLEAN else None
    if field.type is DataType.LOOKUP:
        return _linked(tables, field, value)
    return value


def _linked(tables: Mapping[str, Table], field: Field, value: Json) -> Json:
    module = str(value.get("module") or field.lookup)
    record_id = str(link_id(value))
    shown: Json = {"name": display_name(tables[module].records[record_id]), "id": record_id}
    if field.api_name == "Parent_Id":
        shown["module"] = {"api_name": module, "id": tables[module].module.id}
    return shown


def render(tables: Mapping[str, Table], table: Table, record: Record, names: Iterable[str] | None = None) -> Json:
    """A record with the named fields, or all of them; unknown names are left out, `id` is always there."""
    fields = table.module.fields
    chosen = fields if names is None else [name for name in names if name in fields]
    shown: Json = {name: field_value(tables, table, record, fields[name]) for name in chosen}
    shown["id"] = record["id"]
    if names is None:
        shown |= {"$editable": True, "$approved": True, "$approval_state": "approved", "$in_merge": False}
        if table.module.api_name in {"Tasks", "Events", "Calls"}:
            shown["$se_module"] = (record.get("What_Id") or {}).get("module") or (
                "Contacts" if record.get("Who_Id") else None
            )
    return shown
