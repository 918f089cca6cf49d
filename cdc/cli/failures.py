"""`cdc failures`: what is parked, and what to do about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cdc.cli.audit import describe, note
from cdc.cli.start import EXIT_ERROR, begin, open_databases
from cdc.errors import ConfigError
from cdc.settings import Settings
from cdc.state import failures as parked
from cdc.state.failures import Failure, Selection
from sinks.reasons import Reason

app = typer.Typer(help="What is parked: list, show, retry, discard.", no_args_is_help=True, rich_markup_mode=None)

_WIDE = 160

FeedOption = Annotated[str | None, typer.Option("--feed", help="Only this feed.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only this reason.")]
KeysArgument = Annotated[list[str] | None, typer.Argument(help="Keys; all that match the options if left out.")]


@app.command("list")
def list_(
    feed: FeedOption = None,
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(help="Rows at most.", min=1)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list on stdout.")] = False,
) -> None:
    """List parked keys, newest first."""
    settings, _ = begin()
    found = asyncio.run(_list(settings, Selection(feed=feed, reason=_reason(reason)), limit))
    if as_json:
        typer.echo(json.dumps([_plain(failure) for failure in found], indent=2))
        return
    if not found:
        typer.echo("nothing is parked", err=True)
        return
    table = Table("feed", "key", "reason", "detail", "parked", box=None, pad_edge=False, header_style="bold")
    for failure in found:
        table.add_row(
            failure.feed, failure.key, failure.reason, failure.detail, failure.parked_at.isoformat(timespec="seconds")
        )
    console = Console()
    console.width = max(console.width, _WIDE)  # a key that is cut short can't be given to `show`
    console.print(table)
    if any(failure.reason == Reason.HELD_BY_BREAKER.name for failure in found):
        typer.echo("what the breaker holds is shown together by `cdc held`", err=True)


@app.command()
def show(
    feed: Annotated[str, typer.Argument(help="The feed.")], key: Annotated[str, typer.Argument(help="The key.")]
) -> None:
    """Say what one failure means and what to do about it."""
    settings, _ = begin()
    failure = asyncio.run(_show(settings, feed, key))
    if failure is None:
        typer.echo(f"{feed} {key} is not parked", err=True)
        raise typer.Exit(EXIT_ERROR)
    reason = Reason[failure.reason] if failure.reason in Reason.__members__ else None
    for name, value in {
        "feed": failure.feed,
        "key": failure.key,
        "reason": failure.reason,
        "meaning": reason.meaning if reason else "",
        "detail": failure.detail,
        "hint": reason.hint if reason else "",
        "attempts": str(failure.attempts),
        "parked at": failure.parked_at.isoformat(timespec="seconds"),
        "dirty since": failure.dirty_at.isoformat(timespec="seconds"),
        "changes": f"{failure.first_lsn or '-'} to {failure.last_lsn or '-'}",
    }.items():
        typer.echo(f"{name:<12} {value}")


@app.command()
def retry(keys: KeysArgument = None, feed: FeedOption = None, reason: ReasonOption = None) -> None:
    """Try parked keys again now. What the breaker holds is better looked at with `cdc held`; this approves it."""
    settings, _ = begin()
    count = asyncio.run(_retry(settings, _selection(keys, feed, reason)))
    typer.echo(f"{count} to be tried again")


@app.command()
def discard(
    because: Annotated[str, typer.Option("--because", help="Why; it is kept in the sync log.")],
    keys: KeysArgument = None,
    feed: FeedOption = None,
    reason: ReasonOption = None,
) -> None:
    """Dismiss parked keys: they are not tried again until their data changes."""
    settings, _ = begin()
    if not because.strip():
        raise ConfigError("--because is empty", fix="say why; it is all that is left of the failure")
    count = asyncio.run(_discard(settings, _selection(keys, feed, reason), because))
    typer.echo(f"{count} dismissed")


def _selection(keys: Sequence[str] | None, feed: str | None, reason: str | None) -> Selection:
    if not keys and feed is None and reason is None:
        raise ConfigError("say which ones", fix="give keys, --feed or --reason")
    return Selection(feed=feed, keys=keys or None, reason=_reason(reason))


def _reason(name: str | None) -> str | None:
    if name is not None and name not in Reason.__members__:
        raise ConfigError(f"no reason {name!r}", fix=f"one of: {', '.join(Reason.__members__)}")
    return name


def _plain(failure: Failure) -> dict[str, object]:
    return {k: v if isinstance(v, int | str) or v is None else str(v) for k, v in asdict(failure).items()}


async def _list(settings: Settings, selection: Selection, limit: int) -> list[Failure]:
    async with open_databases(settings) as (_, state):
        return await parked.failures(state, selection, limit=limit)


async def _show(settings: Settings, feed: str, key: str) -> Failure | None:
    async with open_databases(settings) as (_, state):
        return await parked.failure(state, feed, key)


async def _retry(settings: Settings, selection: Selection) -> int:
    async with open_databases(settings) as (_, state), state.transaction():
        count = await parked.retry(state, selection)
        await note(state, "failures.retry", _described(selection), count=count)
        return count


async def _discard(settings: Settings, selection: Selection, because: str) -> int:
    async with open_databases(settings) as (_, state), state.transaction():
        count = await parked.discard(state, selection, because)
        await note(state, "failures.discard", _described(selection), count=count, because=because)
        return count


def _described(selection: Selection) -> str:
    keys = None if selection.keys is None else list(selection.keys)
    return describe(keys, feed=selection.feed, reason=selection.reason)
