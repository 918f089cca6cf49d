"""What the audit says of a selection."""

from __future__ import annotations

import pytest

from cdc.cli.audit import describe
from cdc.cli.start import who


@pytest.mark.parametrize(
    ("keys", "criteria", "words"),
    [
        (None, {}, "everything"),
        (None, {"feed": "contacts", "reason": None}, "feed contacts"),
        (["a"], {"feed": "contacts"}, "feed contacts, key a"),
        (["a", "b", "c", "d", "e"], {}, "keys a, b, c and 2 more"),
    ],
)
def test_a_selection_is_put_into_a_few_words(keys: list[str] | None, criteria: dict[str, object], words: str) -> None:
    assert describe(keys, **criteria) == words


def test_an_account_has_a_machine() -> None:
    name, _, machine = who().partition("@")
    assert name
    assert machine
