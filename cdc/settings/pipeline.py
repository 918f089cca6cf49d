"""How the pipeline works: its windows and times of day, sizes and waits, journal, log and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings

from cdc.settings.values import lower
from cdc.settings.words import times_of_day

Seconds = Annotated[float, Field(ge=0)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)]


def _check_times(value: str) -> str:
    times_of_day(value)
    return value


TimesOfDay = Annotated[str, AfterValidator(_check_times)]


class PipelineSettings(BaseSettings):
    """Lanes, schedule, capture, delivery, journal, log, Realtime's own checks, and reconciling."""

    cdc_rollup_seconds: Seconds = Field(
        default=300, description="Length of the `rollup` lane's window: what gathers in it leaves together at its end."
    )
    cdc_daily_seconds: Seconds = Field(
        default=86_400, description="Length of the `daily` lane's window; a day ends at midnight UTC."
    )
    cdc_sweep_at: TimesOfDay = Field(
        default="02:00",
        description="Everything is compared with the ledger at these times of day (UTC, separated by commas), by one "
        "process of all; `off` for never.",
    )
    cdc_reconcile_at: TimesOfDay = Field(
        default="03:00",
        description="The CRM is compared at these times of day (UTC), in the same way; `off` for never.",
    )
    cdc_healthcheck_minutes: Annotated[float, Field(ge=0)] = Field(
        default=15, description="How things stand is judged and put on record so often; 0 for never."
    )
    cdc_poll_seconds: Annotated[float, Field(gt=0)] = Field(
        default=0.5, description="Pause between two reads of an idle slot (`poll`)."
    )
    cdc_group_changes: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=100_000, description="Row changes that capture makes durable in one transaction, at most."
    )
    cdc_lease_seconds: Annotated[float, Field(ge=5)] = Field(
        default=120, description="How long a worker may hold a dirty key. Longer than any request can last."
    )
    cdc_bulk_from: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Due records from which a backfill goes by Bulk Write; 0 for never. Default: from where that is "
        "cheaper, which is 5,001.",
    )
    cdc_bulk_rows: Annotated[int, Field(ge=1, le=25_000)] = Field(
        default=25_000, description="Records in one Bulk Write job, at most."
    )
    cdc_drain_seconds: Seconds = Field(
        default=20, description="How long a stop waits for what is in flight before it is given back."
    )
    cdc_journal_days: Annotated[float, Field(gt=0)] = Field(default=7, description="How long the journal is kept.")
    cdc_journal_mb: Annotated[float, Field(gt=0)] = Field(
        default=1_024,
        description="How many megabytes it may take; the oldest chunks go first. A million changes take about 20.",
    )
    cdc_log: Annotated[Literal["auto", "json", "text"], BeforeValidator(lower)] = Field(
        default="auto", description="Form of the log on stderr; `auto` is text on a terminal and JSON elsewhere."
    )
    cdc_log_level: LogLevel = Field(
        default="info", description="Lowest level that is logged. `cdc log-level` sets another one while it runs."
    )
    cdc_realtime_canary_seconds: Annotated[float, Field(gt=0)] = Field(
        default=30,
        description="A row of ours is written so often and must come back through Realtime; after twice that time "
        "without it the connection is made anew (`realtime`).",
    )
    cdc_realtime_sweep_seconds: Annotated[float, Field(gt=0)] = Field(
        default=60,
        description="Everything is compared so often, since Realtime may drop a change (`realtime`). Less often where "
        "that would take more than a tenth of the time.",
    )
    cdc_reconcile_fix: bool = Field(
        default=False,
        description="Let the daily comparison with the CRM put right what differs, where its gates allow it "
        "(docs/reconcile.md). Without it there is a report only.",
    )
    cdc_report_dir: Path | None = Field(
        default=None,
        description="Folder for the reports of `cdc reconcile`. Without it the result is in the table only.",
    )
