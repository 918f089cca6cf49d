"""`cdc schedule`: what is done by the clock, how it went, and when it comes next."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cdc.cli.audit import note
from cdc.cli.start import EXIT_ERROR, begin, configured_source, open_databases, who
from cdc.cli.wording import exact_duration
from cdc.errors import ConfigError
from cdc.routing.feeds import Profile
from cdc.runtime.connections import open_connections
from cdc.runtime.environment import prepare
from cdc.runtime.jobs import Parts, build_jobs, plans
from cdc.runtime.plans import Plan
from cdc.runtime.schedule import Ending, Scheduler
from cdc.settings import Settings
from cdc.state import jobs
from cdc.state.database import pending_migrations
from cdc.state.jobs import Run
from cdc.watch.status import plain

app = typer.Typer(help="What is done by the clock: list, run.", invoke_without_command=True, rich_markup_mode=None)

JsonOption = Annotated[bool, typer.Option("--json", help="A JSON list on stdout.")]


@app.callback()
def schedule(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show each job: when it last ran, for how long, how it ended, who ran it, and when it comes next."""
    if context.invoked_subcommand is not None:
        return
    settings, _ = begin()
    now, runs = asyncio.run(_newest(settings))
    rows = [_row(name, plan, runs.get(name), now) for name, plan in plans(settings).items()]
    if as_json:
        typer.echo(json.dumps(plain(rows), indent=2))
    else:
        _print(rows)


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="The job.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Run a job now, in this process, whatever its plan says. Refused while another process is at it."""
    settings, profile = begin()
    known = plans(settings)
    if name not in known:
        raise ConfigError(f"no job {name!r} is switched on", fix=f"one of: {', '.join(known)}")
    configured_source(settings)
    ending = asyncio.run(_run(settings, profile, name))
    if ending is None:
        typer.echo(f"{name} is under way in another process; see `cdc schedule`", err=True)
        raise typer.Exit(EXIT_ERROR)
    if as_json:
        typer.echo(json.dumps(plain({"job": name, "outcome": ending.outcome, **ending.detail}), indent=2))
    else:
        typer.echo(f"{name} {ending.outcome}: " + (_words(ending.detail) or "nothing to report"))
    raise typer.Exit(0 if ending.outcome == "done" else EXIT_ERROR)


async def _newest(settings: Settings) -> tuple[datetime, dict[str, Run]]:
    async with open_databases(settings) as (_, state):
        return await jobs.database_time(state), await jobs.newest(state)


async def _run(settings: Settings, profile: Profile, name: str) -> Ending | None:
    async with prepare(settings, profile) as environment, open_connections(environment) as connections:
        async with connections.state.connection() as conn:
            if await pending_migrations(conn):
                raise ConfigError("the cdc schema is not there, or older than this program", fix="run `cdc setup`")
        scheduler = Scheduler(connections.state, build_jobs(Parts(environment, settings, profile, connections)), who())
        ending = await scheduler.run_now(name)
        if ending is not None:
            async with connections.state.connection() as conn:
                await note(conn, "schedule.run", f"job {name}: {ending.outcome}")
        return ending


def _row(name: str, plan: Plan, run: Run | None, now: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {"job": name, "plan": str(plan), "next": plan.next(now)}
    if run is None:
        return {**row, "last": None}
    is_dead = run.ended_at is None and run.leased_until <= now
    last = {
        "for": run.due_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "seconds": round(((run.ended_at or now) - run.started_at).total_seconds(), 1),
        "outcome": run.outcome or ("died" if is_dead else "running"),
        "by": run.actor,
        "detail": run.detail,
    }
    return {**row, "last": last}


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("job", "plan", "last", "took", "ended", "by", "next", "what it said"):
        table.add_column(heading)
    for row in rows:
        last = row["last"]
        shown = (
            ("never", "-", "-", "-")
            if last is None
            else (_time(last["started_at"]), exact_duration(last["seconds"]), last["outcome"], last["by"])
        )
        table.add_row(row["job"], row["plan"], *shown, _time(row["next"]), _words(last["detail"]) if last else "")
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.width = max(console.width, 160)
    console.print(table)


def _time(moment: datetime) -> str:
    return f"{moment:%m-%d %H:%M} UTC"


def _words(detail: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in detail.items())
