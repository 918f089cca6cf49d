"""The picture as metrics for Prometheus. Pure. Each is described here, and docs/reference/metrics.md is made from it.

What can't be told has no sample, so that a rule over it says nothing rather than that all is well. Labels hold names of
feeds, lanes, states, reasons and kinds; never an id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric

from cdc.state.alerts import Severity
from cdc.watch import samples
from cdc.watch.alerts import measures
from cdc.watch.outlook import Picture
from cdc.watch.samples import Samples, counted, inverted, measured, of_slot, one


@dataclass(frozen=True, slots=True)
class Gauge:
    """A metric.

    Attributes:
        help: one sentence.
        read: gives (label values, value) of each sample.
        labels: their names.
    """

    help: str
    read: Callable[[Picture], Samples]
    labels: tuple[str, ...] = ()


GAUGES: Final[Mapping[str, Gauge]] = MappingProxyType(
    {
        "cdc_build_info": Gauge(
            "Always 1; the version is in the label.", lambda _: [((samples.release(),), 1.0)], ("version",)
        ),
        "cdc_state": Gauge("1 for the state that all comes to, 0 for the others.", samples.states, ("state",)),
        "cdc_source_up": Gauge("1 while the source database can be asked.", inverted(measures.source_away)),
        "cdc_processes": Gauge("Processes heard of in the last half minute.", counted(samples.processes), ("role",)),
        "cdc_processes_died": Gauge(
            "Processes that ended without a word in the last ten minutes.", measured(measures.died)
        ),
        "cdc_slot_active": Gauge(
            "1 while somebody reads the slot or stands by for it.", inverted(measures.slot_inactive)
        ),
        "cdc_slot_lost": Gauge("1 while the slot that we read is gone.", measured(measures.slot_lost)),
        "cdc_slot_wal_status": Gauge(
            "1 for the slot's wal_status, 0 for the others.", samples.wal_statuses, ("status",)
        ),
        "cdc_slot_retained_bytes": Gauge("WAL that the slot keeps on disk.", of_slot(lambda s: s.retained_wal_bytes)),
        "cdc_slot_safe_bytes": Gauge(
            "WAL that may be written before the slot is lost.", of_slot(lambda s: s.safe_wal_bytes)
        ),
        "cdc_slot_limit_bytes": Gauge(
            "max_slot_wal_keep_size; none without a limit.", of_slot(lambda s: s.limit_bytes)
        ),
        "cdc_slot_runway_seconds": Gauge(
            "Until the slot is lost at this rate, if it comes nearer.", of_slot(measures.runway)
        ),
        "cdc_replication_free": Gauge(
            "Replication slots and WAL senders that the source has left.",
            counted(lambda p: p.outlook.free),
            ("resource",),
        ),
        "cdc_capture_lag_seconds": Gauge("Age of the oldest WAL that isn't captured.", measured(measures.capture_lag)),
        "cdc_capture_lag_bytes": Gauge("WAL that isn't captured.", of_slot(lambda s: s.captured.bytes_behind)),
        "cdc_realtime_up": Gauge(
            "1 while Supabase Realtime, where it is used, is heard.", inverted(measures.realtime_lost)
        ),
        "cdc_gaps": Gauge("Stretches that were never read and aren't repaired.", counted(samples.gaps), ("state",)),
        "cdc_pending_keys": Gauge("Dirty keys, by what they wait for.", samples.pending, ("feed", "lane", "state")),
        "cdc_oldest_pending_seconds": Gauge(
            "Age of the oldest change not in the CRM.", samples.oldest, ("feed", "lane")
        ),
        "cdc_freshness_seconds": Gauge(
            "Age of the oldest change of all that isn't in the CRM.", lambda p: one(p.status.freshness_seconds)
        ),
        "cdc_overdue_seconds": Gauge("Age of the oldest urgent one.", measured(measures.overdue)),
        "cdc_delivered_records": Gauge(
            "Records that the CRM holds.",
            counted(lambda p: {k: float(v) for k, v in p.status.delivered.items()}),
            ("feed",),
        ),
        "cdc_parked_keys": Gauge(
            "Keys that failed for good, held ones among them.", counted(samples.parked), ("feed",)
        ),
        "cdc_parked_recent_keys": Gauge("Of them, parked in the last hour.", measured(measures.parked_hour)),
        "cdc_parked_oldest_seconds": Gauge("How long the oldest has been parked.", measured(measures.parked_age)),
        "cdc_held_keys": Gauge(
            "Keys that the breaker holds.",
            counted(lambda p: {k: float(v) for k, v in p.status.held.items()}),
            ("feed",),
        ),
        "cdc_operations_recent": Gauge(
            "Operations of the last 24 hours.",
            counted(
                lambda p: {
                    "success": p.status.activity.succeeded,
                    "failed": p.status.activity.failed,
                    "retrying": p.status.activity.retrying,
                }
            ),
            ("status",),
        ),
        "cdc_operations_failed_recent": Gauge(
            "Operations that were given up in the last hour.", measured(measures.failed_hour)
        ),
        "cdc_operations_success_ratio": Gauge(
            f"Share of the last 24 hours' that succeeded; none below {measures.LEAST_OPERATIONS}.",
            inverted(measures.failed_share),
        ),
        "cdc_delivery_latency_seconds": Gauge(
            "From commit to the CRM's answer, in the last hour.", samples.latency, ("quantile",)
        ),
        "cdc_volume_deviation": Gauge("Factor between 24 hours and the mean of 14 days.", measured(measures.volume)),
        "cdc_backfill_jobs": Gauge("Bulk jobs under way.", lambda p: one(p.status.jobs)),
        "cdc_replays_unfinished": Gauge("Replays that aren't finished.", lambda p: one(p.status.replays)),
        "cdc_pauses": Gauge("Pauses of delivery.", counted(samples.pauses), ("reason",)),
        "cdc_pause_failures": Gauge(
            "Failures in a row behind them, the most.", counted(samples.pause_failures), ("reason",)
        ),
        "cdc_paused_by_hand_seconds": Gauge("For how long a person has paused.", measured(measures.paused)),
        "cdc_zoho_credits_used": Gauge("API credits spent by us in 24 hours.", lambda p: one(p.status.credits.used)),
        "cdc_zoho_credits_limit": Gauge("That the edition allows.", lambda p: one(p.status.credits.limit)),
        "cdc_zoho_credits_remaining": Gauge("That the CRM says are left, if it said so lately.", samples.remaining),
        "cdc_zoho_credits_last_seconds": Gauge(
            "How long they last at the hour's rate.", measured(measures.credits_last)
        ),
        "cdc_zoho_calls_recent": Gauge(
            "Calls of the last ten minutes, by all processes.",
            counted(lambda p: {"concurrency": 0.0, **{k: float(v) for k, v in p.status.calls.by_outcome.items()}}),
            ("outcome",),
        ),
        "cdc_zoho_call_p95_seconds": Gauge(
            f"Within which 95 % of them were answered; none below {measures.LEAST_CALLS}.", measured(measures.crm_time)
        ),
        "cdc_token_expires_seconds": Gauge("Until the access token expires; negative once it has.", samples.token),
        "cdc_token_minted_recent": Gauge(
            "Access tokens made in ten minutes; Zoho allows ten.",
            lambda p: one(None if p.status.token is None else p.status.token.minted),
        ),
        "cdc_key_fits": Gauge("1 while our key opens what is stored.", inverted(measures.key_missing)),
        "cdc_reconcile_age_seconds": Gauge("Since everything was last compared.", measured(measures.reconcile_age)),
        "cdc_reconcile_compared_records": Gauge("Records compared then.", samples.reconciled("compared")),
        "cdc_reconcile_differing_records": Gauge("Of them, those that differed.", samples.reconciled("differing")),
        "cdc_reconcile_duplicate_records": Gauge(
            "Of them, those that the CRM has twice.", samples.reconciled("duplicates")
        ),
        "cdc_alerts_open": Gauge(
            "Open alerts of our own.",
            counted(lambda p: {s.value: float(p.outlook.alerts.get(s.value, 0)) for s in Severity}),
            ("severity",),
        ),
    }
)
"""By name, in the order in which they are shown."""


def families(picture: Picture) -> Iterator[Metric]:
    """Turn a picture into metrics; those without a sample are left out."""
    for name, gauge in GAUGES.items():
        family = GaugeMetricFamily(name, gauge.help, labels=gauge.labels)
        for values, value in gauge.read(picture):
            family.add_metric(values, value)
        if family.samples:
            yield family
