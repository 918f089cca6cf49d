"""Runs the checks in the order of the table: a chain ends at its first broken link, and the others go on."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

import psycopg
import structlog

from cdc.errors import CdcError, ConfigError
from cdc.runtime.doctor.check import Check
from cdc.runtime.doctor.examination import Examination, examining
from cdc.runtime.doctor.finding import Finding, Findings, Level, from_error, from_sink_error, problem, skipped
from cdc.runtime.doctor.table import CHECKS
from cdc.settings import salvage_settings, unknown_variables
from sinks.errors import SinkError

log = structlog.get_logger()

_UNLOOKED: Final = "nothing is known about it until this can be looked at"


def choose(names: Collection[str], *, on_request: bool = False) -> list[Check]:
    """Pick checks by id, in the order of the table, each with what it needs.

    Args:
        names: ids; empty for all of them.
        on_request: also those that are left out unless asked for.

    Raises:
        ConfigError: for a name that isn't there, with the nearest one that is.
    """
    by_id = {check.id: check for check in CHECKS}
    for name in names:
        if name not in by_id:
            near = difflib.get_close_matches(name, by_id, n=1, cutoff=0.4)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"there is no check {name}{meant}", fix="`cdc doctor --list` lists them")
    wanted = _with_needs(names or [c.id for c in CHECKS if on_request or not c.on_request], by_id)
    return [check for check in CHECKS if check.id in wanted]


def _with_needs(names: Iterable[str], by_id: dict[str, Check]) -> set[str]:
    wanted: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += by_id[name].needs
    return wanted


async def diagnose(names: Collection[str] = (), *, write_test: bool = False) -> list[Finding]:
    """Look at everything, or at some of it; changes nothing but what `write_test` allows.

    Args:
        names: ids of checks; empty for all of them.
        write_test: make a contact in the CRM and delete it again.

    Returns:
        At least one finding for each check.

    Raises:
        ConfigError: for a name that isn't there.
    """
    return [finding async for finding in examine(choose(names, on_request=write_test))]


async def examine(checks: Sequence[Check], examination: Examination | None = None) -> AsyncIterator[Finding]:
    """Run checks, and give each finding as soon as it is there.

    Args:
        checks: as `choose` gives them.
        examination: what to look at, if not at what the environment says.
    """
    if examination is None:
        settings, refusals = salvage_settings()
        examination = Examination(settings, refusals, unknown_variables())
    broken: dict[str, str] = {}  # why those that need a check aren't looked at
    async with examining(examination):
        for check in checks:
            cause = next((broken[need] for need in check.needs if need in broken), None)
            if cause is not None:
                broken[check.id] = cause
                found = skipped(f"not looked at: {cause}")
            else:
                found = await _look(check, examination)
                if any(f.level is Level.PROBLEM for f in found):
                    broken[check.id] = f"{check.id} failed"
                elif any(f.level is Level.SKIPPED for f in found):
                    broken[check.id] = found[0].what.partition(":")[0]
            for finding in found:
                yield replace(finding, check=check.id)


async def _look(check: Check, examination: Examination) -> Findings:
    """Run one check; whatever becomes of it is a finding, so that the others go on."""
    try:
        async with asyncio.timeout(check.seconds):
            return await check.look(examination)
    except TimeoutError:
        return [problem(f"no answer within {check.seconds:g} s", why=_UNLOOKED, fix=f"cdc doctor {check.id}  # again")]
    except CdcError as error:
        return [from_error(error, why=_UNLOOKED)]
    except (OSError, LookupError) as error:
        words = f"the check broke off: {type(error).__name__}"
        return [problem(words, why=_UNLOOKED, fix=f"cdc doctor {check.id}  # again; if it stays, report it")]
    except SinkError as error:
        return [from_sink_error(error, why=_UNLOOKED)]
    except psycopg.Error as error:
        # Kind and code alone: the server's own words may hold a row's values.
        words = f"the database refused a statement: {type(error).__name__}, SQLSTATE {error.sqlstate}"
        return [problem(words, why=_UNLOOKED, fix=f"cdc doctor {check.id}  # again; else see docs/troubleshooting.md")]
