"""Cells of a CSV as the values a JSON call would carry."""

from __future__ import annotations

import re
from collections.abc import Callable

from sinks.simulator.fields import DataType, Field


def _whole(text: str) -> object:
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def _decimal(text: str) -> object:
    return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else text


def _truth(text: str) -> object:
    return {"true": True, "false": False}.get(text.lower(), text)


def _link(text: str) -> object:
    return {"id": text}


_READ: dict[DataType, Callable[[str], object]] = {
    DataType.INTEGER: _whole,
    DataType.BIGINT: _whole,
    DataType.DOUBLE: _decimal,
    DataType.CURRENCY: _decimal,
    DataType.PERCENT: _decimal,
    DataType.BOOLEAN: _truth,
    DataType.LOOKUP: _link,
    DataType.OWNER: _link,
}


def from_csv(field: Field, text: str) -> object:
    """A cell's value; empty is null. What can't be read stays text, and the field's check refuses it."""
    if not text:
        return None
    read = _READ.get(field.type)
    return text if read is None else read(text)
