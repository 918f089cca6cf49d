"""What a status comes to: one state, why, and what to do about it. Pure.

The checks stand in the order of urgency and the first that matches wins, so that whoever looks is told of the cause
and not of what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cdc.state.control import BULK_SCOPE, EVERYTHING
from cdc.state.gaps import HOLD_REASONS
from cdc.watch.status import Status
from sinks.reasons import Fault, Reason

STALLED_SECONDS: Final = 300.0
"""Capture that is so far behind has stalled."""
LAGGING_SECONDS: Final = 60.0
"""Of an urgent change that is older than this and not in the CRM, delivery lags."""
SLOT_USED_SHARE: Final = 0.5
"""From here on the slot is at risk: share of `max_slot_wal_keep_size` that it holds."""
RETAINED_BYTES: Final = 1024**3
"""The same where the server sets no limit: the disk is the limit."""
CREDITS_LOW_SHARE: Final = 0.8
CREDITS_LOW_SECONDS: Final = 6 * 3_600.0
FAILED_HOUR: Final = 10


class State(StrEnum):
    """How things stand, the most urgent first."""

    SLOT_LOST = "slot_lost"
    UNDECIDED = "undecided"
    AUTH_BROKEN = "auth_broken"
    STALLED = "stalled"
    SLOT_AT_RISK = "slot_at_risk"
    CREDITS_EXHAUSTED = "credits_exhausted"
    PAUSED = "paused"
    CREDITS_LOW = "credits_low"
    DEGRADED = "degraded"
    LAGGING = "lagging"
    BACKFILLING = "backfilling"
    STARTING = "starting"
    STANDBY = "standby"
    HEALTHY = "healthy"

    @property
    def is_broken(self) -> bool:
        """True when changes don't get through and it won't mend by itself; `/syncz` then says 503."""
        return self in {State.SLOT_LOST, State.UNDECIDED, State.AUTH_BROKEN, State.STALLED}

    @property
    def is_fine(self) -> bool:
        """True when nobody needs to look."""
        return self in {State.BACKFILLING, State.STARTING, State.STANDBY, State.HEALTHY}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a status comes to.

    Attributes:
        state: the most urgent one that applies.
        why: one sentence.
        todo: what a person should do; empty if nothing.
        command: that shows more or does it; empty if there is none.
        anchor: of the runbook's section.
        since: when it began, if that is known.
    """

    state: State
    why: str
    todo: str = ""
    command: str = ""
    anchor: str = ""
    since: datetime | None = None


def judge(status: Status, *, standing_by: bool = False) -> Condition:
    """Say what a status comes to.

    Args:
        status: what was read.
        standing_by: the process that asks waits for another one to end.
    """
    for check in _CHECKS:
        found = check(status)
        if found is not None:
            return found
    if standing_by:
        return Condition(State.STANDBY, "another process captures; this one takes over when it ends")
    return Condition(State.HEALTHY, "every change is in the CRM, or on its way")


def _slot_lost(status: Status) -> Condition | None:
    if not status.is_slot_lost:
        return None
    slot = status.slot
    why = slot.invalidation_reason if slot is not None and slot.exists else "it is missing"
    return Condition(
        State.SLOT_LOST,
        f"the replication slot is lost ({why or 'the server removed its WAL'}): what was written since isn't captured",
        "start `cdc run`: it makes a new slot and compares everything, so that nothing is lost",
        "cdc slot",
        "slot-lost",
    )


def _undecided(status: Status) -> Condition | None:
    gap = next((gap for gap in status.gaps if gap.is_undecided), None)
    if gap is None:
        return None
    return Condition(
        State.UNDECIDED,
        f"capture and delivery wait for a person: {gap.meaning}",
        "look at what was found, then decide",
        "cdc slot repair",
        "gap",
        gap.detected_at,
    )


def _auth_broken(status: Status) -> Condition | None:
    for pause in status.pauses:
        reason = Reason.__members__.get(pause.reason)
        if reason is not None and reason.fault is Fault.AUTH and reason is not Reason.TOKEN_THROTTLED:
            return Condition(
                State.AUTH_BROKEN,
                f"the CRM doesn't let us in: {reason.meaning} Capture goes on and nothing is lost.",
                reason.hint,
                "cdc login zoho",
                "token",
                pause.updated_at,
            )
    return None


def _stalled(status: Status) -> Condition | None:
    if status.slot is None:
        return Condition(
            State.STALLED, "the source database can't be reached", "see whether it runs", "cdc doctor", "stalled"
        )
    if status.position is None and not status.by_doorbell:
        return None
    if not any(worker.role == "capture" for worker in status.workers):
        return Condition(State.STALLED, "no process captures", "start `cdc run`", "cdc run", "stalled")
    bell = status.doorbell
    if bell is not None and status.by_doorbell:
        if bell.state == "lost":
            return Condition(
                State.STALLED,
                f"Realtime isn't heard ({bell.cause or 'no cause known'}); sweeps go on",
                "see the log; it is joined anew by itself",
                "cdc status",
                "realtime",
                bell.heard_at,
            )
        return None
    behind = status.slot.captured.seconds_behind
    if behind is not None and behind > STALLED_SECONDS:
        return Condition(
            State.STALLED,
            f"capture is {behind / 60:.0f} min behind the server's WAL",
            "see `capture_interrupted` in the log, and who holds WAL back",
            "cdc slot",
            "stalled",
        )
    return None


def _slot_at_risk(status: Status) -> Condition | None:
    slot = status.slot
    if slot is None or not slot.exists:
        return None
    held, limit = slot.retained_wal_bytes or 0, slot.limit_bytes
    much = held > limit * SLOT_USED_SHARE if limit else held > RETAINED_BYTES
    if not much and slot.wal_status not in {"extended", "unreserved"}:
        return None
    of = f" of {limit / 1024**2:.0f} MB" if limit else "; the server sets no limit but its disk"
    left = "" if slot.runway_seconds is None else f"; lost in {slot.runway_seconds / 60:.0f} min at this rate"
    return Condition(
        State.SLOT_AT_RISK,
        f"the slot holds {held / 1024**2:.0f} MB{of} of WAL back{left}",
        "see what holds it back: a stopped capture, a long transaction, another slot",
        "cdc slot",
        "slot-at-risk",
    )


def _credits_exhausted(status: Status) -> Condition | None:
    paused = next((pause for pause in status.pauses if pause.reason == Reason.CREDITS_EXHAUSTED.name), None)
    if paused is None and status.credits.used < status.credits.limit:
        return None
    return Condition(
        State.CREDITS_EXHAUSTED,
        f"the API credits of the last 24 hours are used up ({status.credits.used} of {status.credits.limit} by us)",
        "nothing: delivery goes on as credits come back; see what spent them",
        "cdc status",
        "credits",
        None if paused is None else paused.updated_at,
    )


def _paused(status: Status) -> Condition | None:
    pause = next(iter(sorted(status.pauses, key=lambda p: (p.actor is None, p.until is not None))), None)
    if pause is None:
        return None
    what = f"delivery to {pause.scope} is" if pause.scope != EVERYTHING else "all delivery is"
    if pause.actor is not None:
        until = "" if pause.until is None else f" until {pause.until:%Y-%m-%d %H:%M} UTC"
        why, todo = f"by {pause.actor}: {pause.detail or 'no reason given'}.", "end it in time"
        command = resumed_by(pause.scope)
    elif pause.reason in HOLD_REASONS:
        until, why = "", "the ledger is in doubt until everything was compared."
        todo, command = "nothing, if `cdc run` runs", "cdc slot"
    else:
        reason = Reason.__members__.get(pause.reason)
        until = "" if pause.until is None else f" until {pause.until:%H:%M:%S} UTC at first"
        why = f"{reason.meaning if reason else pause.reason}"
        todo, command = (reason.hint if reason else "see what is wrong"), "cdc status"
    return Condition(
        State.PAUSED,
        f"{what} paused{until}, {why} Capture goes on and nothing is lost.",
        todo,
        command,
        "paused",
        pause.updated_at,
    )


def resumed_by(scope: str) -> str:
    """Name the command that ends a person's pause."""
    return {EVERYTHING: "cdc resume", BULK_SCOPE: "cdc backfill resume"}.get(scope, f"cdc resume {scope}")


def _credits_low(status: Status) -> Condition | None:
    spent, lasts = status.credits, status.credits.lasts_seconds
    soon = lasts is not None and lasts < CREDITS_LOW_SECONDS
    if spent.used <= spent.limit * CREDITS_LOW_SHARE and not soon:
        return None
    forecast = "" if lasts is None else f"; at the rate of the last hour the rest lasts {lasts / 3_600:.1f} h"
    return Condition(
        State.CREDITS_LOW,
        f"{spent.used} of {spent.limit} API credits are spent in 24 hours{forecast}",
        "nothing yet: what isn't urgent waits. See what spends them",
        "cdc status",
        "credits",
    )


def _degraded(status: Status) -> Condition | None:
    held = sum(status.held.values())
    if held:
        return Condition(
            State.DEGRADED, f"the breaker holds {held} records", "look, then approve or reject", "cdc held", "held"
        )
    if status.parked or status.activity.failed_hour > FAILED_HOUR:
        return Condition(
            State.DEGRADED,
            f"{status.parked} records are parked, {status.activity.failed_hour} deliveries failed in the last hour",
            "see why, put it right, retry or discard",
            "cdc failures list",
            "failures",
        )
    if any(gap.repaired_at is None for gap in status.gaps):
        return Condition(
            State.DEGRADED, "a gap in the WAL is being repaired by comparing everything", "", "cdc slot", "gap"
        )
    return None


def _lagging(status: Status) -> Condition | None:
    if status.overdue_seconds <= LAGGING_SECONDS:
        return None
    return Condition(
        State.LAGGING,
        f"the oldest urgent change that isn't in the CRM is {status.overdue_seconds:.0f} s old",
        "nothing yet; see whether the CRM answers slowly",
        "cdc status",
        "lag",
        status.oldest,
    )


def _backfilling(status: Status) -> Condition | None:
    waiting = sum(c.due + c.in_flight + c.retrying for c in status.outbox if c.lane.value == "bulk")
    if not status.jobs and not waiting:
        return None
    jobs = f", {status.jobs} bulk jobs under way" if status.jobs else ""
    return Condition(
        State.BACKFILLING, f"{waiting} records of a backfill wait{jobs}", "", "cdc backfill status", "backfill"
    )


def _starting(status: Status) -> Condition | None:
    if status.position is None and not status.by_doorbell:
        if status.slot is None or not status.slot.exists:
            return Condition(State.STARTING, "nothing was set up yet", "set it up, then start `cdc run`", "cdc setup")
        begun = any(worker.role == "capture" for worker in status.workers)
        todo, command = ("", "cdc status") if begun else ("start it", "cdc run")
        return Condition(State.STARTING, "it is set up, and nothing was captured yet", todo, command)
    if not status.is_unswept:
        return None
    return Condition(State.STARTING, "views and ledger are being compared for the first time", "", "cdc status", "")


_CHECKS: Final[tuple[Callable[[Status], Condition | None], ...]] = (
    _slot_lost,
    _undecided,
    _auth_broken,
    _stalled,
    _slot_at_risk,
    _credits_exhausted,
    _paused,
    _credits_low,
    _degraded,
    _lagging,
    _backfilling,
    _starting,
)
