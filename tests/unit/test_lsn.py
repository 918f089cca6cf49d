"""LSNs are numbers that print as Postgres prints them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.lsn import ZERO, Lsn


@given(st.integers(0, 2**64 - 1))
def test_text_and_number_are_the_same_thing(number: int) -> None:
    assert Lsn.parse(str(Lsn(number))) == number


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_they_are_ordered_as_positions(one: int, other: int) -> None:
    assert (Lsn(one) < Lsn(other)) == (one < other)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0/0", 0),
        ("0/16B3748", 0x16B3748),
        ("1/0", 2**32),
        (" ff/00000001\n", 0xFF00000001),
        ("FFFFFFFF/FFFFFFFF", 2**64 - 1),
    ],
)
def test_postgres_forms_are_read(text: str, number: int) -> None:
    assert Lsn.parse(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "/", "0/", "/0", "0/1/2", "0x1/2", "-1/0", "123456789/0", "0/123456789", "g/0"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 0/16B3748"):
        Lsn.parse(text)


def test_printing() -> None:
    assert str(Lsn(2**32 + 255)) == "1/FF"
    assert repr(Lsn(255)) == "Lsn('0/FF')"
    assert str(ZERO) == "0/0"
    assert f"{Lsn(255)}" == "0/FF"
