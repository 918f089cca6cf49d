"""Rules about the source, the slot, and how far capture is behind."""

from __future__ import annotations

from typing import Final

from cdc.watch.alerts import measures
from cdc.watch.alerts.rule import Rule, Unit, bounds

_GIB: Final = 1024.0**3
_HOUR: Final = 3_600.0
_LOST: Final = ("CdcSlotLost",)

CAPTURE_RULES: Final = (
    Rule(
        name="CdcSourceUnreachable", anchor="stalled", levels=bounds(warning=0, critical=0, hold=60, critical_hold=300),
        measure=measures.source_away, query="1 - cdc_source_up",
        what="the source database can't be reached",
        next="nothing is lost while the slot is kept; changes wait in its WAL",
        command="cdc doctor",
    ),
    Rule(
        name="CdcSlotLost", anchor="slot-lost", levels=bounds(critical=0),
        measure=measures.slot_lost, query="cdc_slot_lost",
        what="the replication slot is lost: what was written since isn't captured",
        next="`cdc run` makes a new slot and compares everything, which takes calls to the CRM for what differs",
        command="cdc slot",
    ),
    Rule(
        name="CdcSlotInactive", anchor="slot-inactive", hidden_by=_LOST, graced=True,
        levels=bounds(warning=0, critical=0, hold=120, critical_hold=600),
        measure=measures.slot_inactive, query="1 - cdc_slot_active",
        what="nobody reads the replication slot",
        next="changes wait in the WAL, which the slot holds back until it is lost",
        command="cdc status",
    ),
    Rule(
        name="CdcSlotWalRetained", anchor="slot-at-risk", levels=bounds(warning=0.5, critical=0.8),
        measure=measures.of_slot(measures.retained_share), query="cdc_slot_retained_bytes / cdc_slot_limit_bytes",
        unit=Unit.SHARE, hidden_by=_LOST,
        what="the slot holds {value} of the WAL that it may",
        next="at 100 % it is lost, and everything must be compared anew",
        command="cdc slot",
    ),
    Rule(
        name="CdcSlotWalUnlimited", anchor="slot-at-risk", levels=bounds(warning=_GIB, critical=4 * _GIB),
        measure=measures.of_slot(measures.retained_bytes),
        query="cdc_slot_retained_bytes unless cdc_slot_limit_bytes",
        unit=Unit.BYTES, hidden_by=_LOST,
        what="the slot holds {value} of WAL, and the server sets no limit but its disk",
        next="a full disk stops the database",
        command="cdc slot",
    ),
    Rule(
        name="CdcSlotRunway", anchor="slot-at-risk", levels=bounds(warning=6 * _HOUR, critical=_HOUR), below=True,
        measure=measures.of_slot(measures.runway), query="cdc_slot_runway_seconds",
        unit=Unit.SECONDS, hidden_by=_LOST,
        what="the slot will be lost in {value} at this rate",
        next="once it is lost, everything must be compared anew",
        command="cdc slot",
    ),
    Rule(
        name="CdcSlotWalStatus", anchor="slot-at-risk",
        levels=bounds(warning=0, critical=1, hold=120, critical_hold=0),
        measure=measures.of_slot(measures.wal_status),
        query='sum without (status) (cdc_slot_wal_status{status="extended"}'
        ' or 2 * cdc_slot_wal_status{status="unreserved"})',
        hidden_by=_LOST,
        what="the server keeps more WAL for the slot than it ordinarily would (level {value} of 2)",
        next="level 2 means that the next checkpoint may take it away",
        command="cdc slot",
    ),
    Rule(
        name="CdcSlotsExhausted", anchor="slots", levels=bounds(warning=2, critical=1), below=True,
        measure=measures.free_least, query="min without (resource) (cdc_replication_free)",
        what="the source has {value} replication slots or WAL senders left",
        next="with none left, a new slot can't be made after a loss, nor a reader connect",
        command="cdc slot",
    ),
    Rule(
        name="CdcCaptureStalled", anchor="stalled", levels=bounds(critical=300), graced=True,
        measure=measures.capture_lag, query="cdc_capture_lag_seconds",
        unit=Unit.SECONDS, hidden_by=(*_LOST, "CdcGapUndecided", "CdcSlotInactive"),
        what="capture is {value} behind the server's WAL",
        next="nothing new reaches the CRM, and the slot holds more and more WAL back",
        command="cdc slot",
    ),
    Rule(
        name="CdcReplicationLag", anchor="stalled", levels=bounds(warning=30, hold=120), graced=True,
        measure=measures.capture_lag, query="cdc_capture_lag_seconds",
        unit=Unit.SECONDS, hidden_by=(*_LOST, "CdcGapUndecided", "CdcSlotInactive", "CdcCaptureStalled"),
        what="capture is {value} behind the server's WAL",
        next="changes reach the CRM later; beyond 5 minutes capture counts as stalled",
        command="cdc slot",
    ),
    Rule(
        name="CdcRealtimeLost", anchor="realtime", levels=bounds(warning=0, critical=0, hold=120, critical_hold=900),
        measure=measures.realtime_lost, query="1 - cdc_realtime_up",
        what="Supabase Realtime isn't heard",
        next="changes are found by sweeps alone, which is later",
        command="cdc status",
    ),
    Rule(
        name="CdcGapUndecided", anchor="gap", levels=bounds(critical=0),
        measure=measures.undecided, query='sum without (state) (cdc_gaps{state="undecided"})',
        what="capture and delivery wait for a person to decide on a gap",
        next="nothing reaches the CRM until then",
        command="cdc slot",
    ),
    Rule(
        name="CdcGapOpen", anchor="gap",
        levels=bounds(warning=0, critical=0, hold=_HOUR, critical_hold=6 * _HOUR),
        measure=measures.gaps_open, query='sum without (state) (cdc_gaps{state="open"})',
        what="{value} gaps in what was captured aren't repaired",
        next="a sweep finds what changed in them; until then the CRM may be out of step",
        command="cdc slot",
    ),
    Rule(
        name="CdcWorkerFlapping", anchor="workers", levels=bounds(warning=2, critical=10),
        measure=measures.died, query="cdc_processes_died",
        what="{value} processes ended without a word in ten minutes",
        next="each one's work waits for its lease to run out before another one takes it",
        command="cdc status",
    ),
    Rule(
        name="CdcKeyMissing", anchor="keys", levels=bounds(critical=0),
        measure=measures.key_missing, query="1 - cdc_key_fits",
        what="CDC_ENCRYPTION_KEY doesn't open what is stored",
        next="nobody can sign in to the CRM, so nothing is delivered",
        command="cdc doctor",
    ),
)  # fmt: skip
"""In the order in which they are told."""
