"""Which keys of which feeds does a changed row touch?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdc.errors import ProfileError
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

    def positions_in(self, relation: Relation) -> tuple[int, ...]:
        """Find the route's columns in what the stream publishes.

        Raises:
            ProfileError: if one isn't there.
        """
        published = {column.name: position for position, column in enumerate(relation.columns)}
        missing = [column for column in self.columns if column not in published]
        if missing:
            feeds = ", ".join(sorted({target.feed for target in self.targets}))
            raise ProfileError(
                f"table {self.table} is published without column {missing[0]}, which feed {feeds} needs for its key",
                fix="run `cdc setup` to bring the publication in line with feeds.toml",
            )
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
