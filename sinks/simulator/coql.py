"""COQL, a sound part of it: one module, no joins, no aggregates.

    query      = select columns from module where condition [order by ...] [limit n [, m] | limit n offset m]
    condition  = simple | ( condition ) | condition and condition | condition or condition

Conditions are bracketed pairwise, as Zoho demands: `a and b and c` is refused, `(a and b) and c` is taken.

https://www.zoho.com/crm/developer/docs/api/v8/COQL-Overview.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from sinks.simulator.answers import Refusal

COLUMNS = 50
CONDITIONS = 25
IN_VALUES = 50
ORDERS = 10
DEFAULT_ROWS = 200
MOST_ROWS = 2_000
MOST_OFFSET = 100_000

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:\\.|[^'\\])*')
      | (?P<number>-?\d+(?:\.\d+)?(?![\w:-]))
      | (?P<moment>\d{4}-\d{2}-\d{2}(?:T[\d:]+(?:[+-]\d{2}:\d{2})?)?)
      | (?P<name>[A-Za-z_$][\w$]*(?:\.[A-Za-z_][\w]*)*)
      | (?P<sign><=|>=|!=|<>|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
_FROM = re.compile(r"\bfrom\s+([A-Za-z_]\w*)", re.IGNORECASE)
_KEYWORDS = frozenset(
    {"select", "from", "where", "and", "or", "in", "not", "is", "null", "like", "between", "order", "by", "asc", "desc"}
    | {"limit", "offset"}
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. `values` are literals as text; `operator` is a sign, or in, like, between, null, with `not `."""

    column: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Both:
    """Two conditions joined by and or or."""

    word: str
    left: Where
    right: Where


Where = Condition | Both


@dataclass(slots=True, kw_only=True)
class Query:
    """A parsed query."""

    columns: list[str]
    module: str
    where: Where
    order: list[tuple[str, bool]] = field(default_factory=list)
    limit: int = DEFAULT_ROWS
    offset: int = 0


def module_of(text: object) -> str | None:
    """The module a query names, readable or not; the scope check needs it before the query is parsed."""
    found = _FROM.search(text) if isinstance(text, str) else None
    return found.group(1) if found else None


def parse(text: str) -> Query:
    """Parse a query.

    Raises:
        Refusal: `SYNTAX_ERROR`, or `LIMIT_EXCEEDED` for too many columns, conditions, values or rows.
    """
    return _Parser(_tokens(text)).query()


def _syntax(near: str, message: str = "invalid query formed") -> Refusal:
    return Refusal(400, "SYNTAX_ERROR", message, {"near": near})


def _limit(clause: str, limit: int) -> Refusal:
    return Refusal(
        400, "LIMIT_EXCEEDED", f"the limit of the {clause} clause is exceeded", {"clause": clause, "limit": limit}
    )


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str

    @property
    def word(self) -> str:
        return self.text.lower() if self.kind == "name" else self.text


_END = _Token("end", "end of query")


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    place = 0
    stripped = text.rstrip().rstrip(";")
    while place < len(stripped):
        found = _TOKEN.match(stripped, place)
        if found is None or found.lastgroup is None:
            raise _syntax(stripped[place : place + 20].strip())
        tokens.append(_Token(found.lastgroup, found.group(found.lastgroup)))
        place = found.end()
    return tokens


class _Parser:
    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._conditions = 0

    def _peek(self) -> _Token:
        return self._tokens[self._place] if self._place < len(self._tokens) else _END

    def _take(self) -> _Token:
        token = self._peek()
        self._place += 1
        return token

    def _accept(self, *words: str) -> bool:
        ahead = [token.word for token in self._tokens[self._place : self._place + len(words)]]
        if ahead != list(words):
            return False
        self._place += len(words)
        return True

    def _expect(self, *words: str) -> None:
        if not self._accept(*words):
            raise _syntax(self._peek().text)

    def _name(self) -> str:
        token = self._take()
        if token.kind != "name" or token.word in _KEYWORDS:
            raise _syntax(token.text)
        return token.text

    def query(self) -> Query:
        self._expect("select")
        columns = [self._name()]
        while self._accept(","):
            columns.append(self._name())
        if len(columns) > COLUMNS:
            raise _limit("select", COLUMNS)
        self._expect("from")
        module = self._name()
        if self._peek().word != "where":
            raise Refusal(400, "SYNTAX_ERROR", "missing clause", {"clause": "where"})
        self._expect("where")
        query = Query(columns=columns, module=module, where=self._where())
        self._tail(query)
        if self._peek() is not _END:
            raise _syntax(self._peek().text)
        return query

    def _where(self) -> Where:
        """One operand, or two joined; more must be bracketed."""
        left = self._operand()
        for word in ("and", "or"):
            if self._accept(word):
                both = Both(word, left, self._operand())
                if self._peek().word in ("and", "or"):
                    raise _syntax(self._peek().text)
                return both
        return left

    def _operand(self) -> Where:
        if self._accept("("):
            inner = self._where()
            self._expect(")")
            return inner
        self._conditions += 1
        if self._conditions > CONDITIONS:
            raise _limit("where", CONDITIONS)
        return self._condition()

    def _condition(self) -> Condition:
        column = self._name()
        if self._accept("is", "not", "null"):
            return Condition(column, "not null")
        if self._accept("is", "null"):
            return Condition(column, "null")
        negated = "not " if self._accept("not") else ""
        if self._accept("in"):
            return Condition(column, f"{negated}in", self._values())
        if self._accept("like"):
            return Condition(column, f"{negated}like", (self._literal(),))
        if self._accept("between"):
            low = self._literal()
            self._expect("and")
            return Condition(column, f"{negated}between", (low, self._literal()))
        sign = self._take()
        if negated or sign.kind != "sign" or sign.text in "(),":
            raise _syntax(sign.text)
        return Condition(column, "!=" if sign.text == "<>" else sign.text, (self._literal(),))

    def _values(self) -> tuple[str, ...]:
        self._expect("(")
        values = [self._literal()]
        while self._accept(","):
            values.append(self._literal())
        self._expect(")")
        if len(values) > IN_VALUES:
            raise _limit("in", IN_VALUES)
        return tuple(values)

    def _literal(self) -> str:
        token = self._take()
        if token.kind == "text":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if token.kind in ("number", "moment") or token.word in ("true", "false"):
            return token.text
        raise _syntax(token.text)

    def _tail(self, query: Query) -> None:
        if self._accept("order", "by"):
            query.order.append(self._ordering())
            while self._accept(","):
                query.order.append(self._ordering())
            if len(query.order) > ORDERS:
                raise _limit("order by", ORDERS)
        if self._accept("limit"):
            first = self._whole()
            if self._accept(","):  # limit offset, rows
                query.offset, query.limit = first, self._whole()
            else:
                query.limit = first
        if self._accept("offset"):
            query.offset = self._whole()
        if query.limit > MOST_ROWS:
            raise _limit("limit", MOST_ROWS)
        if query.offset + query.limit > MOST_OFFSET:
            raise _limit("offset", MOST_OFFSET)

    def _ordering(self) -> tuple[str, bool]:
        name = self._name()
        descending = self._accept("desc")
        if not descending:
            self._accept("asc")
        return name, descending

    def _whole(self) -> int:
        token = self._take()
        if token.kind != "number" or not token.text.isdecimal():
            raise _syntax(token.text)
        return int(token.text)
