"""`cdc doctor`: what is wrong, why it matters, and the SQL or command that mends it."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from cdc.cli.start import EXIT_DEGRADED, run_unless_interrupted
from cdc.errors import ConfigError
from cdc.logging import configure_logging
from cdc.runtime.doctor.check import Check
from cdc.runtime.doctor.finding import Finding, Level
from cdc.runtime.doctor.running import choose, examine
from cdc.runtime.doctor.table import CHECKS
from cdc.settings import salvage_settings

_WRITES: Final = "crm.write-test"
_MARKS: Final = MappingProxyType(
    {
        Level.OK: ("[✓]", "green"),
        Level.WARNING: ("[!]", "yellow"),
        Level.PROBLEM: ("[✗]", "bold red"),
        Level.SKIPPED: ("[-]", "dim"),
    }
)


def doctor(
    checks: Annotated[
        list[str] | None, typer.Argument(help="Ids of checks, each looked at with what it needs; all if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the checks and what they look at.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also say why each finding matters.")] = False,
    write_test: Annotated[
        bool, typer.Option("--write-test", help="Also make a contact in the CRM and delete it again; 2 credits.")
    ] = False,
) -> None:
    """Look at database, state, CRM and machine, and say what mends what is wrong. Changes nothing.

    Exits with 0 if all is well and with 3 if something was found. Checks of the CRM cost about a dozen credits.
    """
    if list_:
        _list(as_json)
        return
    chosen = _choose(checks or [], write_test=write_test)
    configure_logging(salvage_settings()[0].cdc_log, level=logging.CRITICAL)
    if write_test:
        typer.echo("-- --write-test makes one contact in the CRM and deletes it again", err=True)
    found = run_unless_interrupted(_examine(chosen, as_json=as_json, verbose=verbose))
    if found is not None:
        raise typer.Exit(EXIT_DEGRADED if any(f.needs_a_person for f in found) else 0)


def _choose(names: list[str], *, write_test: bool) -> list[Check]:
    if _WRITES in names and not write_test:
        raise ConfigError(f"{_WRITES} writes to the CRM", fix=f"cdc doctor {_WRITES} --write-test")
    return choose([*names, _WRITES] if names and write_test else names, on_request=write_test)


async def _examine(checks: Sequence[Check], *, as_json: bool, verbose: bool) -> list[Finding]:
    """Print each finding as soon as it is there; as JSON all of them together."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    found: list[Finding] = []
    unlooked: list[Finding] = []
    async for finding in examine(checks):
        found.append(finding)
        if as_json:
            continue
        if unlooked and finding.what != unlooked[0].what:
            _print_unlooked(console, unlooked)
        if finding.level is Level.SKIPPED and not verbose:
            unlooked.append(finding)
        else:
            console.print(_draw(finding, verbose=verbose))
    _print_unlooked(console, unlooked)
    counts = Counter(finding.level for finding in found)
    if as_json:
        summary = {level.value: counts[level] for level in Level}
        typer.echo(json.dumps({"counts": summary, "findings": [f.as_json() for f in found]}, indent=2))
    else:
        console.print(_closing(found, verbose=verbose))
    return found


def _print_unlooked(console: Console, unlooked: list[Finding]) -> None:
    """Print neighbours that weren't looked at for one reason as one line, and forget them."""
    if unlooked:
        more = f" and {len(unlooked) - 1} more" if len(unlooked) > 1 else ""
        console.print(_line(Level.SKIPPED, unlooked[0].check + more, unlooked[0].what))
        unlooked.clear()


def _line(level: Level, check: str, what: str) -> Text:
    mark, style = _MARKS[level]
    return Text.assemble((mark, style), f" {check:<20} {what}")


def _draw(finding: Finding, *, verbose: bool) -> Text:
    text = _line(finding.level, finding.check, finding.what)
    if finding.needs_a_person:
        if verbose:
            text.append(f"\n      why  {finding.why}", "dim")
        for number, line in enumerate(finding.fix.splitlines()):
            text.append(f"\n      {'    ' if number else 'fix:'} {line}")
    return text


def _closing(found: Sequence[Finding], *, verbose: bool) -> Text:
    counts = Counter(finding.level for finding in found)
    left = counts[Level.SKIPPED]
    first = next((f for level in (Level.PROBLEM, Level.WARNING) for f in found if f.level is level), None)
    if first is None:
        return Text(f"All is well: {counts[Level.OK]} checks passed" + (f", {left} don't apply." if left else "."))
    parts = [_count(counts[level], level.value) for level in (Level.PROBLEM, Level.WARNING) if counts[level]]
    parts += [f"{left} not looked at"] if left else []
    more = "" if verbose else " `cdc doctor -v` says why each matters."
    return Text(f"{', '.join(parts)}. Begin with {first.check}.{more}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _list(as_json: bool) -> None:
    if as_json:
        listed = [{"id": c.id, "looks_at": c.looks_at, "needs": c.needs, "on_request": c.on_request} for c in CHECKS]
        typer.echo(json.dumps(listed, indent=2))
        return
    for check in CHECKS:
        typer.echo(f"{check.id:<20} {check.looks_at}")
