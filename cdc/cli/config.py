"""`cdc config`: what is in force, and where it comes from."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cdc.cli.start import begin
from cdc.settings import describe


def config(as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False) -> None:
    """Print every setting in force, secrets hidden, with its origin."""
    settings, _ = begin()
    rows = describe(settings)
    if as_json:
        typer.echo(json.dumps({name: {"value": value, "origin": origin} for name, value, origin in rows}, indent=2))
        return
    table = Table("setting", "value", "origin", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=True).print(table)
