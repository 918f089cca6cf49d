"""`cdc backfill`: send everything that differs, priced beforehand and shown on its way."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from cdc.cli.audit import note
from cdc.cli.progress import follow, job_line
from cdc.cli.start import EXIT_DEGRADED, begin, ledger_key, open_databases, run_unless_interrupted, who
from cdc.cli.wording import duration
from cdc.errors import ConfigError
from cdc.repair.sweep import sweep_feed
from cdc.routing.feeds import Profile
from cdc.runtime.backfill import BackfillStatus, Estimate, estimate, read_backfill
from cdc.settings import Settings
from cdc.state import pauses
from cdc.state.control import BULK_SCOPE

_START = "start"


class _FeedOrCommand(TyperGroup):
    """Lets `start` be left out: `cdc backfill contacts` is `cdc backfill start contacts`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `start` in front of anything that is no command."""
        if not args or not (args[0] in self.commands or args[0] in ctx.help_option_names):
            args = [_START, *args]
        return super().parse_args(ctx, args)


_WIDE = 100  # columns that the estimate takes

app = typer.Typer(
    cls=_FeedOrCommand,
    help="Send everything that differs: priced beforehand, by Bulk Write where that is cheaper. "
    "`cdc backfill [FEED]` is short for `cdc backfill start [FEED]`.",
    rich_markup_mode=None,
)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@app.command(_START)
def start(
    feed: Annotated[str | None, typer.Argument(help="One feed; all of them if left out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would cost.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare, say what it costs, mark what differs, and show how it goes until all is delivered.

    Ctrl-C ends the showing and not the work, which is that of `cdc run` and `cdc worker`. Exits with 3 when something
    is parked.
    """
    settings, profile = begin()
    feeds = _chosen(profile, feed)
    found = asyncio.run(_estimate(settings, profile, feeds))
    if as_json and dry_run:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print_estimate(found)
    if dry_run or not found.records:
        return
    _ask(found, yes=yes)
    last = run_unless_interrupted(_start(settings, profile, feeds, found.records))
    if last is None:
        typer.echo("the work goes on in `cdc run`; see `cdc backfill status`", err=True)
        return
    if as_json:
        typer.echo(json.dumps(last.as_json(), indent=2))
    raise typer.Exit(EXIT_DEGRADED if last.parked else 0)


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Show what is still to be sent, the bulk jobs, and what holds them up."""
    settings, _ = begin()
    now = asyncio.run(_status(settings))
    if as_json:
        typer.echo(json.dumps(now.as_json(), indent=2))
    else:
        _print_status(now)


@app.command()
def pause() -> None:
    """Send nothing of the lane `bulk` until it is resumed. Live changes go on; a job that is under way ends."""
    settings, _ = begin()
    asyncio.run(_pause(settings))
    typer.echo("the lane bulk is paused; `cdc backfill resume` ends it")


@app.command()
def resume() -> None:
    """Let the lane `bulk` go on."""
    settings, _ = begin()
    was_paused = asyncio.run(_resume(settings))
    typer.echo("the lane bulk goes on" if was_paused else "the lane bulk was not paused")


def _chosen(profile: Profile, feed: str | None) -> list[str]:
    """Give the feeds to backfill; what others need comes first."""
    if feed is not None:
        profile.check_feeds([feed])
        return [feed]
    return sorted(profile.feeds, key=lambda name: profile.feeds[name].needs is not None)


async def _estimate(settings: Settings, profile: Profile, feeds: list[str]) -> Estimate:
    async with open_databases(settings) as (source, state):
        return await estimate(source, state, profile, settings, await ledger_key(settings, state), feeds)


async def _start(settings: Settings, profile: Profile, feeds: list[str], records: int) -> BackfillStatus:
    async with open_databases(settings) as (source, state):
        hash_key = await ledger_key(settings, state)
        await note(state, "backfill.start", f"feeds {', '.join(feeds)}", count=records)
        for name in feeds:
            await sweep_feed(source, state, profile.feeds[name], hash_key)
        return await follow(state, records)


def _ask(found: Estimate, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("a backfill spends credits, and there is nobody to ask", fix="add --yes, or --dry-run")
    typer.confirm(f"Spend up to {found.credits} credits?", abort=True, err=True)


def _print_estimate(found: Estimate) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("feed", "compared", "to send", "to withdraw", "credits", "by calls alone", "way"):
        table.add_column(heading, justify="left" if heading in {"feed", "way"} else "right")
    for feed in found.feeds:
        numbers = (feed.compared, feed.records, feed.gone, feed.split.credits, feed.split.credits_singly)
        table.add_row(feed.feed, *map(str, numbers), feed.way)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.width = max(console.width, _WIDE)
    console.print(table)
    console.print(
        f"{found.records} records, {found.credits} credits"
        + (f" instead of {found.credits_singly}" if found.credits < found.credits_singly else "")
        + f"; the lane bulk may spend {found.credits_left} now; about {duration(found.seconds)}"
    )
    if found.credits > found.credits_left:
        console.print("it waits for credits on its way; they come back within 24 hours of being spent")


async def _status(settings: Settings) -> BackfillStatus:
    async with open_databases(settings) as (_, state):
        return await read_backfill(state)


def _print_status(now: BackfillStatus) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table("feed", "waiting", "in flight", "retrying", "parked", box=None, pad_edge=False, header_style="bold")
    for name, feed in now.feeds.items():
        table.add_row(name, *map(str, (feed.waiting, feed.in_flight, feed.retrying, feed.parked)))
    console.print(table if now.feeds else "nothing waits in the lane bulk")
    for job in now.jobs:
        console.print(job_line(job, now.at))
    if now.is_paused:
        console.print("paused by hand: `cdc backfill resume` ends it")
    for scope, reason in now.pauses.items():
        console.print(f"{scope} is paused: {reason}")
    if now.left and not now.workers:
        console.print("nobody delivers: start `cdc run` or `cdc worker`")


async def _pause(settings: Settings) -> None:
    async with open_databases(settings) as (_, state), state.transaction():
        await pauses.pause(state, BULK_SCOPE, actor=who(), because="cdc backfill pause")
        await note(state, "backfill.pause", "lane bulk")


async def _resume(settings: Settings) -> bool:
    async with open_databases(settings) as (_, state), state.transaction():
        was_paused = bool(await pauses.resume(state, [BULK_SCOPE]))
        await note(state, "backfill.resume", "lane bulk", count=int(was_paused))
        return was_paused
