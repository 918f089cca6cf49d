"""`cdc slot`: how long the slot will last, what holds it back, and what to do about a gap."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from psycopg import AsyncConnection
from rich.console import Console

from cdc.cli.audit import note
from cdc.cli.start import (
    EXIT_DEGRADED,
    EXIT_REFUSED,
    begin,
    configured_source,
    ledger_key,
    open_databases,
    run_unless_interrupted,
)
from cdc.cli.wording import exact_duration, explain_gap, size
from cdc.repair.sweep import sweep_all
from cdc.routing.feeds import Profile
from cdc.runtime.preparation import apply_plan, make_plan
from cdc.settings import Settings
from cdc.state.causes import GapCause
from cdc.state.gaps import Gap, decide, read_gaps
from cdc.watch.slot import Behind, SlotHealth, read_slot_health
from cdc.watch.status import plain

app = typer.Typer(
    help="Show the replication slot: lag, runway, what holds WAL back, gaps. With `repair`, decide on a gap.",
    no_args_is_help=False,
)

_WATCH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Picture:
    """What `cdc slot` shows."""

    health: SlotHealth
    gaps: list[Gap]

    def as_json(self) -> dict[str, Any]:
        values: dict[str, Any] = plain({**asdict(self.health), "gaps": [asdict(gap) for gap in self.gaps]})
        return values


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until Ctrl-C.")] = False,
) -> None:
    """Show the replication slot: lag, runway, what holds WAL back, gaps. Exits with 3 when a person should look."""
    if context.invoked_subcommand is not None:
        return
    settings, _ = begin()
    degraded = run_unless_interrupted(_show(settings, as_json=as_json, watch=watch))
    if degraded is None:
        return
    raise typer.Exit(EXIT_DEGRADED if degraded else 0)


async def _show(settings: Settings, *, as_json: bool, watch: bool) -> bool:
    async with open_databases(settings) as (source, state):
        while True:
            picture = await _look(source, state, settings.cdc_slot)
            if as_json:
                typer.echo(json.dumps(picture.as_json(), indent=None if watch else 2))
            else:
                Console(highlight=False, markup=False, soft_wrap=True).print("\n".join(_lines(picture)))
            if not watch:
                return _needs_a_look(picture)
            await asyncio.sleep(_WATCH_SECONDS)


async def _look(source: AsyncConnection[Any], state: AsyncConnection[Any], slot: str) -> _Picture:
    return _Picture(await read_slot_health(source, state, slot), await read_gaps(state, slot))


def _needs_a_look(picture: _Picture) -> bool:
    lost = not picture.health.exists or picture.health.wal_status in {"lost", "unreserved"}
    return lost or any(gap.repaired_at is None for gap in picture.gaps)


def _lines(picture: _Picture) -> Iterator[str]:
    health = picture.health
    if health.exists:
        reader = f"read by the server's process {health.active_pid}" if health.active_pid else "nobody reads it now"
        standbys = ", standbys keep a copy" if health.failover else ""
        why = f" ({health.invalidation_reason})" if health.invalidation_reason else ""
        yield f"slot          {health.slot}  {health.wal_status}{why}  {reader}{standbys}"
        yield f"keeps         {_room(health)}"
        yield f"runway        {_runway(health)}"
    else:
        yield f"slot          {health.slot} doesn't exist; `cdc setup` makes it, or `cdc run` after it was dropped"
    yield f"server's end  {health.end_lsn}"
    for name, position in (
        ("received", health.received), ("captured", health.captured), ("acknowledged", health.acknowledged),
    ):  # fmt: skip
        yield f"{name:<14}{_behind(position)}"
    yield from _holders(health)
    for gap in picture.gaps:
        yield from explain_gap(gap)


def _room(health: SlotHealth) -> str:
    kept = f"{size(health.retained_wal_bytes)} of WAL"
    if health.limit_bytes is None:
        return f"{kept}; no limit (max_slot_wal_keep_size): the disk is the limit"
    return f"{kept}; {size(health.safe_wal_bytes)} more may be written, of {size(health.limit_bytes)}"


def _runway(health: SlotHealth) -> str:
    if health.limit_bytes is None:
        return "without a limit the server never gives the slot up"
    if health.runway_seconds is None:
        return "doesn't shrink"
    return f"lost in {exact_duration(health.runway_seconds)} at this rate"


def _behind(position: Behind) -> str:
    if position.lsn is None:
        return "-"
    seconds = position.seconds_behind
    age = "since before the samples" if seconds is None else f"{exact_duration(seconds)} behind"
    return f"{position.lsn}  {size(position.bytes_behind)} behind  {age}"


def _holders(health: SlotHealth) -> Iterator[str]:
    for session in health.holders.transactions:
        name = f" ({session.application})" if session.application else ""
        kind = "has written" if session.writes else "only reads"
        yield (
            f"held by       pid {session.pid}{name}: {session.state or 'state not shown to this role'}, {kind}, "
            f"transaction open for {exact_duration(session.open_seconds)}"
        )
    for other in health.holders.slots:
        state = "active" if other.is_active else "inactive"
        yield f"other slot    {other.name}: {state}, {other.wal_status}, keeps {size(other.retained_wal_bytes)}"
    for prepared in health.holders.prepared:
        yield (
            f"held by       prepared transaction {prepared.transaction} in {prepared.database}, "
            f"{exact_duration(prepared.open_seconds)} old"
        )


@app.command()
def repair(
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Decide that the database as it is now is the right one: a new slot, and a sweep of everything.

    Shows what will be done first. A `cdc run` that waits goes on within seconds.
    """
    settings, profile = begin()
    raise typer.Exit(asyncio.run(_repair(settings, profile, yes=yes)))


async def _repair(settings: Settings, profile: Profile, *, yes: bool) -> int:
    async with open_databases(settings) as (source, state):
        undecided = [gap for gap in await read_gaps(state, settings.cdc_slot) if gap.is_undecided]
        if not undecided:
            typer.echo("no gap awaits a decision")
            return 0
        for gap in undecided:
            for line in explain_gap(gap):
                typer.echo(line)
        await _announce(source, state, settings, profile)
        if not yes and not (sys.stdin.isatty() and typer.confirm("Is this the right database?")):
            typer.echo("nothing was done; `cdc slot repair --yes` does it", err=True)
            return EXIT_REFUSED
        if any(gap.cause != GapCause.SLOT_TAKEN.name for gap in undecided):
            await _set_up(settings, profile, source)
        async with state.transaction():
            await decide(state, settings.cdc_slot)
            causes = ", ".join(gap.cause for gap in undecided)
            await note(state, "slot.repair", f"slot {settings.cdc_slot}: {causes}", count=len(undecided))
    typer.echo("decided; a `cdc run` that waits goes on within seconds, otherwise start it")
    return 0


async def _announce(
    source: AsyncConnection[Any], state: AsyncConnection[Any], settings: Settings, profile: Profile
) -> None:
    hash_key = await ledger_key(settings, state)
    typer.echo(f"To be done: replace slot {settings.cdc_slot}, and compare everything. What differs now:")
    for sweep in await sweep_all(source, state, profile, hash_key, dry_run=True):
        counts = ", ".join(f"{count} {kind}" for kind, count in zip(_KINDS, sweep.differences.values(), strict=True))
        typer.echo(f"  {sweep.feed}: {counts}, of {sweep.compared}")


_KINDS = ("to create", "to change", "to withdraw")


async def _set_up(settings: Settings, profile: Profile, source: AsyncConnection[Any]) -> None:
    dsn = configured_source(settings)
    state_dsn = settings.cdc_state_dsn.get_secret_value() if settings.cdc_state_dsn else dsn
    plan = await make_plan(dsn, state_dsn, settings, profile, accept=True)
    for statement in plan.statements:
        typer.echo(f"  {statement.why}")
    await apply_plan(source, state_dsn, plan)
