"""Rules about the CRM, and what reaches it."""

from __future__ import annotations

from typing import Final

from cdc.watch.alerts import measures
from cdc.watch.alerts.rule import Rule, Unit, bounds

_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0
_DAY: Final = 86_400.0
_WAITING: Final = 'state=~"due|in_flight|retrying"'
_AWAY: Final = ("CdcGapUndecided", "CdcTokenRefreshFailing", "CdcKeyMissing")


def _one_of(names: frozenset[str]) -> str:
    return "|".join(sorted(names))


DELIVERY_RULES: Final = (
    Rule(
        name="CdcTokenRefreshFailing", anchor="token", hidden_by=("CdcKeyMissing",),
        levels=bounds(warning=1, critical=0, critical_hold=5 * _MINUTE),
        measure=measures.failures_of(measures.SIGN_IN),
        query=f'max without (reason) (cdc_pause_failures{{reason=~"{_one_of(measures.SIGN_IN)}"}})',
        what="the CRM doesn't let us in ({value} failures in a row)",
        next="nothing is delivered; capture goes on and nothing is lost",
        command="cdc login zoho",
    ),
    Rule(
        name="CdcTokenThrottled", anchor="token", levels=bounds(warning=0, critical=2),
        measure=measures.failures_of({"TOKEN_THROTTLED"}),
        query='max without (reason) (cdc_pause_failures{reason="TOKEN_THROTTLED"})',
        what="Zoho gives out no more access tokens for now ({value} refusals in a row)",
        next="delivery waits for ten minutes at a time; a second program with the same client may be the cause",
        command="cdc status",
    ),
    Rule(
        name="CdcZohoErrors", anchor="zoho-down", levels=bounds(warning=0.05, critical=0.25),
        measure=measures.crm_errors,
        query='sum without (outcome) (cdc_zoho_calls_recent{outcome=~"no_answer|not_sent|server_error"})'
        " / sum without (outcome) (cdc_zoho_calls_recent)"
        ' and sum without (outcome) (cdc_zoho_calls_recent{outcome=~"no_answer|not_sent|server_error"})'
        f" >= {measures.LEAST_FAILED}",
        unit=Unit.SHARE,
        what="{value} of the calls to the CRM in ten minutes failed on its side",
        next="delivery pauses, tries again by itself, and loses nothing",
        command="cdc status",
    ),
    Rule(
        name="CdcZohoSlow", anchor="zoho-slow", levels=bounds(warning=3, critical=10),
        measure=measures.crm_time, query="cdc_zoho_call_p95_seconds",
        unit=Unit.SECONDS, hidden_by=("CdcZohoErrors",),
        what="one of twenty calls to the CRM takes longer than {value}",
        next="delivery slows down; nothing is lost",
        command="cdc status",
    ),
    Rule(
        name="CdcConcurrencyLimited", anchor="concurrency", levels=bounds(warning=5, critical=50),
        measure=measures.concurrency,
        query='sum without (outcome) (cdc_zoho_calls_recent{outcome="concurrency"})',
        what="the CRM turned {value} calls away in ten minutes because there were too many at once",
        next="they are tried again; delivery slows down",
        command="cdc status",
    ),
    Rule(
        name="CdcCreditsHigh", anchor="credits", levels=bounds(warning=0.8, critical=0.9),
        measure=measures.credits_used, query="cdc_zoho_credits_used / cdc_zoho_credits_limit",
        unit=Unit.SHARE,
        what="{value} of the CRM's API credits of 24 hours are spent",
        next="what isn't urgent waits, then everything does until credits come back",
        command="cdc status",
    ),
    Rule(
        name="CdcCreditsForecast", anchor="credits", levels=bounds(warning=6 * _HOUR, critical=_HOUR), below=True,
        measure=measures.credits_last, query="cdc_zoho_credits_last_seconds",
        unit=Unit.SECONDS,
        what="at the rate of the last hour the API credits last for {value}",
        next="what isn't urgent waits, then everything does until credits come back",
        command="cdc status",
    ),
    Rule(
        name="CdcCreditsUnexplained", anchor="credits", levels=bounds(warning=0.1, critical=0.3),
        measure=measures.credits_unexplained,
        query="(cdc_zoho_credits_limit - cdc_zoho_credits_remaining - cdc_zoho_credits_used) / cdc_zoho_credits_limit",
        unit=Unit.SHARE,
        what="{value} of the API credits were spent by another program",
        next="ours run out sooner than we can tell; the edition in ZOHO_EDITION may be the wrong one as well",
        command="cdc doctor",
    ),
    Rule(
        name="CdcMappingBroken", anchor="mapping", levels=bounds(critical=0),
        measure=measures.mapping_broken,
        query=f'sum without (reason) (cdc_pauses{{reason=~"{_one_of(measures.MAPPING)}"}})',
        what="{value} feeds stand because tables, view and CRM don't fit each other",
        next="their changes wait; the other feeds go on",
        command="cdc status",
    ),
    Rule(
        name="CdcSyncFreshness", anchor="lag", in_pause=False, graced=True, hidden_by=("CdcSlotLost", *_AWAY),
        levels=bounds(warning=60, critical=900, hold=120, critical_hold=0),
        measure=measures.overdue, query="cdc_overdue_seconds",
        unit=Unit.SECONDS,
        what="the oldest urgent change that isn't in the CRM is {value} old",
        next="people see old data in the CRM; nothing is lost",
        command="cdc status",
    ),
    Rule(
        name="CdcQueueDepth", anchor="backlog", in_pause=False, graced=True, hidden_by=_AWAY,
        levels=bounds(warning=100, critical=1_000, hold=300),
        measure=measures.queue_depth,
        query=f'sum without (feed, lane, state) (cdc_pending_keys{{lane!="bulk", {_WAITING}}})',
        what="{value} records wait for delivery",
        next="they are delivered in turn, the urgent ones first",
        command="cdc status",
    ),
    Rule(
        name="CdcFailedSyncs", anchor="failures", levels=bounds(warning=10, critical=50),
        measure=measures.failed_hour, query="cdc_operations_failed_recent",
        what="{value} deliveries failed for good in the last hour",
        next="these records stay as they are in the CRM until a person acts or their data change",
        command="cdc failures list",
    ),
    Rule(
        name="CdcSuccessRate", anchor="failures", levels=bounds(warning=0.005, critical=0.01),
        measure=measures.failed_share, query="1 - cdc_operations_success_ratio",
        unit=Unit.SHARE,
        what="{value} of the deliveries of 24 hours failed",
        next="these records stay as they are in the CRM until a person acts or their data change",
        command="cdc failures list",
    ),
    Rule(
        name="CdcDeadLettersGrowing", anchor="dead-letters", levels=bounds(warning=4),
        measure=measures.parked_hour, query="cdc_parked_recent_keys", hidden_by=("CdcFailedSyncs",),
        what="{value} records were parked in the last hour",
        next="these records stay as they are in the CRM until a person acts or their data change",
        command="cdc failures list",
    ),
    Rule(
        name="CdcDeadLettersOld", anchor="dead-letters", levels=bounds(warning=_DAY, critical=7 * _DAY),
        measure=measures.parked_age, query="cdc_parked_oldest_seconds",
        unit=Unit.SECONDS,
        what="a record has been parked for {value}",
        next="it stays as it is in the CRM until a person acts or its data change",
        command="cdc failures list",
    ),
    Rule(
        name="CdcHeld", anchor="held", levels=bounds(warning=0, critical=0, critical_hold=_DAY),
        measure=measures.held, query="sum without (feed) (cdc_held_keys)",
        what="the breaker holds {value} records",
        next="they stay as they are in the CRM until a person approves or rejects",
        command="cdc held",
    ),
    Rule(
        name="CdcPausedLong", anchor="paused", levels=bounds(warning=_HOUR, critical=_DAY),
        measure=measures.paused, query="cdc_paused_by_hand_seconds",
        unit=Unit.SECONDS,
        what="a person paused delivery {value} ago",
        next="changes are captured and wait until it is resumed",
        command="cdc status",
    ),
    Rule(
        name="CdcFullResyncStarted", anchor="backfill", levels=bounds(info=500),
        measure=measures.backfill_depth,
        query=f'sum without (feed, lane, state) (cdc_pending_keys{{lane="bulk", {_WAITING}}})',
        what="{value} records of a backfill, a repair or a replay are being sent",
        next="live changes go first",
        command="cdc backfill status",
    ),
    Rule(
        name="CdcVolumeDeviation", anchor="volume", hidden_by=("CdcFullResyncStarted",),
        levels=bounds(warning=3, critical=10, hold=_HOUR),
        measure=measures.volume, query="cdc_volume_deviation",
        unit=Unit.TIMES,
        what="deliveries of 24 hours differ from the mean of 14 days by a factor of {value}",
        next="nothing by itself: either the app's use changed, or something feeds us too much or nothing",
        command="cdc status",
    ),
    Rule(
        name="CdcDrift", anchor="drift", levels=bounds(warning=0.01, critical=0.05),
        measure=measures.drift, query="cdc_reconcile_differing_records / cdc_reconcile_compared_records",
        unit=Unit.SHARE,
        what="{value} of the records differed when source, ledger and CRM were last compared",
        next="what may be put right by itself is; the rest waits for a person",
        command="cdc reconcile",
    ),
    Rule(
        name="CdcReconcileStale", anchor="reconcile", levels=bounds(warning=26 * _HOUR, critical=50 * _HOUR),
        measure=measures.reconcile_age, query="cdc_reconcile_age_seconds",
        unit=Unit.SECONDS,
        what="source, ledger and CRM were last compared {value} ago",
        next="what went missing without an error isn't noticed",
        command="cdc reconcile",
    ),
    Rule(
        name="CdcDuplicates", anchor="duplicates", levels=bounds(warning=0, critical=19),
        measure=measures.duplicates, query="cdc_reconcile_duplicate_records",
        what="the CRM has several records for {value} of ours",
        next="only one of each is kept up to date",
        command="cdc reconcile",
    ),
)  # fmt: skip
"""In the order in which they are told."""
