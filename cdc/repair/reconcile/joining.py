"""Puts the three sides of every record together: three lists ordered by record id, read side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, sql

from cdc.errors import ProfileError
from cdc.repair.reconcile.classify import Present, Sides
from cdc.repair.reconcile.staging import Staging
from cdc.routing.feeds import Feed
from cdc.state.ledger import entry_from_json
from cdc.state.records import LedgerEntry
from cdc.state.truth import view_identifier
from sinks.reasons import Reason
from sinks.scan import Scanned

_FETCH: Final = 1_000


async def view_rows(conn: AsyncConnection[Any], feed: Feed) -> AsyncIterator[tuple[str, Present]]:
    """Give every row of a view, fields that are theirs included, ordered by record id.

    Args:
        conn: to the source, in UTC and in a transaction.
        feed: whose view.

    Raises:
        ProfileError: if the view can't be read.
    """
    query = sql.SQL(
        'select {record}::text collate "C", {key}::text, {parent}::text, to_jsonb(v) - {own}::text[]'
        " from {view} as v where {record} is not null order by 1"
    ).format(
        record=sql.Identifier("v", feed.once or feed.key),
        key=sql.Identifier("v", feed.key),
        parent=sql.SQL("null") if feed.parent is None else sql.Identifier("v", feed.parent),
        own=sql.Literal(sorted(feed.own_columns)),
        view=view_identifier(feed),
    )
    async with conn.cursor("cdc_reconcile_view") as cursor:
        try:
            await cursor.execute(query)
            while rows := await cursor.fetchmany(_FETCH):
                for row in rows:
                    yield row[0], Present(*row)
        except (psycopg.DataError, psycopg.ProgrammingError) as error:
            # The server's words may hold a row's value.
            raise ProfileError(
                f"feed {feed.name}: view {feed.view} can't be read: {type(error).__name__}",
                fix=Reason.VIEW_UNREADABLE.hint,
            ) from None


async def ledger_rows(
    conn: AsyncConnection[Any], feed: Feed, since: object
) -> AsyncIterator[tuple[str, tuple[LedgerEntry, bool]]]:
    """Give every entry of a feed, and whether it was written since, ordered by record id."""
    async with conn.cursor("cdc_reconcile_ledger") as cursor:
        await cursor.execute(
            'select to_jsonb(g), g.delivered_at >= %s from cdc.ledger g where feed = %s order by record_id collate "C"',
            [since, feed.name],
        )
        while rows := await cursor.fetchmany(_FETCH):
            for entry, is_recent in rows:
                yield entry["record_id"], (entry_from_json(entry), bool(is_recent))


async def join_sides(
    source: AsyncConnection[Any], state: AsyncConnection[Any], staging: Staging, feed: Feed, since: object
) -> AsyncIterator[Sides]:
    """Give every record that any of the three knows, once.

    Args:
        source: in UTC, in a transaction.
        state: in a transaction, and the one that holds the staged scan.
        staging: the scan.
        feed: whose.
        since: when the scan began, as the state's clock has it.
    """
    views, entries, scans = view_rows(source, feed), ledger_rows(state, feed, since), staging.by_record()
    row, entry, scan = await anext(views, None), await anext(entries, None), await anext(scans, None)
    while True:
        heads = [head[0] for head in (row, entry, scan) if head is not None]
        if not heads:
            return
        record_id = min(heads)  # by code points, which is the order of the collation "C"
        present: Present | None = None
        known: tuple[LedgerEntry, bool] | None = None
        found: list[Scanned] = []
        if row is not None and row[0] == record_id:
            present, row = row[1], await anext(views, None)
            while row is not None and row[0] == record_id:  # a view that gives a row twice: delivery refuses it
                row = await anext(views, None)
        if entry is not None and entry[0] == record_id:
            known, entry = entry[1], await anext(entries, None)
        if scan is not None and scan[0] == record_id:
            found, scan = scan[1], await anext(scans, None)
        yield Sides(
            record_id=record_id,
            row=present,
            entry=None if known is None else known[0],
            found=found,
            was_just_delivered=known is not None and known[1],
        )
