"""`cdc init`: from nothing to a pipeline that can be started, one question at a time.

Everything is asked and looked up first. Nothing is changed before the last question has been answered with yes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cdc.cli.answers import Answers
from cdc.cli.start import EXIT_INTERRUPTED
from cdc.cli.unattended import prepare_unattended
from cdc.cli.wizard import Wizard
from cdc.errors import ConfigError
from cdc.logging import configure_logging
from cdc.web.redirect import REDIRECT_PORT

Doctor = Callable[[], None]
"""Examines everything, with the settings as they are by then."""


def init(
    context: typer.Context,
    non_interactive: Annotated[
        bool, typer.Option("--non-interactive", help="Ask nothing: take all from the environment and .env.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Where the browser comes back to, for a sign-in by browser.")
    ] = REDIRECT_PORT,
) -> None:
    """Set everything up in a conversation: database, CRM, fields, alerts. Writes .env. May be run again at any time."""
    configure_logging("text", level=40)  # what goes wrong is said in the conversation
    talk = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    answers, doctor = Answers(Path(".env")), find_doctor(context)
    if non_interactive:
        prepare_unattended(answers, talk)
        conclude(talk, doctor)
        return
    if not sys.stdin.isatty():
        raise ConfigError("there is nobody to ask", fix="run it in a terminal, or with --non-interactive")
    wizard = Wizard(answers, talk, port)
    try:
        code = wizard.run()
    except (typer.Abort, KeyboardInterrupt, EOFError):
        talk.print(wizard.interrupted())
        code = EXIT_INTERRUPTED
    if code == 0:
        conclude(talk, doctor)
    sys.exit(code)


def find_doctor(context: typer.Context) -> Doctor | None:
    """Give what runs `cdc doctor` with the settings as they are then; None if there is no such command."""
    root = context.find_root().command
    if "doctor" not in getattr(root, "commands", {}):
        return None
    return _run_doctor


def _run_doctor() -> None:
    subprocess.run([sys.executable, "-m", "cdc", "doctor"], check=False)


def conclude(talk: Console, doctor: Doctor | None) -> None:
    """Have everything examined, and say what to do next."""
    talk.print("\nDone.")
    if doctor is None:
        talk.print("To have everything examined:  cdc doctor")
    else:
        doctor()
    talk.print("\nNext:")
    for command, what in (
        ("cdc backfill --dry-run", "what the first delivery would send and cost"),
        ("cdc run", "follow the database and deliver, until Ctrl-C"),
        ("cdc status", "how it stands, from another terminal"),
    ):
        talk.print(f"  {command:<24} {what}")
