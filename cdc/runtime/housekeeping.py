"""What nobody asks for every day: old journal chunks, logs and counters go."""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg
import structlog

from cdc.settings import Settings
from cdc.state.database import Pool
from cdc.state.journal import trim
from cdc.waiting import wait_at_most

log = structlog.get_logger()

_EVERY_SECONDS: Final = 600.0
_DAY: Final = 86_400.0
_MEGABYTE: Final = 1_048_576
_RETENTION: Final = (
    "delete from cdc.zoho_sync_log where created_at < now() - interval '90 days'",
    "delete from cdc.credit_usage where bucket < now() - interval '30 days'",
    "delete from cdc.slot_sample where at < now() - interval '1 day'",
    "delete from cdc.worker where seen_at < now() - interval '1 day'",
    "delete from cdc.replay where updated_at < now() - interval '90 days'",
    "delete from cdc.reconcile_run where ended_at < now() - interval '90 days'",
    "delete from cdc.reconcile_fix where last_night < now() - interval '90 days'",
)


async def keep_house(state: Pool, settings: Settings, stop: asyncio.Event) -> None:
    """Remove what is past its time, every ten minutes, until `stop` is set."""
    while not stop.is_set():
        try:
            async with state.connection() as conn:
                for statement in _RETENTION:
                    await conn.execute(statement)
                await trim(
                    conn, seconds=settings.cdc_journal_days * _DAY, size=int(settings.cdc_journal_mb * _MEGABYTE)
                )
        except psycopg.Error as error:  # a read-only or stopped database comes back
            log.warning("housekeeping_interrupted", error=type(error).__name__)
        await wait_at_most(stop, _EVERY_SECONDS)
