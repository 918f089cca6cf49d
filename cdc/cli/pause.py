"""`cdc pause` and `cdc resume`: a person's word on what is delivered. Capture goes on."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cdc.cli.audit import describe, note
from cdc.cli.start import EXIT_DEGRADED, begin, open_databases, who
from cdc.cli.wording import exact_duration, explain_pause
from cdc.errors import ConfigError
from cdc.repair.bounds import length_seconds
from cdc.routing.feeds import Profile
from cdc.settings import Settings
from cdc.state import control, pauses
from cdc.state.control import BULK_SCOPE, EVERYTHING, Pause

FeedsArgument = Annotated[list[str] | None, typer.Argument(help="Feeds; everything if left out.")]


def pause(
    reason: Annotated[str, typer.Option("--reason", help="Why; `cdc status` shows it with your name.")],
    feeds: FeedsArgument = None,
    length: Annotated[str | None, typer.Option("--for", help="For how long: 90m, 2h, 1d. Else until resumed.")] = None,
) -> None:
    """Deliver nothing for a while. Capture goes on, so nothing is lost and no WAL is held; a batch under way ends."""
    settings, profile = begin()
    if not reason.strip():
        raise ConfigError("--reason is empty", fix="say why; whoever finds it paused wants to know")
    seconds = None if length is None else length_seconds("--for", length)
    scopes = _scopes(profile, feeds)
    asyncio.run(_pause(settings, scopes, reason.strip(), seconds))
    until = "until `cdc resume`" if seconds is None else f"for {exact_duration(seconds)}"
    typer.echo(f"{_named(scopes)} paused {until}; capture goes on")


def resume(feeds: FeedsArgument = None) -> None:
    """End what `cdc pause` began. Exits with 3 when something is still paused, and says what and why.

    A pause after a failure, a broken feed and the hold of a gap end by themselves, or as `cdc status` says.
    """
    settings, profile = begin()
    scopes = _scopes(profile, feeds)
    resumed, left = asyncio.run(_resume(settings, scopes))
    for scope in scopes:
        typer.echo(f"{_named([scope])} {'resumed' if scope in resumed else 'not paused by anybody'}")
    still = [one for one in left if feeds is None or one.scope in {EVERYTHING, *scopes, *_families(profile, feeds)}]
    for one in still:
        for line in explain_pause(one):
            typer.echo(f"still: {line}" if not line.startswith(" ") else line, err=True)
    raise typer.Exit(EXIT_DEGRADED if still else 0)


def _scopes(profile: Profile, feeds: list[str] | None) -> list[str]:
    profile.check_feeds(feeds or ())
    return list(dict.fromkeys(feeds)) if feeds else [EVERYTHING]


def _families(profile: Profile, feeds: list[str]) -> set[str]:
    return {profile.feeds[feed].sink.partition(".")[0] for feed in feeds}


def _named(scopes: list[str]) -> str:
    return "all delivery is" if scopes == [EVERYTHING] else f"{', '.join(scopes)} {'is' if len(scopes) == 1 else 'are'}"


def _subject(scopes: list[str]) -> str:
    return "everything" if EVERYTHING in scopes else describe(feeds=", ".join(scopes))


async def _pause(settings: Settings, scopes: list[str], reason: str, seconds: float | None) -> None:
    async with open_databases(settings) as (_, state), state.transaction():
        for scope in scopes:
            await pauses.pause(state, scope, actor=who(), because=reason, seconds=seconds)
        until = "" if seconds is None else f", for {exact_duration(seconds)}"
        await note(state, "pause", f"{_subject(scopes)}{until}", count=len(scopes), because=reason)


async def _resume(settings: Settings, scopes: list[str]) -> tuple[list[str], list[Pause]]:
    async with open_databases(settings) as (_, state):
        async with state.transaction():
            resumed = await pauses.resume(state, scopes)
            await note(state, "resume", _subject(resumed), count=len(resumed))
        left = [one for one in await control.pauses(state) if one.scope != BULK_SCOPE]
    return resumed, left
