"""Does the source still have what the feeds are made of? Asked now and then, and before a start.

Row values are never taken from the stream, so most of what is done to a table's columns doesn't matter here. What does:
a watched table that is gone, a key column that is gone, isn't published or isn't part of the replica identity, and a
view that is gone or has lost a column that steers delivery.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection

from cdc.errors import ProfileError
from cdc.routing.feeds import Feed, Profile, Watch, qualified
from cdc.routing.router import Route, build_routes
from cdc.source.identity import read_table
from cdc.source.publication import Published, read_publication
from cdc.state.broken import Broken
from cdc.state.truth import Truth
from sinks.reasons import Reason

Columns = frozenset[str]


async def find_broken(conn: AsyncConnection[Any], profile: Profile, publication: str) -> dict[str, Broken]:
    """Say which feeds are broken, and the first reason for each.

    Args:
        conn: to the source.
        profile: all feeds.
        publication: its name.
    """
    routes = build_routes(profile)
    columns = await _columns(conn, routes)
    carried = await read_publication(conn, publication)
    published = {} if carried is None else carried.tables
    broken: dict[str, Broken] = {}
    for table, route in routes.items():
        for name, words in (await _deaf(conn, route, columns.get(table), published.get(table))).items():
            broken.setdefault(name, Broken(Reason.KEY_NOT_CAPTURED, words))
    for feed in profile.feeds.values():
        try:
            await Truth.open(conn, feed)
        except ProfileError as error:
            broken[feed.name] = Broken(Reason.VIEW_UNREADABLE, error.message.partition(": ")[2])
    return broken


async def _deaf(
    conn: AsyncConnection[Any], route: Route, columns: Columns | None, published: Published | None
) -> dict[str, str]:
    feeds = {target.feed: route.columns[target.position] for target in reversed(route.targets)}
    if columns is None:
        return dict.fromkeys(feeds, f"table {route.table} doesn't exist")
    if published is None:
        return dict.fromkeys(feeds, f"{route.table} isn't published")
    try:
        table = await read_table(conn, route)
    except ProfileError as error:
        return dict.fromkeys(feeds, error.message)
    deaf = {}
    for target in route.targets:
        column = route.columns[target.position]
        if column not in columns:
            deaf[target.feed] = f"{route.table} has no column {column}"
        elif published.columns is not None and column not in published.columns:
            deaf[target.feed] = f"{route.table} is published without {column}"
        elif table.identity != "f" and (table.identity == "n" or column not in table.identity_columns):
            deaf[target.feed] = f"the replica identity of {route.table} lacks {column}"
    return deaf


async def _columns(conn: AsyncConnection[Any], routes: Mapping[str, Route]) -> dict[str, Columns]:
    """Give the columns of the watched tables that exist."""
    cursor = await conn.execute(
        """
        select w.name, array(select a.attname::text from pg_attribute a
                             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
        from unnest(%s::text[]) as w (name) join pg_class c on c.oid = to_regclass(w.name)
        where c.relkind in ('r', 'p')
        """,
        [list(routes)],
    )
    return {name: frozenset(columns) for name, columns in await cursor.fetchall()}


async def without_missing(conn: AsyncConnection[Any], profile: Profile) -> Profile:
    """Give the profile without watches of tables and key columns that don't exist, or that can't be followed.

    A profile of which nothing would be left is given as it is, so that preflight says what is wrong.
    """
    routes = build_routes(profile)
    columns = await _columns(conn, routes)
    for table in list(columns):
        try:
            await read_table(conn, routes[table])
        except ProfileError:
            del columns[table]
    feeds = {name: feed.model_copy(update={"watch": _existing(feed, columns)}) for name, feed in profile.feeds.items()}
    return profile.model_copy(update={"feeds": feeds}) if any(f.watch for f in feeds.values()) else profile


def _existing(feed: Feed, columns: Mapping[str, Columns]) -> dict[str, Watch]:
    watches = {}
    for table, watch in feed.watch.items():
        keys = tuple(key for key in watch.keys if key in columns.get(qualified(table), frozenset()))
        if keys:
            watches[table] = watch.model_copy(update={"key": keys})
    return watches
