"""Do the views fit the CRM? Asked at start, before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection, sql

from cdc.errors import ProfileError
from cdc.routing.feeds import Feed, Profile
from cdc.runtime.connections import Connections
from cdc.state import control
from cdc.state.truth import view_identifier
from cdc.waiting import wait_at_most
from sinks.base import Column, Misfit, Sink
from sinks.errors import SinkError

log = structlog.get_logger()

_SCOPE: Final = "zoho"
_PAUSE_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)


async def wait_until_fit(
    connections: Connections, profile: Profile, sinks: Mapping[str, Sink], stop: asyncio.Event
) -> None:
    """Return once the views are known to fit, or when `stop` is set. While the CRM can't be asked, the pause says why.

    Raises:
        ProfileError: if a view doesn't fit.
    """
    failures = 0
    while not stop.is_set():
        pause = _PAUSE_SECONDS[min(failures, len(_PAUSE_SECONDS) - 1)]
        try:
            refusal = await _ask(connections, profile, sinks)
            async with connections.state.connection() as conn:
                if refusal is None:
                    if failures:
                        await control.lift_start_pause(conn, _SCOPE)
                    return
                await control.pause_at_start(conn, _SCOPE, pause, refusal.reason.name, refusal.detail)
            failures += 1
        except psycopg.Error as error:
            log.warning("database_unavailable", error=type(error).__name__)
        await wait_at_most(stop, pause)


async def _ask(connections: Connections, profile: Profile, sinks: Mapping[str, Sink]) -> SinkError | None:
    """Hold the views against the CRM; gives why it couldn't be asked, if so."""
    try:
        async with connections.source.connection() as conn:
            await fit_views(conn, profile, sinks)
    except SinkError as error:
        log.warning("crm_unavailable", reason=error.reason.name, hint=error.reason.hint, detail=error.detail)
        return error
    return None


async def fit_views(conn: AsyncConnection[Any], profile: Profile, sinks: Mapping[str, Sink]) -> None:
    """Hold every view against its module's fields.

    Raises:
        ProfileError: naming file, feed and column, for the first thing that doesn't fit, and how many more there are.
        SinkError: if the CRM can't be asked now.
    """
    misfits: list[tuple[Feed, Misfit]] = []
    for feed in profile.feeds.values():
        try:
            columns = await read_columns(conn, feed)
        except ProfileError as error:  # set-up makes the views; one that is gone since breaks its own feed only
            log.warning("view_gone", feed=feed.name, error=error.message, hint=error.fix)
            continue
        misfits += [(feed, misfit) for misfit in await sinks[feed.name].fit(columns)]
    if misfits:
        feed, first = misfits[0]
        more = f" (and {len(misfits) - 1} more)" if len(misfits) > 1 else ""
        raise ProfileError(
            f"{profile.folder / 'views.sql'}: feed {feed.name}, column {first.column}: "
            f"{first.reason.meaning} {first.detail}{more}",
            fix=first.reason.hint,
        )


async def read_columns(conn: AsyncConnection[Any], feed: Feed) -> list[Column]:
    """List the columns of a feed's view that are sent to the CRM, with the values that go into picklists."""
    rows = await (
        await conn.execute(
            "select attname::text, format_type(atttypid, null) from pg_attribute "
            "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
            [view_identifier(feed).as_string(conn)],
        )
    ).fetchall()
    if not rows:
        raise ProfileError(f"feed {feed.name}: view {feed.view} does not exist", fix="run `cdc setup`")
    return [
        Column(name=name, type=type_name, values=await _values(conn, feed, name))
        for name, type_name in rows
        if name not in feed.own_columns and name not in feed.theirs
    ]


async def _values(conn: AsyncConnection[Any], feed: Feed, column: str) -> frozenset[str] | None:
    field = feed.fields.get(column)
    if field is None or field.type != "picklist":
        return None
    query = sql.SQL("select distinct v.{column}::text from {view} as v where v.{column} is not null").format(
        column=sql.Identifier(column), view=view_identifier(feed)
    )
    try:
        return frozenset(row[0] for row in await (await conn.execute(query)).fetchall())
    except psycopg.DataError as error:
        # One row that makes the view fail is no reason to stop the others; delivery finds it by itself.
        log.warning("picklist_unchecked", feed=feed.name, column=column, error=type(error).__name__)
        return None
