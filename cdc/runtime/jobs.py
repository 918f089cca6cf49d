"""What is done by the clock, and when: the table of jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import time
from functools import partial
from typing import Final

import psycopg
import structlog

from cdc.routing.feeds import Profile
from cdc.runtime.connections import Connections
from cdc.runtime.environment import Environment
from cdc.runtime.housekeeping import keep_house
from cdc.runtime.limits import credit_limit
from cdc.runtime.plans import Daily, Every, Plan
from cdc.runtime.reconcile.daily import reconcile_daily
from cdc.runtime.schedule import Job
from cdc.runtime.sweeping import sweep_nightly
from cdc.settings import Settings, times_of_day
from cdc.watch.condition import judge
from cdc.watch.status import read_status

log = structlog.get_logger()

_RETENTION_MINUTES: Final = 10.0
_UNTIL_IT_WORKS: Final = 1_000
"""Tries, an hour apart at most: a sweep costs no credit, and nothing else finds what no change announced."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a job may work with."""

    environment: Environment
    settings: Settings
    profile: Profile
    connections: Connections


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table.

    Attributes:
        name: of the job.
        plan: when, by the settings; None where it is switched off.
        work: what.
        tries: how often it may fail for one moment of its plan.
        quiet: its ordinary end isn't worth a line in the log.
        needs_crm: it is of no use where no CRM is configured.
    """

    name: str
    plan: Callable[[Settings], Plan | None]
    work: Callable[[Parts], Awaitable[Mapping[str, object]]]
    tries: int = 5
    quiet: bool = True
    needs_crm: bool = False


async def _sweep(parts: Parts) -> Mapping[str, object]:
    return await sweep_nightly(parts.connections, parts.profile)


async def check_health(parts: Parts) -> Mapping[str, object]:
    """Judge how things stand, say it in the log, and give it for the record."""
    settings, connections = parts.settings, parts.connections
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(connections.state.connection())
        source = None
        with suppress(psycopg.OperationalError):  # a source that is away is something to judge too
            source = await stack.enter_async_context(connections.source.connection())
        status = await read_status(source, state, settings.cdc_slot, credit_limit=credit_limit(settings))
    condition = judge(status)
    found = {"state": condition.state.value, "why": condition.why}
    say = log.info if condition.state.is_fine else log.warning
    say("health", **found, todo=condition.todo)
    return found


async def _retention(parts: Parts) -> Mapping[str, object]:
    return await keep_house(parts.connections.state, parts.settings)


async def _reconcile(parts: Parts) -> Mapping[str, object]:
    run = await reconcile_daily(parts.environment, parts.settings, parts.profile, parts.connections)
    return {"verdict": run.verdict, "compared": run.compared, "differing": run.differing, "fixed": run.fixed}


def _nightly(times: tuple[time, ...]) -> Plan | None:
    return Daily(times) if times else None


def _sweep_plan(settings: Settings) -> Plan | None:
    """Over `realtime` everything is compared every minute as it is."""
    return None if settings.cdc_transport == "realtime" else _nightly(times_of_day(settings.cdc_sweep_at))


def _reconcile_plan(settings: Settings) -> Plan | None:
    return _nightly(times_of_day(settings.cdc_reconcile_at))


def _health_plan(settings: Settings) -> Plan | None:
    return Every(settings.cdc_healthcheck_minutes) if settings.cdc_healthcheck_minutes else None


ENTRIES: Final = (
    Entry("sweep", _sweep_plan, _sweep, tries=_UNTIL_IT_WORKS, quiet=False),
    Entry("reconcile", _reconcile_plan, _reconcile, tries=2, needs_crm=True),
    Entry("healthcheck", _health_plan, check_health),
    Entry("retention", lambda _: Every(_RETENTION_MINUTES), _retention),
)


def plans(settings: Settings) -> dict[str, Plan]:
    """Give the plan of each job that is switched on, by name."""
    found = {entry.name: entry.plan(settings) for entry in ENTRIES if settings.has_crm or not entry.needs_crm}
    return {name: plan for name, plan in found.items() if plan is not None}


def build_jobs(parts: Parts) -> list[Job]:
    """Make the jobs that are switched on; the connections are open for as long as they may run."""
    switched_on = plans(parts.settings)
    return [
        Job(
            name=entry.name,
            plan=switched_on[entry.name],
            work=partial(entry.work, parts),
            tries=entry.tries,
            quiet=entry.quiet,
        )
        for entry in ENTRIES
        if entry.name in switched_on
    ]
