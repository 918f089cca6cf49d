"""`POST /coql`: runs a parsed query over one module."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sinks.simulator.answers import Answer, Refusal
from sinks.simulator.ask import Ask
from sinks.simulator.conditions import COMPARISONS, BadValue, comparable, field_of, literal
from sinks.simulator.coql import Both, Condition, Where, module_of, parse
from sinks.simulator.fields import ANY_MODULE, DataType, Field
from sinks.simulator.pricing import coql_extra
from sinks.simulator.rendering import field_value
from sinks.simulator.simulation import Simulation
from sinks.simulator.store import Record, Table, link_id

Match = Callable[[Record], bool]

_NOT_QUERYABLE = frozenset({"Notes"})


def queried_module(ask: Ask) -> str | None:
    """The module of a query, from the call's body."""
    return module_of(ask.body.get("select_query")) if isinstance(ask.body, dict) else None


def coql(sim: Simulation, ask: Ask) -> Answer:
    """`POST /coql`."""
    text = ask.json_object().get("select_query")
    if not isinstance(text, str):
        where = {"api_name": "select_query", "json_path": "$.select_query"}
        raise Refusal(400, "MANDATORY_NOT_FOUND", "required field not found", where)
    query = parse(text)
    if query.module in _NOT_QUERYABLE or query.module not in sim.records.tables:
        raise Refusal(400, "INVALID_MODULE", "the module name given seems to be invalid", {"module": query.module})
    table = sim.records.tables[query.module]
    columns = [_Column(sim.records.tables, table, name) for name in query.columns]
    matches = _compiled(sim.records.tables, table, query.where)
    found = [record for record in table.records.values() if matches(record)]
    for name, descending in reversed(query.order or [("id", False)]):
        _sort(table, found, name, descending=descending)
    rows = found[query.offset : query.offset + query.limit]
    extra = coql_extra(query.limit)
    if not rows:
        return Answer(status=204, extra_credits=extra)
    more = query.offset + query.limit < len(found)
    data = [{"id": record["id"]} | {column.name: column.of(record) for column in columns} for record in rows]
    return Answer(body={"data": data, "info": {"count": len(rows), "more_records": more}}, extra_credits=extra)


class _Column:
    """One selected column: a field, `id`, or a field of a linked record such as `Who_Id.Last_Name`."""

    def __init__(self, tables: Mapping[str, Table], table: Table, name: str) -> None:
        self.name = name
        self._tables = tables
        self._table = table
        self._field, self._far = _resolve(tables, table, name)

    def of(self, record: Record) -> object:
        """The column's value in a record."""
        if self.name == "id":
            return record["id"]
        if self._far is None:
            value = field_value(self._tables, self._table, record, self._field)
            return {"id": value["id"]} if isinstance(value, dict) else value
        far_table, far_field = self._far
        linked = far_table.records.get(link_id(record.get(self._field.api_name)) or "")
        if linked is None:
            return None
        if far_field.api_name == "id":
            return linked["id"]
        return field_value(self._tables, far_table, linked, far_field)


def _resolve(tables: Mapping[str, Table], table: Table, name: str) -> tuple[Field, tuple[Table, Field] | None]:
    """The field a column names and, for a path, the table and field at its far end.

    Raises:
        Refusal: there's no such column.
    """
    near, _, far = name.partition(".")
    field = field_of(table, near)
    if field is None:
        raise _bad_column(name)
    if not far:
        return field, None
    far_table = tables.get(field.lookup or "") if field.lookup != ANY_MODULE else None
    far_field = field_of(far_table, far) if far_table is not None else None
    if far_table is None or far_field is None:
        raise _bad_column(name)
    return field, (far_table, far_field)


def _bad_column(name: str) -> Refusal:
    return Refusal(400, "INVALID_QUERY", "column given seems to be invalid", {"column_name": name})


def _bad_value(condition: Condition, field: Field) -> Refusal:
    details = {"column_name": condition.column, "data_type": field.type.value, "operator": condition.operator}
    return Refusal(400, "INVALID_QUERY", "value given seems to be invalid for the column", details)


def _compiled(tables: Mapping[str, Table], table: Table, where: Where) -> Match:
    if isinstance(where, Both):
        left, right = _compiled(tables, table, where.left), _compiled(tables, table, where.right)
        if where.word == "and":
            return lambda record: left(record) and right(record)
        return lambda record: left(record) or right(record)
    return _condition(tables, table, where)


def _condition(tables: Mapping[str, Table], table: Table, condition: Condition) -> Match:
    field, far = _resolve(tables, table, condition.column)
    end = far[1] if far else field
    if end.type is DataType.TEXTAREA:
        details = {"column_name": condition.column, "data_type": end.type.value}
        raise Refusal(400, "INVALID_QUERY", "data type not supported", details)
    test = _test(condition, end)
    if far is None:
        return lambda record: test(comparable(table, record, field))
    far_table, far_field = far

    def through_link(record: Record) -> bool:
        linked = far_table.records.get(link_id(record.get(field.api_name)) or "")
        return test(None if linked is None else comparable(far_table, linked, far_field))

    return through_link


def _test(condition: Condition, field: Field) -> Callable[[object], bool]:
    """A test of one comparable value."""
    operator, values = condition.operator, condition.values
    if operator in ("null", "not null"):
        return (lambda found: found is None) if operator == "null" else (lambda found: found is not None)
    if operator.endswith("like"):
        if field.type in (DataType.INTEGER, DataType.BOOLEAN, DataType.DATETIME, DataType.DATE, DataType.BIGINT):
            raise _bad_value(condition, field)
        like = _like(values[0])
        return lambda found: found is not None and bool(like.fullmatch(str(found))) is not operator.startswith("not")
    try:
        wanted = [literal(field, value) for value in values]
    except BadValue as wrong:
        raise _bad_value(condition, field) from wrong
    if operator.endswith("in"):
        chosen = set(wanted)
        return lambda found: found is not None and (found in chosen) is not operator.startswith("not")
    if operator.endswith("between"):
        low, high = wanted
        return lambda found: found is not None and (low <= found <= high) is not operator.startswith("not")
    compare = COMPARISONS[operator]
    return lambda found: found is not None and compare(found, wanted[0])


def _like(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.casefold().split("%"))), re.DOTALL)


def _sort(table: Table, records: list[Record], name: str, *, descending: bool) -> None:
    """Sort in place by one column; records without a value come last."""
    field = field_of(table, name)
    if field is None:
        raise _bad_column(name)
    keyed = [(comparable(table, record, field), record) for record in records]
    filled: list[tuple[Any, Record]] = [(key, record) for key, record in keyed if key is not None]
    filled.sort(key=lambda pair: pair[0], reverse=descending)
    records[:] = [record for _, record in filled] + [record for key, record in keyed if key is None]
