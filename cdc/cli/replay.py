"""`cdc replay`: mark what was touched in a stretch of the journal, so that it is read, compared and sent again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from psycopg import AsyncConnection
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cdc.cli.audit import describe, note
from cdc.cli.replay_wording import cost_of_replay, outcome_of_replay
from cdc.cli.start import EXIT_DEGRADED, begin, ledger_key, open_databases, run_until_signalled
from cdc.errors import ConfigError
from cdc.repair.bounds import Bounds, parse_bounds
from cdc.repair.replay import Window
from cdc.routing.feeds import Profile
from cdc.routing.keys import Unwatched
from cdc.runtime import replaying
from cdc.runtime.rehearsal import Rehearsal, rehearse
from cdc.runtime.replaying import Request
from cdc.settings import Settings
from cdc.state.replays import Replay


def replay(
    from_lsn: Annotated[str | None, typer.Option("--from-lsn", help="First commit, as 0/16B3748.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="ISO time (UTC without a zone), or an age: 6h.")] = None,
    to_lsn: Annotated[
        str | None, typer.Option("--to-lsn", help="Last commit; all that is captured if left out.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="The same as a time or an age.")] = None,
    feed: Annotated[list[str] | None, typer.Option("--feed", help="Only this feed; may be given again.")] = None,
    key: Annotated[list[str] | None, typer.Option("--key", help="Only this key; may be given again.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Send even what the ledger calls equal.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would differ and what it costs.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until all of it is delivered; 3 if some is parked.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the replay that was broken off.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Mark dirty what changed in a stretch of the journal. The truth is read when it is sent: nothing old comes."""
    settings, profile = begin()
    window_given = any(option is not None for option in (from_lsn, since, to_lsn, until))
    if resume and (window_given or feed or key or force or dry_run):
        raise ConfigError("--resume goes on as it was asked for", fix="leave the other options out")
    if dry_run and wait:
        raise ConfigError("--dry-run marks nothing, so there is nothing to wait for", fix="leave one of the two out")
    bounds = None
    if not resume:
        bounds = parse_bounds(from_lsn=from_lsn, since=since, to_lsn=to_lsn, until=until, now=datetime.now(UTC))
    request = Request(
        feeds=sorted(set(feed)) if feed else sorted(profile.feeds), keys=frozenset(key) if key else None, forced=force
    )
    replaying.retracer_for(profile, request)
    command = _Replay(settings, profile, as_json)
    if dry_run and bounds is not None:
        run_until_signalled(lambda stop: command.rehearse(bounds, request, stop))
    run_until_signalled(lambda stop: command.run(bounds, request, stop, wait=wait))


class _Replay:
    """One `cdc replay`."""

    def __init__(self, settings: Settings, profile: Profile, as_json: bool) -> None:
        self._settings = settings
        self._profile = profile
        self._as_json = as_json
        self._talk = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

    async def rehearse(self, bounds: Bounds, request: Request, stop: asyncio.Event) -> int:
        async with open_databases(self._settings) as (source, state):
            window = await replaying.ask_window(source, state, self._settings.cdc_slot, bounds)
            hash_key = await ledger_key(self._settings, state)
            self._say_window(window)
            with self._bar("reading the journal", window.changes) as advance:
                work = rehearse(
                    source, state, self._profile, window, replaying.retracer_for(self._profile, request),
                    hash_key, forced=request.forced, show=advance,
                )  # fmt: skip
                found = await _unless(stop, work)
        self._print(_rehearsed(window, found), cost_of_replay(found))
        return 0

    async def run(self, bounds: Bounds | None, request: Request, stop: asyncio.Event, *, wait: bool) -> int:
        async with open_databases(self._settings) as (source, state):
            if bounds is None:
                record, window, request = await replaying.unfinished_replay(state, self._settings.cdc_slot)
            else:
                window = await replaying.ask_window(source, state, self._settings.cdc_slot, bounds)
                record = await replaying.begin_replay(state, window, request)
            action = "replay.resume" if bounds is None else "replay.start"
            await note(state, action, _described(window, request), count=window.changes)
            self._say_window(window)
            done = await self._mark(state, record, window, request, stop)
            if wait and done.is_finished:
                await self._wait(state, record, done, stop)
        self._print(_marked(record, window, done), outcome_of_replay(done))
        return EXIT_DEGRADED if done.failed or not done.is_finished or done.left else 0

    async def _mark(
        self, state: AsyncConnection[Any], record: Replay, window: Window, request: Request, stop: asyncio.Event
    ) -> replaying.Progress:
        retracer = replaying.retracer_for(self._profile, request)
        with self._bar("reading the journal", window.changes) as advance:
            return await replaying.run_replay(state, record, window, retracer, stop, lambda now: advance(now.read))

    async def _wait(
        self, state: AsyncConnection[Any], record: Replay, done: replaying.Progress, stop: asyncio.Event
    ) -> None:
        if not await replaying.is_anybody_delivering(state):
            self._say("nobody delivers at present: start `cdc run` or `cdc worker`; Ctrl-C ends the waiting alone")
        with self._bar("delivering", done.marked) as advance:
            await replaying.wait_for_delivery(
                state, record, done, stop, lambda now: advance(max(0, done.marked - (now.left or 0)))
            )

    def _say(self, line: str) -> None:
        self._talk.print(f"cdc: {line}")

    def _say_window(self, window: Window) -> None:
        self._say(f"from {window.from_lsn} to {window.to_lsn}: {window.changes:,} changes in the journal")

    @contextmanager
    def _bar(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a progress bar on a terminal, for the length of the block; nothing elsewhere."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._talk, transient=True, disable=not self._talk.is_terminal) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)

    def _print(self, as_json: dict[str, Any], lines: list[str]) -> None:
        if self._as_json:
            typer.echo(json.dumps(as_json, indent=2))
            return
        for line in lines:
            typer.echo(line)


async def _unless(stop: asyncio.Event, work: Any) -> Rehearsal:
    """Do it, or be cancelled by a stop: there is nothing to be brought to an end in good order."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not task.done():
        task.cancel()
    found: Rehearsal = await task
    return found


def _described(window: Window, request: Request) -> str:
    keys = None if request.keys is None else sorted(request.keys)
    criteria = describe(keys, feeds=", ".join(request.feeds))
    return f"{window.from_lsn} to {window.to_lsn}, {criteria}" + (", sent even if equal" if request.forced else "")


def _window_json(window: Window) -> dict[str, Any]:
    return {"from_lsn": str(window.from_lsn), "to_lsn": str(window.to_lsn)}


def _unwatched(found: Iterable[Unwatched]) -> list[dict[str, str]]:
    return [asdict(entry) for entry in found]


def _rehearsed(window: Window, found: Rehearsal) -> dict[str, Any]:
    names = (
        "records",
        "compared",
        "creates",
        "updates",
        "withdrawals",
        "equal",
        "waiting",
        "refused",
        "calls",
        "credits",
    )
    return {
        **_window_json(window),
        "dry_run": True,
        "changes": found.changes,
        "feeds": {
            f.feed: {**{name: getattr(f, name) for name in names}, "fields": dict(f.fields.most_common())}
            for f in found.feeds
        },
        "unwatched": _unwatched(found.unwatched),
        "credits": sum(f.credits for f in found.feeds),
        "seconds": round(found.seconds, 1),
        "call_seconds": round(found.call_seconds, 3),
        "call_seconds_measured": found.is_measured,
    }


def _marked(record: Replay, window: Window, done: replaying.Progress) -> dict[str, Any]:
    return {
        **_window_json(window),
        "dry_run": False,
        "replay": record.id,
        "finished": done.is_finished,
        "changes": done.read,
        "marked": done.marked,
        "left_parked": done.parked,
        "feeds": done.by_feed,
        "unwatched": _unwatched(done.unwatched),
        "undelivered": done.left,
        "parked": done.failed,
    }
