"""The profile's views in the source database: planned, and rehearsed before anything is changed."""

from __future__ import annotations

import hashlib
from typing import Any

from psycopg import AsyncConnection, errors, sql

from cdc.errors import ProfileError
from cdc.routing.feeds import Profile, qualified
from cdc.state.truth import Truth


async def plan_views(conn: AsyncConnection[Any], profile: Profile) -> str | None:
    """Give the SQL that makes the views; None if they are there as the profile has them.

    A comment on each view remembers which text it was made from.

    Raises:
        ProfileError: if there is no views.sql.
    """
    views = [qualified(feed.view) for feed in profile.feeds.values()]
    mark = _mark(profile)
    if all(found == mark for found in (await _marks(conn, profile)).values()):
        return None
    names = [sql.Identifier(*view.split(".")) for view in views]
    drops = [sql.SQL("drop view if exists {} cascade;").format(name).as_string(None) for name in reversed(names)]
    comments = [sql.SQL("comment on view {} is {};").format(name, sql.Literal(mark)).as_string(None) for name in names]
    return "\n".join((*drops, _text(profile), *comments))


async def views_were_lost(conn: AsyncConnection[Any], profile: Profile) -> bool:
    """Tell whether views are gone from the database, rather than changed in the profile.

    They are if some are missing and those that are there were made from the profile's present text.
    """
    found = await _marks(conn, profile)
    return None in found.values() and set(found.values()) <= {None, _mark(profile)}


def _mark(profile: Profile) -> str:
    return f"optio-cdc {profile.name} {views_hash(profile)}"


async def _marks(conn: AsyncConnection[Any], profile: Profile) -> dict[str, str | None]:
    """Give the comment of each view; None for one that isn't there, or that somebody else made."""
    views = [qualified(feed.view) for feed in profile.feeds.values()]
    rows = await (
        await conn.execute(
            "select v, obj_description(to_regclass(v), 'pg_class') from unnest(%s::text[]) as v", [views]
        )
    ).fetchall()
    return dict(rows)


async def rehearse_views(conn: AsyncConnection[Any], profile: Profile) -> None:
    """Make the views in a transaction that is rolled back, so that what doesn't fit is found before it does harm.

    Raises:
        ProfileError: naming file, line and the server's words; or the feed whose view lacks a column that steers it.
    """
    script = await plan_views(conn, profile)
    if script is None:
        return
    try:
        async with conn.transaction(force_rollback=True):
            await conn.execute("set local lock_timeout = '5s'")
            row = await (await conn.execute("select to_regnamespace('cdc') is null")).fetchone()
            if row is not None and row[0]:
                await conn.execute("create schema cdc")
            await conn.execute(script.encode())
            for feed in profile.feeds.values():
                await Truth.open(conn, feed)
    except errors.Error as error:
        line = _line(script, profile, error.diag.statement_position)
        words = error.diag.message_primary or type(error).__name__
        raise ProfileError(
            f"{profile.folder / 'views.sql'}{line}: {words}", fix="correct the view, or the profile in CDC_PROFILE"
        ) from None


def views_hash(profile: Profile) -> str:
    """Identify the text of a profile's views."""
    return hashlib.sha256(_text(profile).encode()).hexdigest()[:16]


def _text(profile: Profile) -> str:
    path = profile.folder / "views.sql"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProfileError(f"{path} does not exist", fix="a profile needs feeds.toml and views.sql") from None


def _line(script: str, profile: Profile, position: str | None) -> str:
    """Find the line of views.sql that the server means; it counts characters of the whole script."""
    if position is None:
        return ""
    within = int(position) - 1 - script.index(_text(profile))
    return f", line {_text(profile).count(chr(10), 0, within) + 1}" if within >= 0 else ""
