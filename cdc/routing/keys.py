"""From rows in the journal to keys of feeds, as the profile of today routes them.

The journal was written under the profile of its time. A table that no feed watches any more touches nothing; a feed
that needs a column which wasn't packed then can't be served from there, and that is said and never guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cdc.routing.router import Route
from cdc.wire.journal import JournalRelation
from cdc.wire.rows import compile_unpack


@dataclass(frozen=True, slots=True, order=True)
class Unwatched:
    """A table was captured before a feed watched it by this column."""

    feed: str
    table: str
    column: str


@dataclass(slots=True)
class Retracer:
    """Finds the keys of some feeds in packed rows; gives each once in its life.

    Attributes:
        routes: by qualified table name.
        feeds: whose keys are wanted.
        keys: which of them; None for all.
        truncated: feeds of which a table was emptied.
        unwatched: what the journal couldn't say.
        known: by feed, the keys given so far.
    """

    routes: Mapping[str, Route]
    feeds: Collection[str]
    keys: frozenset[str] | None = None
    truncated: set[str] = field(default_factory=set)
    unwatched: set[Unwatched] = field(default_factory=set)
    known: dict[str, set[str]] = field(default_factory=dict)

    def take(self, news: Iterable[tuple[JournalRelation, list[bytes], bool]]) -> list[tuple[str, str]]:
        """Take what `cdc.wire.touched.Touched.drain` gave; returns the (feed, key) that are new, in order.

        Raises:
            DecodeError: if a packed row isn't one.
        """
        found: list[tuple[str, str]] = []
        for relation, rows, is_truncated in news:
            positions = list(self._positions(relation))
            if is_truncated:
                self.truncated.update(feed for feed, _ in positions)
                self.truncated.update(u.feed for u in self.unwatched if u.table == relation.table)
            if positions and rows:
                found += self._keys(relation, rows, positions)
        return sorted(found)

    def new_of(self, feed: str, keys: Iterable[str]) -> list[tuple[str, str]]:
        """Give those of some keys of a feed that are wanted and weren't given before."""
        known = self.known.setdefault(feed, set())
        found = [key for key in keys if key not in known and (self.keys is None or key in self.keys)]
        known.update(found)
        return sorted((feed, key) for key in found)

    def _positions(self, relation: JournalRelation) -> Iterator[tuple[str, int]]:
        """Give each wanted feed that the table touches, with the place of its key in the packed row."""
        route = self.routes.get(relation.table)
        for target in route.targets if route is not None else ():
            if target.feed not in self.feeds or route is None:
                continue
            column = route.columns[target.position]
            if column in relation.columns:
                yield target.feed, relation.columns.index(column)
            else:
                self.unwatched.add(Unwatched(target.feed, relation.table, column))

    def _keys(
        self, relation: JournalRelation, rows: list[bytes], positions: list[tuple[str, int]]
    ) -> Iterator[tuple[str, str]]:
        unpack = compile_unpack(len(relation.columns))
        places = [(feed, position, self.known.setdefault(feed, set())) for feed, position in positions]
        for row in rows:
            values = unpack(row)
            for feed, position, known in places:
                key = values[position]
                if key is None or key in known or (self.keys is not None and key not in self.keys):
                    continue
                known.add(key)
                yield feed, key
