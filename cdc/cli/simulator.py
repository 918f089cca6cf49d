"""`cdc simulator`: a local Zoho CRM."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from cdc.errors import CdcError
from sinks.simulator.config import Edition, SimulatorConfig
from sinks.simulator.server import Announcement, run_simulator


def simulator(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 picks a free one.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Announce url and credentials as one line of JSON.")] = False,
    bare: Annotated[bool, typer.Option("--bare", help="Standard fields only, as in a new organisation.")] = False,
    edition: Annotated[Edition, typer.Option(help="Sets credits and concurrency.")] = Edition.STANDARD,
) -> None:
    """Run a Zoho CRM simulator until Ctrl-C. Its page is at the printed address."""
    announce = _announce_json if as_json else _announce_text
    try:
        run_simulator(SimulatorConfig(port=port, bare=bare, edition=edition), announce=announce)
    except OSError as error:
        raise CdcError(
            f"port {port} of 127.0.0.1 can't be used: {error.strerror}", fix="give another --port, or 0 for a free one"
        ) from None


def _announce_json(announcement: Announcement) -> None:
    typer.echo(json.dumps(asdict(announcement)))


def _announce_text(announcement: Announcement) -> None:
    typer.echo(f"Zoho CRM simulator on {announcement.url}   (Ctrl-C ends it)\n\nTo point the pipeline at it:")
    for name, value in {
        "ZOHO_CLIENT_ID": announcement.client_id,
        "ZOHO_CLIENT_SECRET": announcement.client_secret,
        "ZOHO_REFRESH_TOKEN": announcement.refresh_token,
        "ZOHO_ACCOUNTS_URL": announcement.url,
        "ZOHO_API_DOMAIN": announcement.url,
        "ZOHO_UPLOAD_URL": announcement.url,
    }.items():
        typer.echo(f"  export {name}={value}")
