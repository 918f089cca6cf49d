"""`cdc journal`: from when on there is something to replay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Annotated

import typer

from cdc.cli.start import begin, open_databases
from cdc.cli.wording import size
from cdc.repair.bounds import shown
from cdc.runtime.journaling import Covered, JournalState, read_journal
from cdc.settings import Settings


def journal(as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False) -> None:
    """Show which stretch of the WAL the journal covers without a hole, how much it holds, and how long it is kept."""
    settings, _ = begin()
    found = asyncio.run(_read(settings))
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
        return
    for line in _lines(found):
        typer.echo(line)


async def _read(settings: Settings) -> JournalState:
    async with open_databases(settings) as (_, state):
        return await read_journal(state, settings)


def _lines(found: JournalState) -> Iterator[str]:
    if not found.spans:
        yield "nothing was captured yet: start `cdc run`"
    for covered in found.spans:
        yield from _span(covered, found)
    for gap in found.gaps:
        mended = "no sweep is through yet" if gap.repaired_at is None else f"swept {shown(gap.repaired_at)}"
        yield f"gap       {gap.from_lsn} to {gap.to_lsn or '-'}: {gap.cause}; {mended}"
    yield f"kept      {found.days:g} days, and {found.megabytes:g} MB at most"
    if found.unfinished is not None:
        replay = found.unfinished
        yield f"replay    {replay.id}, from {replay.from_lsn} to {replay.to_lsn}, isn't through: `cdc replay --resume`"


def _span(covered: Covered, found: JournalState) -> Iterator[str]:
    span, extent = covered.span, covered.extent
    end = span.to_time or found.captured_at
    yield f"complete  from {span.from_lsn} to {span.to_lsn}" + ("" if span.is_open else ", where the stream broke off")
    yield f"          from {shown(span.from_time)} to {shown(end) if end else '-'}"
    yield f"holds     {extent.chunks:,} chunks, {extent.changes:,} changes, {size(extent.bytes)}"
