"""`cdc explain`: one record's story, from the change in the database to the value in the CRM."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, cast

import typer

from cdc.cli.start import begin, ledger_key, open_databases
from cdc.errors import ConfigError
from cdc.repair.bounds import shown
from cdc.routing.feeds import Feed, Profile
from cdc.runtime.connections import open_connections
from cdc.runtime.environment import prepare, sink_specs
from cdc.runtime.explain import explain as gather
from cdc.runtime.explain import find_feed
from cdc.runtime.masking import mask
from cdc.runtime.story import InCrm, Story
from cdc.settings import Settings
from sinks.base import Readable
from sinks.zoho.connect import build_sinks


def explain(
    record: Annotated[list[str], typer.Argument(help="Feed and key; or a key, record id or CRM id alone.")],
    offline: Annotated[bool, typer.Option("--offline", help="Leave the CRM out; asking it costs a credit.")] = False,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show the values themselves; on a terminal only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, without values.")] = False,
) -> None:
    """Tell one record's story: changes, dirty mark, plan, calls, and the CRM's values beside the view's."""
    settings, profile = begin()
    if reveal and (as_json or not sys.stdout.isatty()):
        raise ConfigError(
            "--reveal shows people's data, so it writes to a terminal only", fix="leave it out, or run it at a terminal"
        )
    if len(record) > 2:
        raise ConfigError("one record at a time", fix="give a key, or a feed and a key")
    *feeds, key = record
    profile.check_feeds(feeds)
    story = asyncio.run(_tell(settings, profile, feeds, key, offline=offline))
    if as_json:
        typer.echo(json.dumps(story.as_json(), indent=2))
        return
    for line in _lines(story, reveal=reveal):
        typer.echo(line)


async def _tell(settings: Settings, profile: Profile, feeds: list[str], key: str, *, offline: bool) -> Story:
    async with open_databases(settings) as (source, state):
        if feeds:
            feed = profile.feeds[feeds[0]]
        else:
            feed, key = await find_feed(source, state, profile, key)
        async with _sink(settings, profile, feed, offline=offline) as sink:
            hash_key = await ledger_key(settings, state)
            return await gather(source, state, settings.cdc_slot, feed, key, hash_key, sink)


@asynccontextmanager
async def _sink(settings: Settings, profile: Profile, feed: Feed, *, offline: bool) -> AsyncIterator[Readable | None]:
    """Open what reads from the CRM; None if nobody is to ask it, or there is none."""
    if offline or not settings.has_crm:
        yield None
        return
    async with prepare(settings, profile) as environment, open_connections(environment) as connections:
        sinks = build_sinks(connections.client, sink_specs(profile))
        yield cast("Readable", sinks[feed.name])


def _lines(story: Story, *, reveal: bool) -> Iterator[str]:
    yield f"{story.feed} {story.key}"
    yield from _section("changes in the journal", _changes(story))
    yield from _section("dirty", _dirty(story))
    yield from _section("what delivery would do now", _plan(story))
    yield from _section("calls", _calls(story))
    yield from _section("in the CRM", _crm(story, reveal=reveal))
    yield from _section("so", story.verdict())


def _section(title: str, lines: Iterator[str] | list[str]) -> Iterator[str]:
    yield ""
    yield title
    for line in lines:
        yield f"  {line}"


def _changes(story: Story) -> Iterator[str]:
    found = story.searched
    if found is None or found.since is None:
        yield "nothing was ever captured"
        return
    if found.total > len(found.changes):
        yield f"{found.total - len(found.changes):,} earlier ones are not shown"
    for change in found.changes:
        yield f"{shown(change.at)}  {change.lsn:<12} {change.table}  {change.words}"
    if not found.total:
        yield f"none since {shown(found.since)}, where the journal begins"


def _dirty(story: Story) -> Iterator[str]:
    dirty = story.dirty
    if dirty is None:
        yield "no"
        return
    changes = f", changes {dirty.first_lsn} to {dirty.last_lsn}" if dirty.first_lsn else ", marked without a change"
    yield f"since {shown(dirty.dirty_at)} in the lane {dirty.lane}{changes}{', forced' if dirty.forced else ''}"
    if dirty.parked_at is not None:
        words = f"{dirty.reason} {dirty.detail or ''}".rstrip()
        yield f"parked {shown(dirty.parked_at)} after {dirty.attempts} attempts: {words}"
    elif dirty.reason is not None:
        yield f"{dirty.attempts} attempts, last {dirty.reason} {dirty.detail or ''}".rstrip()


def _plan(story: Story) -> Iterator[str]:
    for step in story.steps:
        parts = [step.what, step.record_id if step.record_id != story.key else "", ", ".join(step.fields), step.detail]
        yield "  ".join(part for part in parts if part)


def _calls(story: Story) -> Iterator[str]:
    if not story.calls:
        yield "none in the log"
    for call in story.calls:
        latency = "" if call.latency_ms is None else f"{call.latency_ms} ms after the commit"
        parts = [
            shown(call.at),
            call.action,
            call.status,
            call.lsn or "",
            latency,
            call.reason or "",
            call.message or "",
        ]
        yield "  ".join(part for part in parts if part)
    for entry in story.ledger:
        yield f"ledger: {entry.record_id} {entry.state}" + (f", CRM id {entry.crm_id}" if entry.crm_id else "")


def _crm(story: Story, *, reveal: bool) -> Iterator[str]:
    if story.in_crm is None:
        yield "not asked"
        return
    for record in story.in_crm:
        yield f"{record.record_id}: " + (f"CRM id {record.crm_id}" if record.found else "not there")
        yield from _pairs(record, reveal=reveal)


def _pairs(record: InCrm, *, reveal: bool) -> Iterator[str]:
    show = str if reveal else mask
    for pair in record.pairs:
        if pair.is_equal:
            yield f"  {pair.name:<24} equal    {show(pair.ours)}"
        else:
            yield f"  {pair.name:<24} differs  view: {show(pair.ours)}  CRM: {show(pair.theirs)}"
