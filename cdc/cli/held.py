"""`cdc held`: what the breaker holds, and a person's answer to it."""

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
from cdc.cli.start import EXIT_ERROR, begin, open_databases, who
from cdc.errors import ConfigError
from cdc.settings import Settings
from cdc.state import held
from cdc.state.held import HeldGroup, HeldKey, HeldSelection, Kind

app = typer.Typer(
    help="What the breaker holds: list, show, approve, reject.", invoke_without_command=True, rich_markup_mode=None
)

_SHOWN_FIELDS = 4

KindOption = Annotated[Kind | None, typer.Option("--kind", help="Only withdrawals, or only rewrites.")]
AsOfOption = Annotated[
    int | None, typer.Option("--as-of", help="Only what `cdc held` showed with this number; nothing that came later.")
]
FeedArgument = Annotated[str | None, typer.Argument(help="The feed; every feed if left out.")]
KeysArgument = Annotated[list[str] | None, typer.Argument(help="Keys; all that are held if left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="A JSON list on stdout.")]


@app.callback()
def held_(context: typer.Context) -> None:
    """List what the breaker holds; the same as `cdc held list`."""
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List what is held, by feed and kind: how many, since when, what marked it, and which fields would change."""
    settings, _ = begin()
    groups = asyncio.run(_groups(settings, HeldSelection()))
    if as_json:
        typer.echo(json.dumps([_plain(group) for group in groups], indent=2))
        return
    if not groups:
        typer.echo("nothing is held", err=True)
        return
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for group in groups:
        _print(console, group)
    console.print(
        "approve   cdc held approve FEED --kind KIND --as-of N\n"
        "reject    cdc held reject FEED --kind KIND --as-of N --because WHY"
    )


@app.command()
def show(
    feed: Annotated[str, typer.Argument(help="The feed.")],
    kind: KindOption = None,
    limit: Annotated[int, typer.Option(help="Keys at most.", min=1)] = 100,
) -> None:
    """Show the held keys of a feed, and what would become of each."""
    settings, _ = begin()
    selection = HeldSelection(feed=feed, kind=kind)
    groups, keys = asyncio.run(_show(settings, selection, limit))
    if not groups:
        typer.echo(f"nothing of {feed} is held", err=True)
        raise typer.Exit(EXIT_ERROR)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for group in groups:
        _print(console, group)
    table = Table("key", "what would happen", "held", "dirty", box=None, pad_edge=False, header_style="bold")
    for key in keys:
        times = (moment.isoformat(timespec="seconds") for moment in (key.since, key.dirty_at))
        table.add_row(key.key, key.words, *times)
    console.width = max(console.width, 160)  # a key that is cut short can't be given to `approve`
    console.print(table)


@app.command()
def approve(
    feed: FeedArgument = None,
    keys: KeysArgument = None,
    kind: KindOption = None,
    as_of: AsOfOption = None,
    because: Annotated[str, typer.Option("--because", help="Why; it is kept in the sync log.")] = "",
) -> None:
    """Let what is held go, as it was held. A record that changes meanwhile is judged anew."""
    settings, _ = begin()
    selection = HeldSelection(feed=feed, kind=kind, keys=keys or None, as_of=as_of)
    count = asyncio.run(_approve(settings, selection, because))
    typer.echo(f"{count} approved")


@app.command()
def reject(
    because: Annotated[str, typer.Option("--because", help="Why; it is kept in the sync log.")],
    feed: FeedArgument = None,
    keys: KeysArgument = None,
    kind: KindOption = None,
    as_of: AsOfOption = None,
) -> None:
    """Leave the CRM as it is, until the record changes again. No sweep brings it back."""
    settings, _ = begin()
    if not because.strip():
        raise ConfigError("--because is empty", fix="say why; it is all that is left of the decision")
    selection = HeldSelection(feed=feed, kind=kind, keys=keys or None, as_of=as_of)
    count = asyncio.run(_reject(settings, selection, because))
    typer.echo(f"{count} rejected")


def _print(console: Console, group: HeldGroup) -> None:
    names = [f"{name} ({records})" for name, records in group.fields.items()]
    more = f", and {len(names) - _SHOWN_FIELDS} more" if len(names) > _SHOWN_FIELDS else ""
    fields = ", ".join(names[:_SHOWN_FIELDS]) + more
    lines = {
        "since": group.since.isoformat(timespec="seconds"),
        "marked by": "; ".join(f"{cause.words} - {cause.keys}" for cause in group.causes),
        "fields": fields,
        "unchanged": f"{group.unchanged} would be sent again although nothing differs" if group.unchanged else "",
        "keys": ", ".join(group.sample) + (", ..." if group.keys > len(group.sample) else ""),
    }
    console.print(f"{group.feed}  {group.kind.value}s  {group.keys} held  as of {group.as_of}")
    for name, value in lines.items():
        if value:
            console.print(f"  {name:<10} {value}")


def _plain(group: HeldGroup) -> dict[str, object]:
    return {**asdict(group), "since": group.since.isoformat()}


async def _groups(settings: Settings, selection: HeldSelection) -> list[HeldGroup]:
    async with open_databases(settings) as (_, state):
        return await held.held_groups(state, selection)


async def _show(settings: Settings, selection: HeldSelection, limit: int) -> tuple[list[HeldGroup], Sequence[HeldKey]]:
    async with open_databases(settings) as (_, state):
        return await held.held_groups(state, selection), await held.held_keys(state, selection, limit)


async def _approve(settings: Settings, selection: HeldSelection, because: str) -> int:
    async with open_databases(settings) as (_, state), state.transaction():
        count = await held.approve(state, selection, who(), because)
        await note(state, "held.approve", _described(selection), count=count, because=because)
        return count


async def _reject(settings: Settings, selection: HeldSelection, because: str) -> int:
    async with open_databases(settings) as (_, state), state.transaction():
        count = await held.reject(state, selection, who(), because)
        await note(state, "held.reject", _described(selection), count=count, because=because)
        return count


def _described(selection: HeldSelection) -> str:
    keys = None if selection.keys is None else list(selection.keys)
    return describe(keys, feed=selection.feed, kind=selection.kind, as_of=selection.as_of)
