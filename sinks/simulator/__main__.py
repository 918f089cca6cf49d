"""`python -m sinks.simulator [--port N] [--json] [--bare]`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from sinks.simulator.config import Edition, SimulatorConfig
from sinks.simulator.server import Announcement, run_simulator


def announce_json(announcement: Announcement) -> None:
    """One line of JSON, for a program that started us."""
    sys.stdout.write(json.dumps(asdict(announcement)) + "\n")
    sys.stdout.flush()


def announce_text(announcement: Announcement) -> None:
    """The settings that point a pipeline here."""
    sys.stdout.write(
        f"Zoho CRM simulator: {announcement.url}\n"
        f"ZOHO_CLIENT_ID={announcement.client_id}\n"
        f"ZOHO_CLIENT_SECRET={announcement.client_secret}\n"
        f"ZOHO_REFRESH_TOKEN={announcement.refresh_token}\n"
    )
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> None:
    """Run until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m sinks.simulator", description="A local Zoho CRM v8.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--json", action="store_true", help="announce as one line of JSON")
    parser.add_argument("--bare", action="store_true", help="standard fields only")
    parser.add_argument("--edition", type=Edition, choices=list(Edition), default=Edition.STANDARD)
    parser.add_argument("--credits", type=int, default=None, help="credits in 24 hours, in place of the edition's")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input does")
    chosen = parser.parse_args(arguments)
    config = SimulatorConfig(port=chosen.port, bare=chosen.bare, edition=chosen.edition, credits=chosen.credits)
    run_simulator(config, announce=announce_json if chosen.json else announce_text, until_eof=chosen.until_eof)


if __name__ == "__main__":
    main()
