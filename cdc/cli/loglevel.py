"""`cdc log-level`: how much all processes say, changed while they run."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import typer

from cdc.cli.audit import note
from cdc.cli.start import begin, open_databases, who
from cdc.cli.wording import exact_duration
from cdc.repair.bounds import length_seconds
from cdc.runtime.heartbeat import BEAT_SECONDS
from cdc.settings import Settings
from cdc.state.loglevel import clear_level, set_level

Level = Literal["debug", "info", "warning", "error", "default"]


def log_level(
    level: Annotated[
        Level, typer.Argument(help="`default` gives each process its own back, CDC_LOG_LEVEL.", case_sensitive=False)
    ],
    length: Annotated[str | None, typer.Option("--for", help="For how long: 10m, 2h. Else until another word.")] = None,
) -> None:
    """Set the level that every `cdc run` and `cdc worker` on this state logs at; none has to be started anew."""
    settings, _ = begin()
    seconds = None if length is None else length_seconds("--for", length)
    asyncio.run(_set(settings, level, seconds))
    until = "" if seconds is None else f" for {exact_duration(seconds)}"
    typer.echo(f"all processes log at {level}{until}, within {BEAT_SECONDS:g} s")


async def _set(settings: Settings, level: str, seconds: float | None) -> None:
    async with open_databases(settings) as (_, state), state.transaction():
        if level == "default":
            await clear_level(state)
        else:
            await set_level(state, level, actor=who(), seconds=seconds)
        until = "" if seconds is None else f", for {exact_duration(seconds)}"
        await note(state, "log_level", f"{level}{until}")
