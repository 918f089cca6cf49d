"""From a row as JSON to dirty keys: what Realtime, database webhooks and the app's own webhooks have in common.

Only key columns are looked at. No value is ever taken from an event: numbers may have gone through a float, large
values may be missing, and the row may have changed since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from cdc.routing.feeds import Doorbell, Lane
from cdc.routing.router import Route

Row = Mapping[str, Any]
Key = tuple[str, str]
"""Feed and key."""


@dataclass(slots=True)
class Ring:
    """What an event makes dirty.

    Attributes:
        keys: each with the most urgent lane that it was touched in.
        is_whole: False when a key column wasn't there, so that there may be more keys than these.
    """

    keys: dict[Key, Lane] = field(default_factory=dict)
    is_whole: bool = True

    def add(self, key: Key, lane: Lane) -> None:
        """Note a key; of two lanes the more urgent one counts."""
        known = self.keys.get(key)
        if known is None or lane.patience < known.patience:
            self.keys[key] = lane


_IMAGES: Final[Mapping[str, tuple[bool, bool]]] = {
    # kind: (the new row belongs to it, the old row belongs to it)
    "INSERT": (True, False),
    "UPDATE": (True, True),
    "DELETE": (False, True),
}
KINDS: Final = frozenset(_IMAGES)


def ring_of(route: Route, kind: str, record: Row | None, old_record: Row | None) -> Ring:
    """Find the keys that a change of a row touches.

    An update needs the old row too: the owner may have changed, and then two records are out of date.

    Args:
        route: of the row's table.
        kind: INSERT, UPDATE or DELETE.
        record: the new row, if any.
        old_record: the old row, or as much of it as the table's replica identity holds.
    """
    ring = Ring()
    for row, belongs in zip((record, old_record), _IMAGES[kind], strict=True):
        if belongs:
            _add_row(ring, route, row or {})
    return ring


def ring_of_hint(route: Route, doorbell: Doorbell, payload: Row) -> Ring:
    """Find the keys that a webhook of the application names.

    Args:
        route: of the doorbell's table.
        doorbell: which fields hold which columns.
        payload: as it was sent; fields that the doorbell doesn't know are ignored.
    """
    ring = Ring()
    for name, column in doorbell.fields.items():
        value = payload.get(name)
        if value is None:
            continue
        text = key_text(value)
        if text is None:
            ring.is_whole = False
            continue
        for target in route.targets:
            if route.columns[target.position] == column:
                ring.add((target.feed, text), target.lane)
    return ring


def _add_row(ring: Ring, route: Route, row: Row) -> None:
    for target in route.targets:
        column = route.columns[target.position]
        if column not in row:
            ring.is_whole = False
            continue
        value = row[column]
        if value is None:
            continue
        text = key_text(value)
        if text is None:
            ring.is_whole = False
        else:
            ring.add((target.feed, text), target.lane)


def key_text(value: object) -> str | None:
    """Write a JSON value as Postgres writes the column; None for what can't be a key.

    A float is refused: it may not be the number that the column holds. NUL and lone surrogates are no text in Postgres.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int() | Decimal():
            return f"{value:f}" if isinstance(value, Decimal) else str(value)
        case str() if "\0" not in value and not any(_surrogates(value)):
            return value
        case _:
            return None


def _surrogates(text: str) -> Iterator[bool]:
    return ("\ud800" <= character <= "\udfff" for character in text)
