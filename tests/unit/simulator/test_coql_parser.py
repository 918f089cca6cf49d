import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.simulator.answers import Refusal
from sinks.simulator.coql import Both, Condition, module_of, parse


def test_a_query_in_its_parts() -> None:
    query = parse(
        "select id, Who_Id.id from Tasks where (A = 'x' and B is null) or C in (1, 2) order by id desc limit 5"
    )
    assert (query.columns, query.module, query.limit, query.offset) == (["id", "Who_Id.id"], "Tasks", 5, 0)
    left = Both("and", Condition("A", "=", ("x",)), Condition("B", "null"))
    assert query.where == Both("or", left, Condition("C", "in", ("1", "2")))
    assert query.order == [("id", True)]


@pytest.mark.parametrize(
    ("text", "module"),
    [("select id from Tasks where", "Tasks"), ("SELECT x FROM Contacts", "Contacts"), ("nonsense", None), (5, None)],
)
def test_the_module_is_found_even_in_a_query_that_cannot_be_read(text: object, module: str | None) -> None:
    assert module_of(text) == module


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for query in (text, f"select id from Contacts where {text}"):
        with contextlib.suppress(Refusal):  # any other exception is a bug
            parse(query)


@given(st.text(max_size=40))
def test_any_text_can_be_quoted(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    assert parse(f"select id from Contacts where Last_Name = '{quoted}'").where == Condition("Last_Name", "=", (text,))
