"""What is done by the clock, and when: the table of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import Final

import psycopg
import structlog

from cdc.routing.feeds import Profile
from cdc.runtime.connections import Connections
from cdc.runtime.housekeeping import keep_house
from cdc.runtime.limits import credit_limit
from cdc.runtime.plans import Daily, Every, Plan
from cdc.runtime.schedule import Job, Work
from cdc.runtime.sweeping import sweep_nightly
from cdc.settings import Settings, times_of_day
from cdc.watch.condition import judge
from cdc.watch.status import read_status

log = structlog.get_logger()

SWEEP: Final = "sweep"
RECONCILE: Final = "reconcile"
HEALTHCHECK: Final = "healthcheck"
RETENTION: Final = "retention"
_RETENTION_MINUTES: Final = 10.0


def plans(settings: Settings) -> dict[str, Plan]:
    """Give the plan of each job that is switched on, by name."""
    found: dict[str, Plan] = {}
    if settings.cdc_transport != "realtime" and (times := times_of_day(settings.cdc_sweep_at)):
        found[SWEEP] = Daily(times)  # over `realtime` everything is compared every minute
    if times := times_of_day(settings.cdc_reconcile_at):
        found[RECONCILE] = Daily(times)
    if settings.cdc_healthcheck_minutes:
        found[HEALTHCHECK] = Every(settings.cdc_healthcheck_minutes)
    found[RETENTION] = Every(_RETENTION_MINUTES)
    return found


def build_jobs(
    settings: Settings, profile: Profile, connections: Connections, *, reconcile: Work | None = None
) -> list[Job]:
    """Put the jobs together.

    Args:
        settings: when, and how long things are kept.
        profile: whose feeds are swept.
        connections: open for as long as jobs may run.
        reconcile: compares the CRM with source and ledger; without it there is no such job.
    """

    async def sweep() -> Mapping[str, object]:
        return await sweep_nightly(connections, profile)

    async def healthcheck() -> Mapping[str, object]:
        return await check_health(connections, settings)

    async def retention() -> Mapping[str, object]:
        return await keep_house(connections.state, settings)

    work: dict[str, Work] = {SWEEP: sweep, HEALTHCHECK: healthcheck, RETENTION: retention}
    if reconcile is not None:
        work[RECONCILE] = reconcile
    chatty = {SWEEP, RECONCILE}
    return [
        Job(name=name, plan=plan, work=work[name], quiet=name not in chatty)
        for name, plan in plans(settings).items()
        if name in work
    ]


async def check_health(connections: Connections, settings: Settings) -> Mapping[str, object]:
    """Judge how things stand, say it in the log, and give it for the record."""
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
