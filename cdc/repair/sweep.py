"""Compare whole views with the ledger, and mark what differs.

This is the answer to everything that no change announced: the first backfill, a gap in the stream, a new mapping, a
child who turned thirteen overnight. It reads two ordered lists of hashes side by side, so it needs no memory, moves
no row values and costs no credit; equal records are not even marked. It works as well when view and ledger are in two
databases.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, sql

from cdc.errors import ProfileError
from cdc.routing.feeds import Feed, Lane, Profile
from cdc.state.backlog import marking
from cdc.state.doubt import enter_as_sending
from cdc.state.ledger import Intent
from cdc.state.outbox import Mark, mark, mark_overlooked
from cdc.state.truth import row_hash_sql, view_identifier
from sinks.reasons import Reason

_FETCH: Final = 5_000
_MARK: Final = 2_000


@dataclass(frozen=True, slots=True)
class _Row:
    """One record on one side of the comparison."""

    record_id: str
    key: str
    row_hash: bytes | None
    parent_id: str | None = None
    settled: bool = True


@dataclass(slots=True)
class Sweep:
    """What a sweep of one feed found.

    Attributes:
        compared: records in the view or the ledger.
        missing: in the view and not in the ledger.
        changed: in both, and different.
        gone: in the ledger, and in the view no longer.
        overlooked: records that differ and were not waiting in the outbox already; None if that wasn't asked for.
        keys: the keys to mark, in order, each once; emptied as they are marked.
        unknown: records that the ledger doesn't have, where it may be older than the CRM; emptied with the keys.
    """

    feed: str
    compared: int = 0
    missing: int = 0
    changed: int = 0
    gone: int = 0
    overlooked: int | None = None
    keys: dict[str, None] = field(default_factory=dict, repr=False)
    unknown: list[Intent] = field(default_factory=list, repr=False)

    @property
    def marked(self) -> int:
        """How many records differ, or, where those that wait already were left alone, how many were marked."""
        return self.missing + self.changed + self.gone if self.overlooked is None else self.overlooked

    @property
    def differences(self) -> dict[str, int]:
        """How many records differ, by kind."""
        return {"missing": self.missing, "changed": self.changed, "gone": self.gone}


async def sweep_feed(
    source: AsyncConnection[Any],
    state: AsyncConnection[Any],
    feed: Feed,
    hash_key: bytes,
    *,
    forced: bool = False,
    with_parked: bool = False,
    overlooked_only: bool = False,
    doubtful: bool = False,
    dry_run: bool = False,
) -> Sweep:
    """Compare one feed's view with the ledger and mark what differs, in the lane `bulk`.

    A parked key stays parked: it failed on the data that it still has.

    Args:
        source: a connection to the source, in UTC, outside any transaction.
        state: another connection, to the state, outside any transaction.
        feed: whose view it is.
        hash_key: the key of the ledger's row hashes.
        forced: mark every record, and have it sent even if it is equal; parked ones too.
        with_parked: mark parked keys that differ as well, since their data may have changed unheard. What the breaker
            holds stays held, and what a person rejected stays as it is.
        overlooked_only: leave alone what waits in the outbox already, so that a sweep every minute neither hurries
            what gathers nor starts a retry's count again.
        doubtful: the CRM may hold more than the ledger says. What the ledger doesn't know is entered as `sending`, so
            that it is looked for before it is made; everything else is sent again, as if `forced`.
        dry_run: only count.

    Raises:
        ProfileError: if the view can't be read; nothing is marked then.
    """
    found = Sweep(feed.name)
    cause = "sweep by force" if forced else "sweep after a gap" if with_parked else "sweep"
    since = datetime.now(UTC)
    forced = forced or doubtful
    parked = frozenset() if forced else await _parked_keys(state, feed, held_only=with_parked)
    async with source.transaction(), state.transaction():
        for conn in (source, state):  # one side waits for the other, for as long as a view takes
            await conn.execute("set local idle_in_transaction_session_timeout = 0")
        async for truth, entry in _side_by_side(_view_rows(source, feed, hash_key), _ledger_rows(state, feed)):
            found.compared += 1
            if (_differs(found, feed, truth, entry) or (forced and truth is not None)) and not dry_run:
                found.keys[(truth or entry).key] = None  # type: ignore[union-attr]  # one of them is there
            if doubtful and truth is not None and entry is None and (feed.needs is None or truth.parent_id is not None):
                found.unknown.append(Intent(record_id=truth.record_id, key=truth.key, parent_id=truth.parent_id))
    if not dry_run:
        for start in range(0, len(found.unknown), _MARK):
            await enter_as_sending(state, feed.name, found.unknown[start : start + _MARK])
        keys = [key for key in found.keys if key not in parked]
        async with marking(state, feed.name):
            for start in range(0, len(keys), _MARK):
                marks = [
                    Mark(feed=feed.name, key=key, lane=Lane.BULK, dirty_at=since, forced=forced)
                    for key in keys[start : start + _MARK]
                ]
                if overlooked_only:
                    found.overlooked = (found.overlooked or 0) + await mark_overlooked(state, marks)
                else:
                    await mark(state, marks, cause=cause)
    if overlooked_only and found.overlooked is None:
        found.overlooked = 0
    found.keys.clear()
    found.unknown.clear()
    return found


def _differs(found: Sweep, feed: Feed, truth: _Row | None, entry: _Row | None) -> bool:
    """Count a difference that delivery would act on."""
    if truth is None:
        gone = entry is not None and feed.gone == "delete"
        found.gone += gone
        return gone
    if entry is None:
        found.missing += 1
        return True
    # An event is delivered once; what the view says of it afterwards doesn't matter.
    changed = not entry.settled or (feed.once is None and truth.row_hash != entry.row_hash)
    found.changed += changed
    return changed


async def _parked_keys(conn: AsyncConnection[Any], feed: Feed, *, held_only: bool) -> frozenset[str]:
    cursor = await conn.execute(
        "select key from cdc.outbox where feed = %s and parked_at is not null and (not %s or reason = any(%s))",
        [feed.name, held_only, [Reason.HELD_BY_BREAKER.name, Reason.REJECTED.name]],
    )
    return frozenset(row[0] for row in await cursor.fetchall())


async def _view_rows(conn: AsyncConnection[Any], feed: Feed, hash_key: bytes) -> AsyncIterator[_Row]:
    query = sql.SQL(
        'select {record}::text collate "C", {key}::text, {row_hash}, {parent}::text from {view} as v order by 1'
    ).format(
        parent=sql.SQL("null") if feed.parent is None else sql.Identifier("v", feed.parent),
        record=sql.Identifier("v", feed.once or feed.key),
        key=sql.Identifier("v", feed.key),
        row_hash=row_hash_sql("v"),
        view=view_identifier(feed),
    )
    async with conn.cursor("cdc_sweep_view") as cursor:
        try:
            await cursor.execute(query, {"hash_key": hash_key})
            while rows := await cursor.fetchmany(_FETCH):
                for row in rows:
                    yield _Row(*row)
        except (psycopg.DataError, psycopg.ProgrammingError) as error:
            # The server's words may hold a row's value.
            raise ProfileError(
                f"feed {feed.name}: view {feed.view} can't be read: {type(error).__name__}",
                fix=Reason.VIEW_UNREADABLE.hint,
            ) from None


async def _ledger_rows(conn: AsyncConnection[Any], feed: Feed) -> AsyncIterator[_Row]:
    async with conn.cursor("cdc_sweep_ledger") as cursor:
        await cursor.execute(
            """
            select record_id collate "C", key, row_hash, state = 'sent' and (parent_id is not null or not %s)
            from cdc.ledger where feed = %s and state <> 'withdrawn' order by 1
            """,
            [feed.needs is not None, feed.name],  # a record whose parent is gone is owed another one
        )
        while rows := await cursor.fetchmany(_FETCH):
            for record_id, key, row_hash, settled in rows:
                yield _Row(record_id, key, row_hash, settled=settled)


async def _side_by_side(
    left: AsyncIterator[_Row], right: AsyncIterator[_Row]
) -> AsyncIterator[tuple[_Row | None, _Row | None]]:
    """Pair two lists that are ordered by record id."""
    a, b = await anext(left, None), await anext(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.record_id < b.record_id):
            yield a, None
            a = await anext(left, None)
        elif a is None or b.record_id < a.record_id:
            yield None, b
            b = await anext(right, None)
        else:
            yield a, b
            a, b = await anext(left, None), await anext(right, None)


async def sweep_all(
    source: AsyncConnection[Any],
    state: AsyncConnection[Any],
    profile: Profile,
    hash_key: bytes,
    *,
    forced: bool = False,
    with_parked: bool = False,
    overlooked_only: bool = False,
    doubtful: bool = False,
    dry_run: bool = False,
    unreadable: dict[str, ProfileError] | None = None,
) -> list[Sweep]:
    """Sweep every feed of a profile, as `sweep_feed` does; what others need comes first.

    With `unreadable`, a feed whose view can't be read is put there, and the others are swept all the same.
    """
    options = {
        "forced": forced, "with_parked": with_parked, "overlooked_only": overlooked_only, "doubtful": doubtful,
        "dry_run": dry_run,
    }  # fmt: skip
    feeds = sorted(profile.feeds.values(), key=lambda feed: feed.needs is not None)
    sweeps = []
    for feed in feeds:
        try:
            sweeps.append(await sweep_feed(source, state, feed, hash_key, **options))
        except ProfileError as error:
            if unreadable is None:
                raise
            unreadable[feed.name] = error
    return sweeps
