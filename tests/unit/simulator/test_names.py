import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.simulator.customfields import api_name_of


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("External ID", "External_ID"),
        ("XP STEM", "XP_STEM"),
        ("External ID (UUID)", "External_ID_UUID"),
        ("XP - Art", "XP_Art"),
        ("  Level  ", "Level"),
        ("External_ID__c", "External_ID_c"),
        ("Trailing_", "Trailing"),
        ("2nd Parent", "nd_Parent"),
        ("Größe", "Gre"),
        ("???", ""),
    ],
)
def test_a_label_becomes_a_name_by_the_documented_rule(label: str, name: str) -> None:
    assert api_name_of(label) == name


@given(st.text(max_size=80))
def test_every_name_is_legal(label: str) -> None:
    name = api_name_of(label)
    assert name == "" or re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", name)
    assert len(name) <= 50
