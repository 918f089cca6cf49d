"""Pictures in which each alert is just beyond a bound, just below it, or can't be judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from cdc.routing.feeds import Lane
from cdc.state.alerts import Severity
from cdc.state.calls import CallActivity, Told
from cdc.state.credits import Usage
from cdc.watch.outlook import Outlook, Picture, Reconciled, Volume
from cdc.watch.status import Doorbell, Parking
from sinks.reasons import Reason
from tests.support.status import MEGABYTE, NOW, activity, behind, count, gap, pause, slot, spending, status

GIB = 1024 * MEGABYTE
HOUR = timedelta(hours=1)

OUTLOOK = Outlook(
    volume=Volume(day=1000, mean=900.0, days=14),
    reconciled=Reconciled(NOW - HOUR, 10_000, 3, 0),
    free={"slots": 3, "senders": 8},
    key_fits=True,
    alerts={},
)


def picture(outlook: Mapping[str, Any] | None = None, **changes: Any) -> Picture:
    """A status and what else is looked at, in which all is well but for the changes."""
    fine = replace(OUTLOOK, **(outlook or {}))
    return Picture(status(**changes), fine)


def used(credits: int, **changes: Any) -> Any:
    return spending(by_kind={"upsert": Usage(calls=1, credits=credits)}, **changes)


def calls(outcomes: Mapping[str, int], bands: tuple[int, ...] = (30, 0, 0, 0, 0, 0, 0)) -> CallActivity:
    return CallActivity(by_outcome=dict(outcomes), by_band=bands)


def no_limit(retained: float) -> Any:
    return slot(limit_bytes=None, safe_wal_bytes=None, retained_wal_bytes=int(retained))


def failing(reason: str, failures: int) -> Any:
    return replace(pause(reason, until=NOW), failures=failures)


def ago(**span: float) -> Any:
    return NOW - timedelta(**span)


BELL = Doorbell("live", None, NOW, NOW + timedelta(seconds=1), 12, 1, NOW, 40)
NO_SLOT = {"slot": slot(exists=False, wal_status=None), "position": None, "captured_at": None}
PARKED = [count(parked=1)]

Case = tuple[str, Severity | None, Picture]
WARNING, CRITICAL, INFO = Severity.WARNING, Severity.CRITICAL, Severity.INFO

CASES: list[Case] = [
    ("CdcSourceUnreachable", CRITICAL, picture({"free": {}}, slot=None)),
    ("CdcSlotLost", CRITICAL, picture(slot=slot(wal_status="lost", invalidation_reason="wal_removed"))),
    ("CdcSlotLost", CRITICAL, picture(slot=slot(exists=False, wal_status=None))),
    ("CdcSlotInactive", CRITICAL, picture(workers=[], slot=slot(active_pid=None))),
    ("CdcSlotInactive", None, picture(workers=[])),
    ("CdcSlotWalRetained", None, picture(slot=slot(retained_wal_bytes=2048 * MEGABYTE))),
    ("CdcSlotWalRetained", WARNING, picture(slot=slot(retained_wal_bytes=2049 * MEGABYTE))),
    ("CdcSlotWalRetained", CRITICAL, picture(slot=slot(retained_wal_bytes=3278 * MEGABYTE))),
    ("CdcSlotWalUnlimited", None, picture(slot=no_limit(GIB))),
    ("CdcSlotWalUnlimited", WARNING, picture(slot=no_limit(GIB + 1))),
    ("CdcSlotWalUnlimited", CRITICAL, picture(slot=no_limit(4 * GIB + 1))),
    ("CdcSlotRunway", WARNING, picture(slot=slot(runway_seconds=6 * 3600 - 1.0))),
    ("CdcSlotRunway", CRITICAL, picture(slot=slot(runway_seconds=3599.0))),
    ("CdcSlotRunway", None, picture(slot=slot(runway_seconds=6 * 3600.0))),
    ("CdcSlotWalStatus", WARNING, picture(slot=slot(wal_status="extended"))),
    ("CdcSlotWalStatus", CRITICAL, picture(slot=slot(wal_status="unreserved"))),
    ("CdcSlotsExhausted", WARNING, picture({"free": {"slots": 1, "senders": 8}})),
    ("CdcSlotsExhausted", CRITICAL, picture({"free": {"slots": 3, "senders": 0}})),
    ("CdcSlotsExhausted", None, picture({"free": {"slots": 2, "senders": 2}})),
    ("CdcCaptureStalled", CRITICAL, picture(slot=slot(captured=behind(9_000_000, 301.0)))),
    ("CdcCaptureStalled", CRITICAL, picture(slot=slot(captured=behind(20_000_000, None)))),
    ("CdcCaptureStalled", None, picture(slot=slot(captured=behind(9_000_000, 300.0)))),
    ("CdcReplicationLag", WARNING, picture(slot=slot(captured=behind(9_000_000, 31.0)))),
    ("CdcReplicationLag", None, picture(slot=slot(captured=behind(9_000_000, 30.0)))),
    ("CdcRealtimeLost", CRITICAL, picture(doorbell=replace(BELL, state="lost", cause="closed"), **NO_SLOT)),
    ("CdcRealtimeLost", None, picture(doorbell=BELL, **NO_SLOT)),
    ("CdcGapUndecided", CRITICAL, picture(gaps=[gap(needs_decision=True, repaired_at=None)])),
    ("CdcGapOpen", CRITICAL, picture(gaps=[gap(repaired_at=None)])),
    ("CdcWorkerFlapping", None, picture(died=2)),
    ("CdcWorkerFlapping", WARNING, picture(died=3)),
    ("CdcWorkerFlapping", CRITICAL, picture(died=11)),
    ("CdcKeyMissing", CRITICAL, picture({"key_fits": False})),
    ("CdcTokenRefreshFailing", CRITICAL, picture(pauses=[failing("TOKEN_INVALID", 1)])),
    ("CdcTokenRefreshFailing", CRITICAL, picture(pauses=[failing("CLIENT_INVALID", 2)])),
    ("CdcTokenThrottled", WARNING, picture(pauses=[failing("TOKEN_THROTTLED", 1)])),
    ("CdcTokenThrottled", CRITICAL, picture(pauses=[failing("TOKEN_THROTTLED", 3)])),
    ("CdcZohoErrors", None, picture(calls=calls({"ok": 95, "server_error": 5}))),
    ("CdcZohoErrors", None, picture(calls=calls({"ok": 2, "server_error": 2}))),
    ("CdcZohoErrors", WARNING, picture(calls=calls({"ok": 94, "server_error": 4, "no_answer": 2}))),
    ("CdcZohoErrors", CRITICAL, picture(calls=calls({"ok": 5, "not_sent": 3}))),
    ("CdcZohoSlow", None, picture(calls=calls({"ok": 40}, (0, 0, 0, 38, 2, 0, 0)))),
    ("CdcZohoSlow", WARNING, picture(calls=calls({"ok": 40}, (0, 0, 0, 37, 3, 0, 0)))),
    ("CdcZohoSlow", CRITICAL, picture(calls=calls({"ok": 40}, (0, 0, 0, 30, 7, 3, 0)))),
    ("CdcConcurrencyLimited", None, picture(calls=calls({"ok": 40, "concurrency": 5}))),
    ("CdcConcurrencyLimited", WARNING, picture(calls=calls({"ok": 40, "concurrency": 6}))),
    ("CdcConcurrencyLimited", CRITICAL, picture(calls=calls({"ok": 40, "concurrency": 51}))),
    ("CdcCreditsHigh", None, picture(credits=used(40_200))),
    ("CdcCreditsHigh", WARNING, picture(credits=used(40_201))),
    ("CdcCreditsHigh", WARNING, picture(credits=used(45_225))),
    ("CdcCreditsHigh", CRITICAL, picture(credits=used(45_226))),
    ("CdcCreditsForecast", WARNING, picture(credits=used(20_250, last_hour=5_001))),
    ("CdcCreditsForecast", CRITICAL, picture(credits=used(20_250, last_hour=30_001))),
    ("CdcCreditsUnexplained", None, picture(credits=used(25_000, told=Told(20_250, NOW)))),
    ("CdcCreditsUnexplained", WARNING, picture(credits=used(25_000, told=Told(20_000, NOW)))),
    ("CdcCreditsUnexplained", CRITICAL, picture(credits=used(25_000, told=Told(10_000, NOW)))),
    ("CdcMappingBroken", CRITICAL, picture(pauses=[failing("VIEW_UNREADABLE", 1)])),
    ("CdcSyncFreshness", None, picture(outbox=[count(due=1, oldest=ago(seconds=60))])),
    ("CdcSyncFreshness", WARNING, picture(outbox=[count(due=1, oldest=ago(seconds=61))])),
    ("CdcSyncFreshness", CRITICAL, picture(outbox=[count(due=1, oldest=ago(seconds=901))])),
    ("CdcSyncFreshness", None, picture(outbox=[count(lane=Lane.ROLLUP, due=1, oldest=ago(seconds=901))])),
    ("CdcQueueDepth", None, picture(outbox=[count(due=60, retrying=40, gathering=500, deferred=500)])),
    ("CdcQueueDepth", WARNING, picture(outbox=[count(due=60, retrying=40), count("tasks", in_flight=1)])),
    ("CdcQueueDepth", CRITICAL, picture(outbox=[count(due=1_001)])),
    ("CdcQueueDepth", None, picture(outbox=[count(lane=Lane.BULK, due=500)])),
    ("CdcFailedSyncs", None, picture(activity=activity(failed_hour=10))),
    ("CdcFailedSyncs", WARNING, picture(activity=activity(failed_hour=11))),
    ("CdcFailedSyncs", CRITICAL, picture(activity=activity(failed_hour=51))),
    ("CdcSuccessRate", None, picture(activity=activity(succeeded=48, failed=1))),
    ("CdcSuccessRate", WARNING, picture(activity=activity(succeeded=993, failed=7))),
    ("CdcSuccessRate", CRITICAL, picture(activity=activity(succeeded=98, failed=2))),
    ("CdcDeadLettersGrowing", None, picture(outbox=PARKED, parking=Parking(4, ago(hours=1)))),
    ("CdcDeadLettersGrowing", WARNING, picture(outbox=PARKED, parking=Parking(5, ago(hours=1)))),
    ("CdcDeadLettersOld", None, picture(outbox=PARKED, parking=Parking(1, ago(hours=24)))),
    ("CdcDeadLettersOld", WARNING, picture(outbox=PARKED, parking=Parking(1, ago(hours=25)))),
    ("CdcDeadLettersOld", CRITICAL, picture(outbox=PARKED, parking=Parking(1, ago(days=8)))),
    ("CdcHeld", CRITICAL, picture(held={"contacts": 168})),
    ("CdcPausedLong", None, picture(pauses=[replace(pause("BY_HAND", "*"), updated_at=ago(hours=1))])),
    ("CdcPausedLong", WARNING, picture(pauses=[replace(pause("BY_HAND", "*"), updated_at=ago(hours=2))])),
    ("CdcPausedLong", CRITICAL, picture(pauses=[replace(pause("BY_HAND", "*"), updated_at=ago(hours=25))])),
    ("CdcFullResyncStarted", None, picture(outbox=[count(lane=Lane.BULK, due=500)])),
    ("CdcFullResyncStarted", INFO, picture(outbox=[count(lane=Lane.BULK, due=500, in_flight=1)])),
    ("CdcVolumeDeviation", None, picture({"volume": Volume(2_700, 900.0, 14)})),
    ("CdcVolumeDeviation", WARNING, picture({"volume": Volume(299, 900.0, 14)})),
    ("CdcVolumeDeviation", CRITICAL, picture({"volume": Volume(9_001, 900.0, 14)})),
    ("CdcVolumeDeviation", CRITICAL, picture({"volume": Volume(0, 900.0, 14)})),
    ("CdcDrift", None, picture({"reconciled": Reconciled(ago(hours=1), 10_000, 100, 0)})),
    ("CdcDrift", WARNING, picture({"reconciled": Reconciled(ago(hours=1), 10_000, 101, 0)})),
    ("CdcDrift", CRITICAL, picture({"reconciled": Reconciled(ago(hours=1), 10_000, 501, 0)})),
    ("CdcReconcileStale", None, picture({"reconciled": Reconciled(ago(hours=26), 10, 0, 0)})),
    ("CdcReconcileStale", WARNING, picture({"reconciled": Reconciled(ago(hours=27), 10, 0, 0)})),
    ("CdcReconcileStale", CRITICAL, picture({"reconciled": Reconciled(ago(hours=51), 10, 0, 0)})),
    ("CdcDuplicates", WARNING, picture({"reconciled": Reconciled(ago(hours=1), 10, 0, 1)})),
    ("CdcDuplicates", CRITICAL, picture({"reconciled": Reconciled(ago(hours=1), 10, 0, 20)})),
]
"""(alert, severity once it has been so for as long as the rule asks, picture)"""

UNKNOWN: list[tuple[str, Picture]] = [
    ("CdcCaptureStalled", picture(slot=slot(captured=behind(9_000, None)))),
    *(
        (name, picture({"free": {}}, slot=None))
        for name in (
            "CdcSlotLost", "CdcSlotWalRetained", "CdcSlotWalUnlimited", "CdcSlotRunway", "CdcSlotWalStatus",
            "CdcSlotsExhausted", "CdcCaptureStalled", "CdcReplicationLag",
        )
    ),
    ("CdcZohoErrors", picture(calls=calls({}, (0,) * 7))),
    ("CdcCreditsUnexplained", picture()),
    ("CdcCreditsUnexplained", picture(credits=used(1, told=Told(1, ago(minutes=16))))),
    ("CdcVolumeDeviation", picture({"volume": Volume(5, 900.0, 6)})),
    ("CdcVolumeDeviation", picture({"volume": None})),
    *((name, picture({"reconciled": None})) for name in ("CdcDrift", "CdcReconcileStale", "CdcDuplicates")),
]  # fmt: skip

assert "VIEW_UNREADABLE" in Reason.__members__  # a pause names a reason that there is
