"""`cdc reconcile`: compare source, ledger and CRM, and put right what may be."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from cdc.cli.audit import describe, note
from cdc.cli.start import EXIT_DEGRADED, EXIT_ERROR, begin, configured_source
from cdc.errors import ConfigError, StateError
from cdc.repair.reconcile.plan import Left
from cdc.repair.reconcile.report import as_json as summary
from cdc.repair.reconcile.report import commands, counts_line, verdict
from cdc.routing.feeds import Profile
from cdc.runtime.connections import open_connections
from cdc.runtime.environment import prepare
from cdc.runtime.reconcile.applying import apply_plan
from cdc.runtime.reconcile.files import PLAN
from cdc.runtime.reconcile.fixing import Fixed
from cdc.runtime.reconcile.run import Outcome, Request, chosen_feeds
from cdc.runtime.reconcile.run import reconcile as compare
from cdc.runtime.reconcile.site import Site, open_site
from cdc.settings import Settings

_FIELDS_SHOWN = 8


def reconcile(
    fix: Annotated[bool, typer.Option("--fix", help="Put right what may be, if the gates allow it.")] = False,
    apply: Annotated[
        Path | None, typer.Option("--apply", help="Carry this plan.json out; at most 24 hours old.")
    ] = None,
    feed: Annotated[list[str] | None, typer.Option("--feed", help="Only this feed; may be given again.")] = None,
    as_json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, without values.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write reports into a dated folder there. Default: CDC_REPORT_DIR.")
    ] = None,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Let differences.csv hold people's values instead of masks.")
    ] = False,
) -> None:
    """Compare view, ledger and CRM record by record. Exit code 3 if something differs, 1 if it couldn't be told."""
    settings, profile = begin()
    if apply is not None and (fix or feed or out is not None or reveal):
        raise ConfigError("--apply carries a plan out as it is", fix="leave the other options out")
    out = out or settings.cdc_report_dir
    if reveal and out is None:
        raise ConfigError(
            "--reveal is for the file differences.csv, and no file is written", fix="say where: --out DIR"
        )
    configured_source(settings)
    if not settings.has_crm:
        raise ConfigError("there is no CRM to compare with: ZOHO_CLIENT_ID is not set", fix="set the ZOHO_* variables")
    chosen_feeds(profile, feed or ())
    if apply is not None:
        raise typer.Exit(asyncio.run(_apply(settings, profile, apply, as_json=as_json_)))
    request = Request(feeds=feed or (), fix=fix, out=out, reveal=reveal, requested_by=_whoever())
    raise typer.Exit(asyncio.run(_compare(settings, profile, request, as_json=as_json_)))


def _whoever() -> str:
    try:
        return f"{getpass.getuser()}, pid {os.getpid()}"
    except (OSError, KeyError):  # an account without a name
        return f"pid {os.getpid()}"


@asynccontextmanager
async def _site(settings: Settings, profile: Profile) -> AsyncIterator[Site]:
    async with prepare(settings, profile) as environment, open_connections(environment) as connections:
        try:
            async with open_site(environment, settings, profile, connections) as site:
                yield site
        except psycopg.errors.UndefinedTable:
            raise StateError("the cdc schema or its views are not there", fix="run `cdc setup`") from None


async def _compare(settings: Settings, profile: Profile, request: Request, *, as_json: bool) -> int:
    feeds = ", ".join(request.feeds) or None
    async with _site(settings, profile) as site:
        if request.reveal:
            async with site.connections.state.connection() as conn:
                await note(conn, "person.reveal", f"differences.csv in {request.out}")
        outcome = await compare(site, request)
        if request.fix:
            async with site.connections.state.connection() as conn:
                await note(conn, "reconcile.fix", describe(feeds=feeds), count=outcome.report.run.fixed)
    _say_outcome(outcome, as_json=as_json)
    if not outcome.report.run.complete:
        return EXIT_ERROR
    return EXIT_DEGRADED if outcome.open else 0


def _say_outcome(outcome: Outcome, *, as_json: bool) -> None:
    report = outcome.report
    if as_json:
        folder = None if outcome.folder is None else str(outcome.folder)
        typer.echo(json.dumps({**summary(report), "folder": folder}, indent=2))
        return
    typer.echo(verdict(report))
    typer.echo(counts_line(report))
    if report.fields:
        fields = ", ".join(f"{name} {count:,}" for _, name, count in report.fields[:_FIELDS_SHOWN])
        typer.echo(f"Fields: {fields}{', …' if len(report.fields) > _FIELDS_SHOWN else ''}")
    for feed in report.feeds:
        if feed.note:
            typer.echo(f"{feed.feed}: {feed.note}")
    for words in report.run.held_back:
        typer.echo(f"not put right: {words}")
    _say_left(report.remaining, "sent anew, and not well yet")
    for words in commands(report):
        typer.echo(f"Next: {words}")
    if outcome.folder is not None:
        typer.echo(f"cdc: reports are in {outcome.folder}", err=True)
    elif report.planned:
        typer.echo(f"cdc: to get a {PLAN}, say where: --out DIR", err=True)


async def _apply(settings: Settings, profile: Profile, path: Path, *, as_json: bool) -> int:
    async with _site(settings, profile) as site:
        plan, fixed = await apply_plan(site, path, requested_by=_whoever())
        async with site.connections.state.connection() as conn:
            await note(conn, "reconcile.apply", f"a plan of {len(plan.fixes)} records", count=len(fixed.marked))
    if as_json:
        typer.echo(json.dumps(_applied(len(plan.fixes), fixed), indent=2))
    else:
        typer.echo(
            f"{len(fixed.marked):,} of {len(plan.fixes):,} records sent anew, {len(fixed.left):,} left alone, "
            f"{len(fixed.remaining):,} not well yet"
        )
        _say_left(fixed.left, "left alone")
        _say_left(fixed.remaining, "sent anew, and not well yet")
    return EXIT_DEGRADED if fixed.remaining or len(fixed.left) > fixed.agreed else 0


def _applied(planned: int, fixed: Fixed) -> dict[str, object]:
    return {
        "planned": planned,
        "marked": len(fixed.marked),
        "left": [{"feed": one.fix.feed, "record": one.fix.record_id, "why": one.why} for one in fixed.left],
        "remaining": [{"feed": one.fix.feed, "record": one.fix.record_id, "why": one.why} for one in fixed.remaining],
    }


def _say_left(left: Sequence[Left], title: str) -> None:
    for one in left:
        typer.echo(f"{title}: {one.fix.feed} {one.fix.record_id}: {one.why}")
