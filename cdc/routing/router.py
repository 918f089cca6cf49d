"""Which keys of which feeds does a changed row touch?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cdc.routing.feeds import Feed, Lane, Profile, qualified
from cdc.wire.messages import Relation


@dataclass(frozen=True, slots=True)
class Target:
    """A feed that a table's changes touch; `position` is where its key stands among the route's columns."""

    feed: str
    lane: Lane
    position: int


@dataclass(frozen=True, slots=True)
class Route:
    """What routing needs of a table.

    Attributes:
        table: qualified name.
        columns: the columns that hold keys, in the order in which they are packed.
        targets: what each of them is a key of.
    """

    table: str
    columns: tuple[str, ...]
    targets: tuple[Target, ...]

    def within(self, relation: Relation) -> tuple[Route, Mapping[str, str]]:
        """Fit the route to what the stream publishes of its table.

        Returns:
            The route with the columns that are there, and for each feed that needs more why it is deaf: its key column
            isn't published, or isn't part of the replica identity, so that deletes don't carry it.
        """
        published = {column.name for column in relation.columns}
        in_identity = published if relation.replica_identity == "f" else {c.name for c in relation.columns if c.is_key}
        deaf: dict[str, str] = {}
        for target in self.targets:
            column = self.columns[target.position]
            if column not in published:
                deaf[target.feed] = f"{self.table} is published without {column}"
            elif column not in in_identity:
                deaf.setdefault(target.feed, f"the replica identity of {self.table} lacks {column}")
        columns = tuple(column for column in self.columns if column in published)
        targets = tuple(
            replace(target, position=columns.index(self.columns[target.position]))
            for target in self.targets
            if self.columns[target.position] in published
        )
        return replace(self, columns=columns, targets=targets), deaf

    def positions_in(self, relation: Relation) -> tuple[int, ...]:
        """Give where the route's columns stand in what the stream publishes; they are all there."""
        published = {column.name: position for position, column in enumerate(relation.columns)}
        return tuple(published[column] for column in self.columns)


def build_routes(profile: Profile) -> Mapping[str, Route]:
    """Turn the feeds' watches round: from a table to what it touches."""
    watched: dict[str, list[tuple[Feed, str, Lane]]] = {}
    for feed in profile.feeds.values():
        for table, watch in feed.watch.items():
            watched.setdefault(qualified(table), []).extend((feed, key, Lane(watch.lane)) for key in watch.keys)
    return {table: _route(table, watches) for table, watches in sorted(watched.items())}


def _route(table: str, watches: Sequence[tuple[Feed, str, Lane]]) -> Route:
    columns = tuple(dict.fromkeys(key for _, key, _ in watches))
    targets = tuple(Target(feed.name, lane, columns.index(key)) for feed, key, lane in watches)
    return Route(table, columns, targets)
