"""`cdc sweep`: compare views with the ledger, and mark what differs."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from cdc.cli.audit import describe, note
from cdc.cli.start import begin, ledger_key, open_databases
from cdc.repair.sweep import Sweep, sweep_all, sweep_feed
from cdc.routing.feeds import Profile
from cdc.settings import Settings


def sweep(
    feed: Annotated[str | None, typer.Argument(help="One feed; all of them if left out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what differs.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Mark every record and send it even if equal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare every record with what was last delivered and mark what differs. Costs no credit when nothing does."""
    settings, profile = begin()
    sweeps = asyncio.run(_sweep(settings, profile, feed, dry_run=dry_run, forced=force))
    if as_json:
        typer.echo(json.dumps({s.feed: _numbers(s) for s in sweeps}, indent=2))
        return
    for found in sweeps:
        typer.echo(
            f"{found.feed}: {found.compared} compared, {found.missing} missing, "
            f"{found.changed} changed, {found.gone} gone"
        )
    typer.echo(
        "nothing was marked" if dry_run else f"{sum(s.marked for s in sweeps)} differ; workers send them", err=True
    )


def _numbers(found: Sweep) -> dict[str, int]:
    return {"compared": found.compared, "missing": found.missing, "changed": found.changed, "gone": found.gone}


async def _sweep(settings: Settings, profile: Profile, feed: str | None, *, dry_run: bool, forced: bool) -> list[Sweep]:
    profile.check_feeds([] if feed is None else [feed])
    async with open_databases(settings) as (source, state):
        hash_key = await ledger_key(settings, state)
        if feed is None:
            found = await sweep_all(source, state, profile, hash_key, dry_run=dry_run, forced=forced)
        else:
            found = [await sweep_feed(source, state, profile.feeds[feed], hash_key, dry_run=dry_run, forced=forced)]
        if not dry_run:
            subject = describe(feed=feed) + (", sent even if equal" if forced else "")
            await note(state, "sweep", subject, count=sum(each.marked for each in found))
        return found
