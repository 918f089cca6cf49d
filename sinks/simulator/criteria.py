"""Search criteria such as `((Last_Name:equals:Doe)and(First_Name:starts_with:J))`.

https://www.zoho.com/crm/developer/docs/api/v8/search-records.html
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sinks.simulator.answers import Refusal
from sinks.simulator.conditions import COMPARISONS, BadValue, comparable, field_of, literal
from sinks.simulator.fields import DataType
from sinks.simulator.store import Record, Table

CONDITIONS = 10

Match = Callable[[Record], bool]

_TOKEN = re.compile(r"\(|\)|and|or|(?P<condition>[A-Za-z_][A-Za-z0-9_]*:[a-z_]+:(?:\\.|[^\\()])*)", re.DOTALL)
_OPERATORS = {
    "equals": "=",
    "not_equal": "!=",
    "greater_than": ">",
    "less_than": "<",
    "greater_equal": ">=",
    "less_equal": "<=",
}
_TEXT_TYPES = frozenset({DataType.TEXT, DataType.EMAIL, DataType.PHONE, DataType.WEBSITE, DataType.PICKLIST})


def _invalid(where: str) -> Refusal:
    return Refusal(400, "INVALID_QUERY", "Invalid query formed", {"reason": where, "param_name": "criteria"})


def matcher(table: Table, text: str) -> Match:
    """A test for records from the text of a criteria parameter.

    Raises:
        Refusal: `INVALID_QUERY`, or more than ten conditions.
    """
    parser = _Parser(table, _tokens(text))
    match = parser.group()
    if parser.left:
        raise _invalid("unexpected text at the end")
    if parser.conditions > CONDITIONS:
        raise Refusal(400, "LIMIT_EXCEEDED", "criteria limit exceeded", {"limit": CONDITIONS, "param_name": "criteria"})
    return match


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    place = 0
    stripped = text.strip()
    while place < len(stripped):
        found = _TOKEN.match(stripped, place)
        if found is None:
            raise _invalid(f"unexpected character at {place}")
        tokens.append(found.group())
        place = found.end()
    return tokens


class _Parser:
    """Recursive descent over brackets; and binds no tighter than or, as brackets are demanded pairwise."""

    def __init__(self, table: Table, tokens: list[str]) -> None:
        self._table = table
        self.left = tokens
        self.conditions = 0

    def group(self) -> Match:
        if not self.left or self.left.pop(0) != "(":
            raise _invalid("a bracket is missing")
        match = self.group() if self.left[:1] == ["("] else self._condition()
        while self.left[:1] in (["and"], ["or"]):
            match = _joined(self.left.pop(0), match, self.group())
        if not self.left or self.left.pop(0) != ")":
            raise _invalid("a bracket is not closed")
        if self.left[:1] in (["and"], ["or"]) and self.conditions == 1:
            match = _joined(self.left.pop(0), match, self.group())
        return match

    def _condition(self) -> Match:
        if not self.left or ":" not in self.left[0]:
            raise _invalid("a condition is missing")
        self.conditions += 1
        name, operator, value = self.left.pop(0).split(":", 2)
        return _condition(self._table, name, operator, re.sub(r"\\(.)", r"\1", value))


def _joined(word: str, one: Match, other: Match) -> Match:
    if word == "and":
        return lambda record: one(record) and other(record)
    return lambda record: one(record) or other(record)


def _condition(table: Table, name: str, operator: str, value: str) -> Match:
    field = field_of(table, name)
    if field is None or field.type is DataType.TEXTAREA:
        raise _invalid(f"the field {name} cannot be searched")
    try:
        if operator in _OPERATORS:
            compare, wanted = COMPARISONS[_OPERATORS[operator]], literal(field, value)
            return lambda record: _test(compare, comparable(table, record, field), wanted)
        if operator == "in":
            chosen = {literal(field, one) for one in value.split(",")}
            return lambda record: comparable(table, record, field) in chosen
        if operator == "between" and value.count(",") == 1:
            low, high = (literal(field, one) for one in value.split(","))
            return lambda record: (found := comparable(table, record, field)) is not None and low <= found <= high
    except BadValue as wrong:
        raise _invalid(f"the value for {name} has the wrong type") from wrong
    if operator == "starts_with" and field.type in _TEXT_TYPES:
        start = value.casefold()
        return lambda record: (comparable(table, record, field) or "").startswith(start)
    raise _invalid(f"the operator {operator} is not supported for {name}")


def _test(compare: Callable[[object, object], bool], found: object, wanted: object) -> bool:
    return found is not None and compare(found, wanted)
