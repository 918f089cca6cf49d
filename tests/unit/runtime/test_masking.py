"""Nothing of a value gets through the mask but its kind and size."""

from __future__ import annotations

import pytest

from cdc.runtime.masking import mask


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("ada.lovelace@example.org", "a…@e…"),
        ("Ada Lovelace", "12 characters"),
        ("not an address @ all", "20 characters"),
        ("", "empty"),
        (None, "empty"),
        (True, "yes or no"),
        (42, "a number"),
        (4.2, "a number"),
        ({"name": "Ada", "id": "1"}, "dict"),
    ],
)
def test_a_mask(value: object, shown: str) -> None:
    assert mask(value) == shown
