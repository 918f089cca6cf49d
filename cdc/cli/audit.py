"""`cdc audit`: who did what by hand; and how the other commands write it down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from psycopg import AsyncConnection
from rich.console import Console
from rich.table import Table

from cdc.cli.start import begin, open_databases, who
from cdc.settings import Settings
from cdc.state.audit import Entry, entries, record

_KEYS_NAMED = 3
_WIDE = 160


def audit(
    limit: Annotated[int, typer.Option(help="Entries at most.", min=1, max=10_000)] = 50,
    before: Annotated[int | None, typer.Option(help="Only what was done before the entry with this number.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list on stdout.")] = False,
) -> None:
    """List who did what by hand, newest first: on the command line, and on the dashboard."""
    settings, _ = begin()
    found = asyncio.run(_entries(settings, before, limit))
    if as_json:
        typer.echo(json.dumps([{**asdict(entry), "at": entry.at.isoformat()} for entry in found], indent=2))
        return
    if not found:
        typer.echo("nothing was done by hand", err=True)
        return
    table = Table("no.", "at", "who", "what", "count", "of what", "because", box=None, pad_edge=False)
    for entry in found:
        at = entry.at.isoformat(timespec="seconds")
        table.add_row(str(entry.id), at, entry.actor, entry.action, str(entry.count), entry.subject, entry.because)
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, _WIDE)
    console.print(table)


async def note(conn: AsyncConnection[Any], action: str, subject: str, *, count: int = 1, because: str = "") -> None:
    """Write down what this command does. What met nothing is not worth a line."""
    if count:
        await record(conn, actor=f"cli:{who()}", action=action, subject=subject, count=count, because=because)


def describe(keys: Sequence[str] | None = None, **criteria: object) -> str:
    """Say in a few words what was selected: criteria that are None are left out."""
    words = [f"{name} {value}" for name, value in criteria.items() if value is not None]
    if keys:
        more = f" and {len(keys) - _KEYS_NAMED} more" if len(keys) > _KEYS_NAMED else ""
        words.append(f"key{'s' if len(keys) > 1 else ''} {', '.join(keys[:_KEYS_NAMED])}{more}")
    return ", ".join(words) or "everything"


async def _entries(settings: Settings, before: int | None, limit: int) -> list[Entry]:
    async with open_databases(settings) as (_, state):
        return await entries(state, before=before, limit=limit)
