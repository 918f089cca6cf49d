"""The `cdc` command: its groups, and what an error looks like."""

from __future__ import annotations

import sys

import psycopg
import typer
from rich.console import Console

from cdc.cli import (
    alerts,
    audit,
    backfill,
    config,
    doctor,
    explain,
    failures,
    healthcheck,
    held,
    init,
    journal,
    keys,
    login,
    loglevel,
    pause,
    reconcile,
    replay,
    run,
    schedule,
    setup,
    simulator,
    slot,
    status,
    sweep,
)
from cdc.errors import CdcError

app = typer.Typer(
    name="cdc",
    help="Keeps Zoho CRM in step with a Supabase (Postgres) database, from its writes alone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
app.command("init")(init.init)
app.command("run")(run.run)
app.command("worker")(run.worker)
app.command("setup")(setup.setup)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.command("pause")(pause.pause)
app.command("resume")(pause.resume)
app.command("log-level")(loglevel.log_level)
app.command("sweep")(sweep.sweep)
app.command("reconcile")(reconcile.reconcile)
app.command("replay")(replay.replay)
app.command("journal")(journal.journal)
app.command("explain")(explain.explain)
app.add_typer(backfill.app, name="backfill")
app.add_typer(slot.app, name="slot")
app.add_typer(failures.app, name="failures")
app.add_typer(held.app, name="held")
app.add_typer(login.app, name="login")
app.add_typer(keys.app, name="keys")
app.add_typer(schedule.app, name="schedule")
app.add_typer(alerts.app, name="alerts")
app.command("audit")(audit.audit)
app.command("healthcheck")(healthcheck.healthcheck)
app.command("simulator")(simulator.simulator)
app.command("config")(config.config)


def main() -> None:
    """Run a command; turn an error of ours into a sentence and an exit code."""
    try:
        app()
    except CdcError as error:
        _say(f"cdc: {error}")
        sys.exit(error.exit_code)
    except psycopg.Error as error:
        _say(_unexpected(error))
        sys.exit(1)
    except ExceptionGroup as group:
        found = _known_errors(group)
        if not found:
            raise
        for each in found:
            _say(_unexpected(each) if isinstance(each, psycopg.Error) else f"cdc: {each}")
        sys.exit(max(each.exit_code if isinstance(each, CdcError) else 1 for each in found))


def _known_errors(group: ExceptionGroup[Exception]) -> list[psycopg.Error | CdcError]:
    found: list[psycopg.Error | CdcError] = []
    for error in group.exceptions:
        if isinstance(error, psycopg.Error | CdcError):
            found.append(error)
        elif isinstance(error, ExceptionGroup):
            found += _known_errors(error)
    return found


def _unexpected(error: psycopg.Error) -> str:
    """Give kind and code alone: the server's own words, and a traceback with them, may hold a row's values."""
    return f"cdc: the database refused a statement: {type(error).__name__}, SQLSTATE {error.sqlstate}"


def _say(words: str) -> None:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(words)
