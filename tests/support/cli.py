"""The command with all that it has, to be run in the test's own process."""

from __future__ import annotations

from cdc.cli.app import build

app = build()
