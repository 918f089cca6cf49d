"""`cdc sync`: send named records again."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cdc.cli.audit import describe, note
from cdc.cli.start import EXIT_DEGRADED, begin, open_databases
from cdc.repair.resend import resend
from cdc.routing.feeds import Feed
from cdc.settings import Settings


def sync(
    feed: Annotated[str, typer.Argument(help="The feed.")],
    keys: Annotated[list[str], typer.Argument(metavar="KEY…", help="Keys of its view, such as a user's id.")],
) -> None:
    """Send some records again, whole, even if the ledger calls them equal. Exits with 3 if one is unknown."""
    settings, profile = begin()
    profile.check_feeds([feed])
    marked, unknown = asyncio.run(_sync(settings, profile.feeds[feed], keys))
    typer.echo(f"{len(marked)} marked; a worker sends them at once")
    for key in unknown:
        typer.echo(f"{key} is neither in {profile.feeds[feed].view} nor was it ever sent: see `cdc explain`", err=True)
    raise typer.Exit(EXIT_DEGRADED if unknown else 0)


async def _sync(settings: Settings, feed: Feed, keys: list[str]) -> tuple[list[str], list[str]]:
    async with open_databases(settings) as (source, state), state.transaction():
        marked, unknown = await resend(source, state, feed, keys)
        if marked:
            await note(state, "record.sync", describe(marked, feed=feed.name), count=len(marked))
    return marked, unknown
