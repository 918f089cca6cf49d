"""The way of a change at a glance: each stage, whether it is well, and how far it is behind. Pure.

A stage behind one that is broken isn't judged: it waits. So the first mark that isn't fine is the one to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from cdc.state.gaps import HOLD_REASONS
from cdc.watch.condition import LAGGING_SECONDS, STALLED_SECONDS
from cdc.watch.status import Status
from cdc.web.dashboard.formats import ago, counted, duration, milliseconds, number, size
from sinks.reasons import Fault, Reason


class Mark(StrEnum):
    """How a stage is."""

    OK = "ok"
    ATTENTION = "attention"
    BROKEN = "broken"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        what: one line about it.
        lag: how far it is behind, as text; empty where that makes no sense.
    """

    name: str
    mark: Mark
    what: str
    lag: str = ""


def stages(status: Status) -> list[Stage]:
    """Give the way from the database to the CRM."""
    found: list[Stage] = []
    broken = False
    for stage in _judged(status):
        found.append(replace(stage, mark=Mark.WAITING) if broken else stage)
        broken = broken or stage.mark is Mark.BROKEN
    return found


def _judged(status: Status) -> Iterator[Stage]:
    yield _database(status)
    yield _capture(status)
    yield _outbox(status)
    yield _delivery(status)
    yield _crm(status)


def _database(status: Status) -> Stage:
    slot = status.slot
    if slot is None:
        return Stage("Postgres", Mark.BROKEN, "can't be reached from here")
    return Stage("Postgres", Mark.OK, f"WAL ends at {slot.end_lsn}")


def _capture(status: Status) -> Stage:
    if status.by_doorbell:
        return _doorbell(status)
    slot = status.slot
    if slot is None or not slot.exists:
        missing = "set up at the first start" if status.position is None else "the slot is missing"
        return Stage("Capture", Mark.WAITING if status.position is None else Mark.BROKEN, missing)
    if slot.wal_status == "lost":
        return Stage("Capture", Mark.BROKEN, "the server removed the slot's WAL")
    behind = slot.captured.seconds_behind
    lag = f"{size(slot.captured.bytes_behind)} behind" + (f", {duration(behind)}" if behind else "")
    if not any(process.role == "capture" for process in status.workers):
        return Stage("Capture", Mark.BROKEN, "no process captures", lag)
    if behind is not None and behind > STALLED_SECONDS:
        return Stage("Capture", Mark.BROKEN, "the position doesn't move", lag)
    slow = behind is not None and behind > LAGGING_SECONDS
    return Stage("Capture", Mark.ATTENTION if slow else Mark.OK, f"slot {slot.slot}, {slot.wal_status}", lag)


def _doorbell(status: Status) -> Stage:
    bell = status.doorbell
    state, heard = (bell.state, bell.heard_at) if bell is not None else ("lost", None)
    mark = {"live": Mark.OK, "joining": Mark.ATTENTION}.get(state, Mark.BROKEN)
    return Stage("Capture", mark, f"by Realtime: {state}", f"heard {ago(heard, status.at)}")


def _outbox(status: Status) -> Stage:
    overdue = status.overdue_seconds
    due = sum(count.due + count.retrying for count in status.outbox)
    what = f"{counted(status.dirty, 'record')} waiting" if status.dirty else "empty"
    lag = f"oldest urgent {duration(overdue)}" if overdue else (f"{number(due)} due" if due else "")
    return Stage("Outbox", Mark.ATTENTION if overdue > LAGGING_SECONDS else Mark.OK, what, lag)


def _delivery(status: Status) -> Stage:
    latency = status.activity.latency_p50_ms
    lag = "" if latency is None else f"median {milliseconds(latency)} from commit"
    stopped = [p for p in status.pauses if p.scope == "*" or p.reason in HOLD_REASONS or p.scope == "zoho"]
    if stopped:
        return Stage("Delivery", Mark.BROKEN, "paused", lag)
    if not status.workers:
        return Stage("Delivery", Mark.BROKEN, "no process delivers", lag)
    if status.pauses:
        return Stage("Delivery", Mark.ATTENTION, f"{counted(len(status.pauses), 'feed')} paused", lag)
    failed = status.activity.failed_hour
    what = f"{counted(failed, 'failure')} in the last hour" if failed else "at work"
    return Stage("Delivery", Mark.ATTENTION if failed else Mark.OK, what, lag)


def _crm(status: Status) -> Stage:
    held = f"{number(sum(status.delivered.values()))} records"
    auth = [p for p in status.pauses if (r := Reason.__members__.get(p.reason)) is not None and r.fault is Fault.AUTH]
    if auth:
        return Stage("Zoho CRM", Mark.BROKEN, "doesn't let us in", held)
    if status.token is None:
        return Stage("Zoho CRM", Mark.WAITING, "not signed in yet", held)
    return Stage("Zoho CRM", Mark.OK, "signed in", held)
