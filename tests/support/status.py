"""A status to begin a test with: everything is fine until the test says otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cdc.routing.feeds import Lane
from cdc.state.activity import Activity
from cdc.state.calls import CallActivity
from cdc.state.control import Pause
from cdc.state.credits import Spending, Usage
from cdc.state.gaps import Gap
from cdc.state.outbox import Counts
from cdc.watch.slot import Behind, SlotHealth
from cdc.watch.status import Parking, Process, Status, Token

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
MEGABYTE = 1024**2


def behind(count: int | None = 0, seconds: float | None = 0.0) -> Behind:
    return Behind(lsn="0/2000000", bytes_behind=count, seconds_behind=seconds)


def slot(**changes: Any) -> SlotHealth:
    fine = SlotHealth(
        slot="optio_cdc", at=NOW, exists=True, wal_status="reserved", invalidation_reason=None, active_pid=4711,
        failover=False, end_lsn="0/2000000", received=behind(), captured=behind(), acknowledged=behind(),
        retained_wal_bytes=16 * MEGABYTE, safe_wal_bytes=4080 * MEGABYTE, limit_bytes=4096 * MEGABYTE,
        runway_seconds=None,
    )  # fmt: skip
    return replace(fine, **changes)


def activity(**changes: Any) -> Activity:
    fine = Activity(
        succeeded=120, failed=0, retrying=0, failed_hour=0, latency_p50_ms=320.0, latency_p95_ms=900.0, intervals=()
    )
    return replace(fine, **changes)


def spending(**changes: Any) -> Spending:
    fine = Spending(limit=50_250, by_kind={"upsert": Usage(calls=40, credits=120)}, last_hour=5, quarters=())
    return replace(fine, **changes)


def count(feed: str = "contacts", lane: Lane = Lane.LIVE, **changes: Any) -> Counts:
    none = Counts(feed=feed, lane=lane, due=0, gathering=0, in_flight=0, retrying=0, deferred=0, parked=0, oldest=None)
    return replace(none, **changes)


def pause(reason: str = "BY_HAND", scope: str = "zoho", *, until: datetime | None = None, detail: str = "") -> Pause:
    by_hand = reason == "BY_HAND"
    return Pause(scope, until, reason, detail, 0 if by_hand else 3, NOW, "cli:ada@host" if by_hand else None)


def gap(**changes: Any) -> Gap:
    one = Gap(
        1, "SLOT_MISSING", "", "0/1000000", "0/2000000", NOW - timedelta(hours=1), None, NOW, False, False, found=None
    )
    return replace(one, **changes)


def status(**changes: Any) -> Status:
    fine = Status(
        at=NOW,
        pipeline="optio_cdc",
        slot=slot(),
        position="0/2000000",
        captured_at=NOW,
        swept_at=NOW - timedelta(hours=7),
        outbox=[],
        delivered={"contacts": 268},
        activity=activity(),
        credits=spending(),
        held={},
        pauses=[],
        gaps=[],
        workers=[Process("host-1-abc", "host", 1, "capture", NOW - timedelta(hours=8), NOW)],
        died=0,
        calls=CallActivity(by_outcome={"ok": 40}, by_band=(10, 25, 5, 0, 0, 0, 0)),
        parking=Parking(),
        doorbell=None,
        token=Token(expires_at=NOW + timedelta(minutes=40), minted=1),
        jobs=0,
        replays=0,
    )
    return replace(fine, **changes)
