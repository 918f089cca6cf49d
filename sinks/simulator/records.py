"""Writing records: insert, update, upsert and delete, with one item for each record in the request's order.

https://www.zoho.com/crm/developer/docs/api/v8/insert-records.html and upsert-records.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sinks.simulator.answers import Item, Json, bad_value, error, missing, one_of, success
from sinks.simulator.clock import Clock, iso
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.fields import DataType, Field, Module
from sinks.simulator.org import USER, Ids, Org
from sinks.simulator.store import Record, Table
from sinks.simulator.validation import Validator, as_id

Refuse = Callable[[int, Json], Item | None]
"""A fault on demand: the item to refuse a record with, or None to let it pass."""

_BY = {"id": USER["id"], "name": USER["name"]}


def let_pass(_: int, __: Json) -> Item | None:
    """Refuses nothing."""
    return None


class Records:
    """All records of the organisation."""

    def __init__(self, org: Org, clock: Clock, ids: Ids, config: SimulatorConfig) -> None:
        self._org = org
        self._clock = clock
        self._ids = ids
        self._config = config
        self.tables: dict[str, Table] = {}
        self._validator = Validator(self.tables)
        self.clear()

    def clear(self) -> None:
        """Forget every record, the deleted ones too."""
        self.tables.clear()
        self.tables.update({name: Table(module) for name, module in self._org.modules.items()})

    def insert(self, module: Module, sent: Sequence[object], refuse: Refuse = let_pass) -> list[Item]:
        """Make new records."""
        table = self.tables[module.api_name]
        return [
            self._each(place, one, refuse, lambda record, path: self._insert(table, record, path))
            for place, one in enumerate(sent)
        ]

    def update(self, module: Module, sent: Sequence[object], refuse: Refuse = let_pass) -> list[Item]:
        """Change records that are addressed by `id`. The same id twice in one call: the second is refused."""
        table = self.tables[module.api_name]
        touched: set[str] = set()
        return [
            self._each(place, one, refuse, lambda record, path: self._update(table, record, path, touched))
            for place, one in enumerate(sent)
        ]

    def upsert(
        self, module: Module, sent: Sequence[object], fields: Sequence[Field], refuse: Refuse = let_pass
    ) -> list[Item]:
        """Insert or update by the first field in which a record of that value is found.

        Two records of one call that meet in the same record: Zoho doesn't document it; the second is refused.

        Args:
            module: the module.
            sent: records from the body.
            fields: the fields to look in, in order; see `match_fields`.
            refuse: fault on demand.
        """
        table = self.tables[module.api_name]
        touched: set[str] = set()
        return [
            self._each(place, one, refuse, lambda record, path: self._upsert(table, record, path, fields, touched))
            for place, one in enumerate(sent)
        ]

    def delete(self, module: Module, ids: Sequence[str], refuse: Refuse = let_pass) -> list[Item]:
        """Delete records; notes go with their parent, and activities lose the link."""
        items: list[Item] = []
        for place, record_id in enumerate(ids):
            refusal = refuse(place, {"id": record_id})
            items.append(refusal or self._delete(self.tables[module.api_name], record_id))
        return items

    def _each(self, place: int, sent: object, refuse: Refuse, write: Callable[[Json, str], Item]) -> Item:
        path = f"$.data[{place}]"
        if not isinstance(sent, dict):
            return bad_value("data", path, expected_data_type="jsonobject")
        return refuse(place, sent) or write(sent, path)

    def _insert(self, table: Table, sent: Json, path: str) -> Item:
        module = table.module
        values, problems = self._validator.check(module, sent, path)
        problems += self._validator.absent(module, sent, path)
        problems += self._validator.empty_note(module, values, path)
        return self._add(table, values, problems, path)

    def _add(self, table: Table, values: Record, problems: list[Item], path: str) -> Item:
        problems += self._duplicates(table, values, path, None)
        if problems:
            return one_of(problems)
        now = self._clock.now()
        record: Record = {"id": self._ids.take()}
        record.update((name, value) for name, value in values.items() if value is not None)
        _derive(table.module, record, record, now)
        table.insert(record, now)
        return success("record added", self._details(table, record["id"]))

    def _update(self, table: Table, sent: Json, path: str, touched: set[str]) -> Item:
        if sent.get("id") is None:
            return missing("id", f"{path}.id")
        record_id = as_id(sent["id"])
        if record_id is None or record_id not in table.records:
            details = {"api_name": "id", "json_path": f"{path}.id", "id": str(sent["id"])}
            return error("INVALID_DATA", "the id given seems to be invalid", details)
        if record_id in touched:
            return error(
                "DUPLICATE_DATA", "duplicate data", {"api_name": "id", "json_path": f"{path}.id", "id": record_id}
            )
        touched.add(record_id)
        values, problems = self._validator.check(table.module, sent, path)
        return self._change(table, record_id, values, problems, path)

    def _change(self, table: Table, record_id: str, values: Record, problems: list[Item], path: str) -> Item:
        merged = table.records[record_id] | values
        problems += self._validator.empty_note(table.module, merged, path)
        problems += self._duplicates(table, values, path, record_id)
        if problems:
            return one_of(problems)
        now = self._clock.now()
        _derive(table.module, values, merged, now)
        table.update(record_id, values, now)
        return success("record updated", self._details(table, record_id))

    def _upsert(self, table: Table, sent: Json, path: str, fields: Sequence[Field], touched: set[str]) -> Item:
        if "id" in sent:
            return error("NOT_ALLOWED", "id is not allowed here", {"api_name": "id", "json_path": f"{path}.id"})
        values, problems = self._validator.check(table.module, sent, path)
        field, holders = self._match(table, values, fields)
        if not holders or self._config.upsert_demands_mandatory:
            problems += self._validator.absent(table.module, sent, path)
        if field is None or not holders:
            item = self._add(table, values, problems, path)
            action, matched = "insert", None
        elif len(holders) > 1 or holders[0] in touched:
            return self._duplicate(table, field, holders, path)
        else:
            item = self._change(table, holders[0], values, problems, path)
            action, matched = "update", field.api_name
        if item["status"] == "success":
            touched.add(item["details"]["id"])
            item |= {"action": action, "duplicate_field": matched}
        return item

    @staticmethod
    def _match(table: Table, values: Record, fields: Sequence[Field]) -> tuple[Field | None, list[str]]:
        for field in fields:
            holders = table.find(field, values.get(field.api_name))
            if holders:
                return field, holders
        return None, []

    def _duplicates(self, table: Table, values: Record, path: str, own: str | None) -> list[Item]:
        """A problem for each unique field whose value another record holds."""
        problems: list[Item] = []
        for field in table.module.unique_fields():
            if values.get(field.api_name) is None:
                continue
            others = [holder for holder in table.find(field, values[field.api_name]) if holder != own]
            if others:
                problems.append(self._duplicate(table, field, others, path))
        return problems

    @staticmethod
    def _duplicate(table: Table, field: Field, holders: Sequence[str], path: str) -> Item:
        module = {"api_name": table.module.api_name, "id": table.module.id}
        details = {
            "api_name": field.api_name,
            "json_path": f"{path}.{field.api_name}",
            "id": holders[0],
            "duplicate_record": {"id": holders[0], "Owner": _BY, "module": module},
            "more_records": len(holders) > 1,
        }
        return error("DUPLICATE_DATA", "duplicate data", details)

    @staticmethod
    def _details(table: Table, record_id: str) -> Json:
        return {
            "id": record_id,
            "Created_Time": iso(table.created[record_id]),
            "Modified_Time": iso(table.modified[record_id]),
            "Created_By": _BY,
            "Modified_By": _BY,
        }

    def _delete(self, table: Table, record_id: str) -> Item:
        if record_id not in table.records:
            return error("INVALID_DATA", "the id given seems to be invalid", {"id": record_id})
        now = self._clock.now()
        for other in self.tables.values():
            for field in other.module.fields.values():
                if field.type is not DataType.LOOKUP:
                    continue
                for holder in list(other.find(field, {"id": record_id})):
                    if field.mandatory:
                        other.remove(holder, now)
                    else:
                        other.update(holder, {field.api_name: None}, now)
        table.remove(record_id, now)
        return success("record deleted", {"id": record_id})


def match_fields(module: Module, listed: Sequence[str] | None) -> list[Field]:
    """The fields that an upsert looks in, in order.

    Those listed, then the other unique fields; with nothing listed, the system's duplicate check field first. A
    system field that isn't listed is skipped, unique fields never are.

    Raises:
        KeyError: a listed name is neither the system field nor unique.
    """
    unique = {field.api_name: field for field in module.unique_fields()}
    system = module.duplicate_field
    first = [system] if listed is None and system else list(listed or ())
    possible = unique | ({system: module.fields[system]} if system else {})
    chosen = [possible[name] for name in first]
    return [*chosen, *(field for field in unique.values() if field not in chosen)]


def _derive(module: Module, changes: Record, merged: Record, now: float) -> None:
    """Add to the changes what Zoho works out itself."""
    if "Last_Name" in changes or "First_Name" in changes:
        changes["Full_Name"] = " ".join(filter(None, (merged.get("First_Name"), merged.get("Last_Name"))))
    if module.api_name == "Tasks" and "Status" in changes:
        changes["Closed_Time"] = iso(now) if merged.get("Status") == "Completed" else None
