"""A replay from the question to the end: the window, the marks, and the wait for their delivery."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg import AsyncConnection

from cdc.errors import ConfigError
from cdc.lsn import Lsn
from cdc.repair.bounds import Bounds
from cdc.repair.replay import Window, find_window, mark_keys, read_window
from cdc.routing.feeds import Profile
from cdc.routing.keys import Retracer, Unwatched
from cdc.routing.router import build_routes
from cdc.source.slots import read_current_lsn
from cdc.state import journal, replays
from cdc.state.doorbell import refuse_without_journal
from cdc.state.journal import Span
from cdc.state.lineage import Lineage, read_lineage
from cdc.state.replays import NewReplay, Replay, Waiting
from cdc.waiting import wait_at_most

_LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asks for.

    Attributes:
        feeds: whose keys.
        keys: which of them; None for all.
        forced: have them sent even if the ledger calls them equal.
    """

    feeds: Sequence[str]
    keys: frozenset[str] | None = None
    forced: bool = False


@dataclass(slots=True)
class Progress:
    """How far a replay is.

    Attributes:
        total: changes in the window's chunks.
        read: of them so far.
        marked: keys marked so far.
        parked: keys that were left parked.
        left: marked keys that are still to be delivered; None before all are marked.
        failed: marked keys that were parked since.
        unwatched: what the journal couldn't say.
        is_finished: all is marked.
    """

    total: int
    read: int = 0
    marked: int = 0
    parked: int = 0
    left: int | None = None
    failed: int = 0
    unwatched: Collection[Unwatched] = ()
    is_finished: bool = False
    by_feed: dict[str, int] = field(default_factory=dict)


async def ask_window(source: AsyncConnection[Any], state: AsyncConnection[Any], slot: str, bounds: Bounds) -> Window:
    """Find the window that a person asks for.

    Raises:
        ConfigError: if the journal doesn't hold all of it, or is another cluster's than the source, or if there is none
            because changes are heard through Realtime.
    """
    await refuse_without_journal(state, slot)
    spans = await journal.spans(state, slot)
    if spans:
        await _check_cluster(source, spans[-1])
        current = await read_current_lsn(source)
        for bound in (bounds.lower, bounds.upper):
            if isinstance(bound, Lsn) and bound > current:
                raise ConfigError(
                    f"{bound} lies beyond the end of the server's WAL, {current}",
                    fix="`cdc journal` shows which LSNs there are",
                )
    return await find_window(state, slot, bounds)


async def _check_cluster(source: AsyncConnection[Any], span: Span) -> None:
    """LSNs of one cluster mean nothing in another, nor beyond a fork of its history."""
    if await read_lineage(source) != Lineage(span.system_id, span.timeline):
        raise ConfigError(
            "the database is not the one that the journal was captured from (upgraded, restored or failed over)",
            fix="start `cdc run`: it puts the gap on record and compares everything",
        )


def retracer_for(profile: Profile, request: Request) -> Retracer:
    """Make what finds the keys of a request.

    Raises:
        ConfigError: if the profile hasn't one of the feeds.
    """
    profile.check_feeds(sorted(request.feeds))
    return Retracer(build_routes(profile), frozenset(request.feeds), request.keys)


async def begin_replay(state: AsyncConnection[Any], window: Window, request: Request) -> Replay:
    """Put a replay on record, before anything is marked."""
    new = NewReplay(
        slot=window.slot,
        span=window.span,
        from_lsn=str(window.from_lsn),
        to_lsn=str(window.to_lsn),
        feeds=list(request.feeds),
        keys=None if request.keys is None else sorted(request.keys),
        forced=request.forced,
        to_chunk=window.last,
        cursor_chunk=window.after,
    )
    return await replays.begin(state, new, client=f"pid {os.getpid()} on {socket.gethostname()}")


async def unfinished_replay(state: AsyncConnection[Any], slot: str) -> tuple[Replay, Window, Request]:
    """Give the replay that was broken off, and what is left of its window.

    Raises:
        ConfigError: if there is none.
    """
    found = await replays.unfinished(state, slot)
    if found is None:
        raise ConfigError("no replay was broken off", fix="say from when: --from-lsn or --since")
    keys = None if found.keys is None else frozenset(found.keys)
    window = Window(
        slot=slot,
        span=found.span,
        from_lsn=Lsn.parse(found.from_lsn),
        to_lsn=Lsn.parse(found.to_lsn),
        after=found.cursor_chunk,
        last=found.to_chunk,
        changes=await journal.changes_between(state, slot, found.cursor_chunk, found.to_chunk),
    )
    return found, window, Request(feeds=found.feeds, keys=keys, forced=found.forced)


async def run_replay(
    state: AsyncConnection[Any],
    replay: Replay,
    window: Window,
    retracer: Retracer,
    stop: asyncio.Event,
    show: Callable[[Progress], None],
) -> Progress:
    """Mark a window's keys, batch by batch; broken off anywhere it goes on from its last batch.

    Args:
        state: in autocommit.
        replay: on record.
        window: what is left of it.
        retracer: finds the keys.
        stop: set to break it off after the batch that is under way.
        show: called after each batch.

    Raises:
        ConfigError: if another process is at this replay.
        StateError: if retention takes chunks away that were still to be read.
    """
    progress = Progress(total=window.changes)
    async with replays.held(state, replay.id) as is_ours:
        if not is_ours:
            raise ConfigError(f"another process is at replay {replay.id}", fix="wait for it")
        async for batch in read_window(state, window, retracer):
            done = await mark_keys(state, batch.keys, forced=replay.forced)
            await replays.advance(state, replay.id, cursor=batch.cursor, changes=batch.changes, marked=done.marked)
            progress.read += batch.changes
            progress.marked += done.marked
            progress.parked += done.parked
            progress.by_feed = {feed: len(keys) for feed, keys in sorted(retracer.known.items())}
            progress.unwatched = sorted(retracer.unwatched)
            show(progress)
            if stop.is_set() and batch.cursor < window.last:
                return progress
        await replays.finish(state, replay.id)
    progress.is_finished = True
    return progress


async def wait_for_delivery(
    state: AsyncConnection[Any],
    replay: Replay,
    progress: Progress,
    stop: asyncio.Event,
    show: Callable[[Progress], None],
) -> Progress:
    """Wait until what was marked is delivered or parked, or until `stop` is set."""
    newest = await replays.generation(state)
    while True:
        found: Waiting = await replays.waiting(state, replay, newest)
        progress.left, progress.failed = found.left, found.parked
        show(progress)
        if not found.left or stop.is_set():
            return progress
        await wait_at_most(stop, _LOOK_SECONDS)


async def is_anybody_delivering(state: AsyncConnection[Any]) -> bool:
    """Tell whether a process that delivers was heard of in the last half minute."""
    row = await (
        await state.execute("select exists (select from cdc.worker where seen_at > now() - interval '30 seconds')")
    ).fetchone()
    return row is not None and bool(row[0])
