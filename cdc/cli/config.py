"""`cdc config`: what is in force, and where it comes from."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdc.cli.start import begin_with_settings
from cdc.settings import Settings, describe


def config(as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False) -> None:
    """Print every setting in force, secrets hidden, with its origin, and what stands in for what isn't set."""
    settings = begin_with_settings()
    rows = [
        (name, value if value != "-" else _stand_in(settings, name), origin)
        for name, value, origin in describe(settings)
    ]
    if as_json:
        typer.echo(json.dumps({name: {"value": value, "origin": origin} for name, value, origin in rows}, indent=2))
        return
    table = Table("setting", "value", "origin", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(soft_wrap=True).print(table)


def _stand_in(settings: Settings, name: str) -> str:
    """Say what is taken for a setting without a value."""
    if name == "DATABASE_URL":
        return "embedded Postgres"
    if name == "CDC_STATE_DSN":
        return "as DATABASE_URL"
    if name == "CDC_ENCRYPTION_KEY":
        return "one for each run"
    if name == "ZOHO_REFRESH_TOKEN" and settings.has_crm:
        return "the stored sign-in"
    return "-" if settings.has_crm else "simulator"
