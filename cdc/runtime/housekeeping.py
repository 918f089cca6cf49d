"""What nobody asks for every day: old journal chunks, logs and counters go."""

from __future__ import annotations

from typing import Final

from cdc.settings import Settings
from cdc.state import alerts, calls, jobs
from cdc.state.audit import RETENTION
from cdc.state.database import Pool
from cdc.state.journal import trim

_DAY: Final = 86_400.0
_RUNS_DAYS: Final = 30.0
_MEGABYTE: Final = 1_048_576
_RETENTION: Final = (
    "delete from cdc.zoho_sync_log where created_at < now() - interval '90 days'",
    "delete from cdc.credit_usage where bucket < now() - interval '30 days'",
    "delete from cdc.slot_sample where at < now() - interval '1 day'",
    "delete from cdc.worker where seen_at < now() - interval '1 day'",
    "delete from cdc.replay where updated_at < now() - interval '90 days'",
    "delete from cdc.reconcile_run where ended_at < now() - interval '90 days'",
    "delete from cdc.reconcile_fix where last_night < now() - interval '90 days'",
    "delete from cdc.pause where paused_until < now() - interval '1 day'",
    "delete from cdc.log_level where until < now()",
    RETENTION,
    calls.RETENTION,
    *alerts.RETENTION,
)


async def keep_house(state: Pool, settings: Settings) -> dict[str, int]:
    """Remove what is past its time. Says how many rows went, the journal's chunks aside."""
    removed = 0
    async with state.connection() as conn:
        for statement in _RETENTION:
            removed += (await conn.execute(statement)).rowcount
        await jobs.forget(conn, _RUNS_DAYS)
        await trim(conn, seconds=settings.cdc_journal_days * _DAY, size=int(settings.cdc_journal_mb * _MEGABYTE))
    return {"rows": removed}
