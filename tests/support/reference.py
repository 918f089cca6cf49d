"""Writes what is made from code: docs/reference/, the table of docs/reliability.md, and .env.example.

To be run as `python -m tests.support.reference`.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import typer
from typer.testing import CliRunner

from cdc.cli.start import EXIT_CODES
from cdc.delivery.policy import HOUR, MINUTE, POLICIES, Policy, Response, Scope
from cdc.runtime.doctor.table import CHECKS
from cdc.settings import Settings
from cdc.state.database import shipped_migrations
from sinks.reasons import Fault, Reason
from tests.support import faults, prometheus
from tests.support.cli import app
from tests.support.watch_pages import alerts_page, metrics_page

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"
ENV_EXAMPLE = ROOT / ".env.example"
_NOTE = "<!-- Made from the code by `make docs`; change it there. -->"

_FAULTS: Mapping[Fault, str] = MappingProxyType(
    {
        Fault.DATA: "the record's data",
        Fault.MAPPING: "the profile, or the fields of the CRM",
        Fault.AUTH: "the sign-in",
        Fault.QUOTA: "a limit of the CRM",
        Fault.THEIRS: "the CRM",
    }
)


def settings_page() -> str:
    """Every setting with its type, default and meaning."""
    properties = Settings.model_json_schema()["properties"]
    lines = [
        "# Settings",
        _NOTE,
        "Environment variables, or lines of a `.env` file in the working directory; the environment wins.\n"
        "`cdc config` prints what is in force and where it comes from, secrets hidden. A variable that begins with\n"
        "`CDC_` or `ZOHO_` and is none of these is named in a warning at start. An empty value counts as not set.",
        "| name | type | default | meaning |\n| --- | --- | --- | --- |",
    ]
    rows = [
        f"| `{name.upper()}` | {_type(schema)} | {_default(schema)} | {_cell(schema['description'])} |"
        for name, schema in properties.items()
    ]
    lines[-1] += "\n" + "\n".join(rows)
    return _page(lines)


_GROUPS: tuple[tuple[str, str], ...] = (
    # heading, what the names of its settings look like; the first that fits takes a setting
    ("The database", r"DATABASE_URL|CDC_STATE_DSN|CDC_ENCRYPTION_KEY|CDC_PROFILE|CDC_TRANSPORT"),
    ("Zoho CRM", r"ZOHO_.*"),
    ("Supabase Realtime, where no slot can be had", r"SUPABASE_.*|CDC_REALTIME_.*"),
    ("Alerts", r"CDC_ALERT_.*|CDC_HEARTBEAT_URL|CDC_DASHBOARD_URL|CDC_RUNBOOK_URL"),
    ("HTTP: webhooks, page, metrics", r"CDC_(HTTP|WEBHOOK|WEB|AUTH|SESSION|METRICS)_.*"),
    ("Slot and publication", r"CDC_(SLOT.*|PUBLICATION)"),
    ("The rest, seldom changed", r".*"),
)


def env_example() -> str:
    """A `.env` to start from: what has a default is commented out, secrets are empty, and nothing is made up."""
    properties = Settings.model_json_schema()["properties"]
    left = {name.upper(): schema for name, schema in properties.items()}
    lines = [
        "# Made from the code by `make docs`; change it there.",
        "# Copy it to .env, or let `cdc init` write one. An empty value counts as not set; the environment wins.",
        "# docs/quickstart.md leads through it; docs/reference/settings.md says the same as this file.",
    ]
    for heading, pattern in _GROUPS:
        names = [name for name in left if re.fullmatch(pattern, name)]
        if names:
            lines += ["", f"# ---- {heading}"]
        for name in names:
            schema = left.pop(name)
            lines += ["", *textwrap.wrap(schema["description"], 110, initial_indent="# ", subsequent_indent="# ")]
            default = schema.get("default")
            shown = str(default).lower() if isinstance(default, bool) else default
            lines.append(f"{name}=" if shown is None else f"# {name}={shown}")
    return "\n".join(lines) + "\n"


def _type(schema: Mapping[str, Any]) -> str:
    """Put a JSON schema into words."""
    if "anyOf" in schema:
        return next(_type(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("format") == "password":
        return "secret text"
    words = {"string": "text", "number": "number", "integer": "whole number", "boolean": "`true` or `false`"}
    bounds = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
    parts = [
        words[schema["type"]],
        *(f"{said} {_number(schema[key])}" for key, said in bounds.items() if key in schema),
    ]
    return ", ".join(parts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _default(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    if default is None:
        return "not set"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give (path, command) of the program and of every command, groups first."""
    yield from _walk(typer.main.get_command(app), ())


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from _walk(child, (*path, name))


def command_help(path: tuple[str, ...]) -> str:
    """Give what `--help` prints, 100 columns wide."""
    environment = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"}
    return CliRunner().invoke(app, [*path, "--help"], prog_name="cdc", env=environment).output.strip()


def cli_page() -> str:
    """Every command's help, and the exit codes."""
    codes = "\n".join(f"| {code} | {_cell(meaning)} |" for code, meaning in EXIT_CODES.items())
    parts = [
        "# Command line",
        _NOTE,
        "Data goes to stdout, everything else to stderr.",
        "## Exit codes",
        f"| code | meaning |\n| --- | --- |\n{codes}",
    ]
    for path, _ in commands():
        parts += [f"## {' '.join(('cdc', *path))}", f"```text\n{command_help(path)}\n```"]
    return _page(parts)


def reasons_page() -> str:
    """Every reason with what it means, what happens and what helps."""
    parts = [
        "# Reasons",
        _NOTE,
        "Why a delivery failed. `cdc failures list` shows the reason of what is parked, `cdc status` that of a pause.\n"
        "A parked record is tried again when its data change, or after `cdc failures retry`.",
    ]
    for reason in Reason:
        parts += [
            f"## {reason.name}",
            reason.meaning,
            f"- **Whose side:** {_FAULTS[reason.fault]}.\n"
            f"- **What happens:** {what_happens(POLICIES[reason])}\n"
            f"- **What helps:** {reason.hint}",
        ]
    return _page(parts)


def what_happens(policy: Policy) -> str:
    """Put a policy into words."""
    pauses = f"{_span(policy.first)}, then longer each time, up to {_span(policy.longest)}"
    match policy.response:
        case Response.PARK:
            text = "The record is parked alone; its neighbours go on."
        case Response.RETRY:
            text = f"The record is tried again after {pauses}; parked after {policy.attempts} attempts."
        case Response.WAIT:
            text = f"It waits for the other record, and looks again after {pauses}. This isn't counted as a failure."
        case Response.PAUSE:
            scope = "This feed pauses" if policy.scope is Scope.FEED else "All feeds of the CRM pause"
            text = f"{scope} for {pauses}; then one batch tries. Capture goes on and nothing is lost."
            if math.isinf(policy.first):
                text = f"{scope} until it is mended. Capture goes on for the others."
    if policy.isolate:
        text += " When a whole call is refused, smaller ones find the record at fault."
    return text


def _span(seconds: float) -> str:
    for unit, name in ((HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= unit:
            return f"{seconds / unit:g} {name}{'' if seconds == unit else 's'}"
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"


_TABLE = re.compile(r"^create table cdc\.(\w+) \(\n(.*?)\n\)[^;]*;$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^comment on table cdc\.(\w+) is '((?:[^']|'')*)';$", re.MULTILINE)
_ADDED = re.compile(r"^alter table cdc\.(\w+)\n((?: +add column .*\n)+)", re.MULTILINE)
_COLUMN = re.compile(r"^\s+(\w+)\s+([a-z_]+(?:\[\])?)[^-\n]*?(?:-- (.*))?$")
_CONSTRAINTS = frozenset({"primary", "unique", "check", "foreign", "constraint"})


def state_tables() -> dict[str, tuple[str, list[tuple[str, str, str]]]]:
    """Read the migrations: table → (comment, [(column, type, comment)])."""
    text = "\n".join(migration.sql for migration in shipped_migrations())
    comments = {name: words.replace("''", "'") for name, words in _COMMENT.findall(text)}
    tables = {}
    for name, body in _TABLE.findall(text):
        columns = [match.groups(default="") for line in body.splitlines() if (match := _COLUMN.match(line))]
        tables[name] = (
            comments.get(name, ""),
            [column for column in columns if column[0] not in _CONSTRAINTS],
        )
    for name, body in _ADDED.findall(text):
        lines = [line.replace("add column ", "", 1) for line in body.splitlines()]
        tables[name][1].extend(match.groups(default="") for line in lines if (match := _COLUMN.match(line)))
    return tables


def state_page() -> str:
    """The tables of schema cdc."""
    parts = [
        "# State",
        _NOTE,
        "The schema `cdc`, in the source database or in the one that `CDC_STATE_DSN` names. Nothing in it holds a\n"
        "row's values. Beside these tables it holds `migration`, the record of what was applied.",
    ]
    for name, (comment, columns) in state_tables().items():
        rows = "\n".join(f"| `{column}` | {kind} | {_cell(words)} |" for column, kind, words in columns)
        parts += [f"## {name}", comment, f"| column | type | |\n| --- | --- | --- |\n{rows}"]
    return _page(parts)


_SIDES: Mapping[str, str] = MappingProxyType(
    {"runtime": "This machine", "source": "The source", "state": "The cdc tables", "crm": "The CRM"}
)


def doctor_page() -> str:
    """Every check of `cdc doctor`."""
    parts = [
        "# Checks of `cdc doctor`",
        _NOTE,
        "How to read what they say: [doctor](../doctor.md). A check isn't looked at if one that it needs has found a\n"
        "problem, or doesn't apply. *At most* is its time limit in seconds.",
    ]
    for side, title in _SIDES.items():
        rows = "\n".join(
            f"| `{check.id}` | {_cell(check.looks_at)} | {', '.join(f'`{need}`' for need in check.needs) or '–'} "
            f"| {check.seconds:g} |"
            for check in CHECKS
            if check.id.partition(".")[0] == side
        )
        parts += [f"## {title}", f"| check | looks at | needs | at most |\n| --- | --- | --- | --- |\n{rows}"]
    return _page(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _page(parts: list[str]) -> str:
    return "\n\n".join(parts) + "\n"


PAGES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "settings.md": settings_page,
        "cli.md": cli_page,
        "reasons.md": reasons_page,
        "state.md": state_page,
        "doctor.md": doctor_page,
        "metrics.md": metrics_page,
        "alerts.md": alerts_page,
    }
)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for page, write in PAGES.items():
        (FOLDER / page).write_text(write(), encoding="utf-8")
    ENV_EXAMPLE.write_text(env_example(), encoding="utf-8")
    prometheus.write()
    faults.PAGE.write_text(faults.current_page(), encoding="utf-8")
