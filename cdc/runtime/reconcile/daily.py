"""The comparison that happens by itself, once a day at three in the morning (UTC)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog

from cdc.routing.feeds import Profile
from cdc.runtime.connections import Connections
from cdc.runtime.environment import Environment
from cdc.runtime.reconcile.files import remove_old
from cdc.runtime.reconcile.run import Request, reconcile
from cdc.runtime.reconcile.site import open_site
from cdc.settings import Settings
from cdc.state.reconciles import ReconcileRun

log = structlog.get_logger()


async def reconcile_daily(
    environment: Environment, settings: Settings, profile: Profile, connections: Connections
) -> ReconcileRun:
    """Compare everything with the CRM; put right what the gates allow if `CDC_RECONCILE_FIX` says so.

    Reports go to `CDC_REPORT_DIR`, masked; without it the result is in `cdc.reconcile_run` only.

    Raises:
        CdcError: if it can't be done; the next night is another try.
        psycopg.Error: if a database fails.
    """
    request = Request(fix=settings.cdc_reconcile_fix, out=settings.cdc_report_dir, requested_by="schedule")
    async with open_site(environment, settings, profile, connections) as site:
        outcome = await reconcile(site, request)
    run = outcome.report.run
    log.info(
        "reconciled", verdict=run.verdict, compared=run.compared, differing=run.differing, fixed=run.fixed,
        remaining=run.remaining, credits=run.credits_used, complete=run.complete,
    )  # fmt: skip
    if settings.cdc_report_dir is not None:
        await asyncio.to_thread(remove_old, settings.cdc_report_dir, datetime.now(UTC))
    return run
