"""What of a value may be shown without being asked for: its kind and size, and never the value."""

from __future__ import annotations

import re

from sinks.base import FieldValue

_EMAIL = re.compile(r"([^@\s])[^@\s]*@([^@\s])[^@\s]*")


def mask(value: FieldValue | object) -> str:
    """Show a value's kind: `a…@e…` for an address, a length for other text."""
    match value:
        case None | "":
            return "empty"
        case bool():
            return "yes or no"
        case int() | float():
            return "a number"
        case str():
            address = _EMAIL.fullmatch(value)
            return f"{address[1]}…@{address[2]}…" if address else f"{len(value)} characters"
        case _:
            return type(value).__name__
