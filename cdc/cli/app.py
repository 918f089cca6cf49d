"""The `cdc` command: its groups, and what an error looks like."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from types import MappingProxyType
from typing import Final

import psycopg
import typer
from rich.console import Console

from cdc.errors import CdcError

COMMANDS: Final = MappingProxyType(
    {
        "init": "init:init",
        "run": "run:run",
        "worker": "run:worker",
        "setup": "setup:setup",
        "status": "status:status",
        "doctor": "doctor:doctor",
        "pause": "pause:pause",
        "resume": "pause:resume",
        "log-level": "loglevel:log_level",
        "sync": "sync:sync",
        "sweep": "sweep:sweep",
        "reconcile": "reconcile:reconcile",
        "replay": "replay:replay",
        "journal": "journal:journal",
        "explain": "explain:explain",
        "backfill": "backfill:app",
        "slot": "slot:app",
        "failures": "failures:app",
        "held": "held:app",
        "login": "login:app",
        "keys": "keys:app",
        "schedule": "schedule:app",
        "alerts": "alerts:app",
        "audit": "audit:audit",
        "healthcheck": "healthcheck:healthcheck",
        "simulator": "simulator:simulator",
        "config": "config:config",
    }
)
"""By name: the module of this package, and what it offers there."""


def build(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Put commands together. Only their modules are imported: all of them take a second, one a third of that."""
    app = typer.Typer(
        name="cdc", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False
    )
    app.callback()(_cdc)
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        found = getattr(import_module(f"cdc.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _cdc() -> None:
    """Keeps Zoho CRM in step with a Supabase (Postgres) database, from its writes alone."""


def main() -> None:
    """Run a command; turn an error of ours into a sentence and an exit code."""
    named = sys.argv[1:2]
    try:
        build(named if named and named[0] in COMMANDS else COMMANDS)()
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
