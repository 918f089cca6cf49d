"""What the rules measure. Pure: each takes the picture and gives a value, or says why there is none.

What can't be asked is unknown and never fine: an alert that is open then stays open.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Final

from cdc.watch.alerts.rule import Measured, Reading, Unknown
from cdc.watch.outlook import Picture
from cdc.watch.slot import SlotHealth
from cdc.watch.status import Status
from sinks.calls import Outcome
from sinks.reasons import Fault, Reason

NOTHING: Final = Measured(None)
LEAST_OPERATIONS: Final = 50
"""Operations in 24 hours from which their success rate is worth an alert."""
LEAST_CALLS: Final = 20
"""Answered calls in ten minutes from which their times say something."""
LEAST_FAILED: Final = 3
"""Calls in ten minutes that must have failed before their share counts."""
TOLD_FRESH: Final = timedelta(minutes=15)
"""For how long the CRM's own figure of its credits is worth comparing with ours."""
MUCH_BYTES: Final = 16 * 1024**2
"""WAL that nobody writes in a moment; a segment."""
WEEK_SECONDS: Final = 7 * 86_400.0
SIGN_IN: Final = frozenset(
    reason.name for reason in Reason if reason.fault is Fault.AUTH and reason is not Reason.TOKEN_THROTTLED
)
MAPPING: Final = frozenset(reason.name for reason in Reason if reason.fault is Fault.MAPPING)
BY_HAND: Final = "BY_HAND"
_WAITS: Final = ("due", "in_flight", "retrying")


def of_slot(measure: Callable[[SlotHealth], float | None]) -> Callable[[Picture], Reading]:
    """Measure something of the slot: unknown without the source, nothing where there is no slot."""

    def read(picture: Picture) -> Reading:
        slot = picture.status.slot
        if slot is None:
            return Unknown("the source can't be asked")
        return NOTHING if not slot.exists else Measured(measure(slot))

    return read


def source_away(picture: Picture) -> Reading:
    """1 while the source can't be asked."""
    return Measured(float(picture.status.slot is None))


def slot_lost(picture: Picture) -> Reading:
    """1 while the slot that we read is gone."""
    if picture.status.slot is None:
        return Unknown("the source can't be asked")
    return Measured(float(picture.status.is_slot_lost))


def slot_inactive(picture: Picture) -> Reading:
    """1 while nobody reads the slot: no process captures or stands by, and the server knows of no reader."""
    status = picture.status
    if status.position is None or status.by_doorbell:
        return NOTHING
    reads = status.slot is not None and status.slot.active_pid is not None
    return Measured(float(not reads and not any(worker.role == "capture" for worker in status.workers)))


def capture_lag(picture: Picture) -> Reading:
    """How old the oldest WAL is that isn't captured; a week if it is much, and older than what was sampled."""
    status = picture.status
    if status.slot is None:
        return Unknown("the source can't be asked")
    if status.position is None or status.by_doorbell:
        return NOTHING
    captured = status.slot.captured
    if captured.seconds_behind is not None:
        return Measured(captured.seconds_behind)
    if captured.bytes_behind is not None and captured.bytes_behind >= MUCH_BYTES:
        return Measured(WEEK_SECONDS)
    return Measured(0.0) if captured.bytes_behind == 0 else Unknown("no sample of the WAL is that old")


def retained_share(slot: SlotHealth) -> float | None:
    """The share of `max_slot_wal_keep_size` that the slot holds."""
    return (slot.retained_wal_bytes or 0) / slot.limit_bytes if slot.limit_bytes else None


def retained_bytes(slot: SlotHealth) -> float | None:
    """What the slot holds where the server sets no limit."""
    return None if slot.limit_bytes else float(slot.retained_wal_bytes or 0)


def wal_status(slot: SlotHealth) -> float | None:
    """0 reserved, 1 extended, 2 unreserved; a lost one is another alert."""
    return {"extended": 1.0, "unreserved": 2.0}.get(slot.wal_status or "", 0.0)


def runway(slot: SlotHealth) -> float | None:
    """Seconds until the slot is lost at this rate; nothing if it doesn't come nearer."""
    return slot.runway_seconds


def free_least(picture: Picture) -> Reading:
    """The smaller one of the free slots and the free WAL senders."""
    free = picture.outlook.free
    return Measured(float(min(free.values()))) if free else Unknown("the source can't be asked")


def realtime_lost(picture: Picture) -> Reading:
    """1 while Supabase Realtime, where it is used, isn't heard."""
    status = picture.status
    if status.doorbell is None or not status.by_doorbell:
        return NOTHING
    return Measured(float(status.doorbell.state == "lost"), status.doorbell.cause or "")


def overdue(picture: Picture) -> Reading:
    """How old the oldest urgent change is that isn't in the CRM."""
    return Measured(picture.status.overdue_seconds)


def waiting(status: Status, lanes: Callable[[str], bool]) -> int:
    """Count the keys that wait for delivery or are under way, in some lanes."""
    return sum(getattr(c, state) for c in status.outbox if lanes(c.lane.value) for state in _WAITS)


def queue_depth(picture: Picture) -> Reading:
    """Keys that wait; those of a backfill, and those that gather or wait for their day by plan, aside."""
    return Measured(float(waiting(picture.status, lambda lane: lane != "bulk")))


def backfill_depth(picture: Picture) -> Reading:
    """Keys of backfills, repairs and replays that wait."""
    return Measured(float(waiting(picture.status, lambda lane: lane == "bulk")))


def failed_hour(picture: Picture) -> Reading:
    """Deliveries that were given up in the last hour."""
    return Measured(float(picture.status.activity.failed_hour))


def failed_share(picture: Picture) -> Reading:
    """Of what ended in 24 hours, the share that failed."""
    activity = picture.status.activity
    share = activity.success_share
    if share is None or activity.succeeded + activity.failed < LEAST_OPERATIONS:
        return NOTHING
    return Measured(1 - share)


def parked_hour(picture: Picture) -> Reading:
    """Keys that were parked in the last hour."""
    return Measured(float(picture.status.parking.last_hour))


def parked_age(picture: Picture) -> Reading:
    """How long the oldest parked key has been so."""
    return Measured(_age(picture, picture.status.parking.oldest) or 0.0)


def held(picture: Picture) -> Reading:
    """Records that the breaker holds."""
    found = picture.status.held
    return Measured(float(sum(found.values())), ", ".join(sorted(feed for feed, count in found.items() if count)))


def credits_used(picture: Picture) -> Reading:
    """The share of the credits of 24 hours that is spent."""
    spent = picture.status.credits
    return Measured(spent.used / spent.limit if spent.limit else 1.0)


def credits_last(picture: Picture) -> Reading:
    """Seconds until the credits are used up at the rate of the last hour; nothing if they last."""
    return Measured(picture.status.credits.lasts_seconds)


def credits_unexplained(picture: Picture) -> Reading:
    """The share of the credits that the CRM says is spent, and not by us."""
    spent = picture.status.credits
    if spent.told is None:
        return Unknown("the CRM tells its own count only once half of the credits are used")
    if picture.status.at - spent.told.at > TOLD_FRESH:
        return Unknown("the CRM last told its own count more than 15 minutes ago")
    return Measured(max(0.0, (spent.limit - spent.told.remaining - spent.used) / spent.limit))


def concurrency(picture: Picture) -> Reading:
    """Calls of the last ten minutes that were turned away because there were too many at once."""
    return Measured(float(picture.status.calls.by_outcome.get(Outcome.CONCURRENCY, 0)))


def crm_errors(picture: Picture) -> Reading:
    """The share of the calls of the last ten minutes that the CRM failed."""
    calls = picture.status.calls
    if not calls.calls:
        return Unknown("nobody called the CRM in the last ten minutes")
    return Measured(calls.failed / calls.calls if calls.failed >= LEAST_FAILED else 0.0)


def crm_time(picture: Picture) -> Reading:
    """The time within which 95 % of the calls of the last ten minutes were answered."""
    calls = picture.status.calls
    return NOTHING if calls.answered < LEAST_CALLS else Measured(calls.quantile(0.95))


def failures_of(reasons: Collection[str]) -> Callable[[Picture], Reading]:
    """Give the most failures in a row of pauses with these reasons."""

    def read(picture: Picture) -> Reading:
        found = [pause for pause in picture.status.pauses if pause.reason in reasons]
        names = ", ".join(sorted({pause.reason for pause in found}))
        return Measured(float(max((pause.failures for pause in found), default=0)), names)

    return read


def mapping_broken(picture: Picture) -> Reading:
    """Pauses because feed, view and CRM don't fit each other."""
    found = [pause for pause in picture.status.pauses if pause.reason in MAPPING]
    return Measured(float(len(found)), ", ".join(sorted(f"{pause.scope}: {pause.reason}" for pause in found)))


def undecided(picture: Picture) -> Reading:
    """Gaps that a person has to decide on."""
    return Measured(float(sum(gap.is_undecided for gap in picture.status.gaps)))


def gaps_open(picture: Picture) -> Reading:
    """Gaps that aren't repaired yet."""
    found = [gap for gap in picture.status.gaps if gap.repaired_at is None and not gap.is_undecided]
    return Measured(float(len(found)), ", ".join(sorted({gap.cause for gap in found})))


def paused(picture: Picture) -> Reading:
    """For how long a person has paused delivery, or a part of it."""
    ages = [picture.status.at - pause.updated_at for pause in picture.status.pauses if pause.reason == BY_HAND]
    return Measured(max((age.total_seconds() for age in ages), default=0.0))


def died(picture: Picture) -> Reading:
    """Processes that ended without a word in the last ten minutes."""
    return Measured(float(picture.status.died))


def key_missing(picture: Picture) -> Reading:
    """1 if our key doesn't open what is stored."""
    fits = picture.outlook.key_fits
    return NOTHING if fits is None else Measured(float(not fits))


def drift(picture: Picture) -> Reading:
    """The share of the records that differed when everything was last compared."""
    last = picture.outlook.reconciled
    if last is None:
        return Unknown("no complete comparison was made yet")
    return Measured(last.differing / last.compared if last.compared else 0.0)


def reconcile_age(picture: Picture) -> Reading:
    """How long ago everything was last compared."""
    last = picture.outlook.reconciled
    if last is None:
        return Unknown("no complete comparison was made yet")
    return Measured(_age(picture, last.at))


def duplicates(picture: Picture) -> Reading:
    """Records of which the CRM had several when everything was last compared."""
    last = picture.outlook.reconciled
    return Unknown("no complete comparison was made yet") if last is None else Measured(float(last.duplicates))


def volume(picture: Picture) -> Reading:
    """How many times more or less than usual was delivered in 24 hours."""
    found = picture.outlook.volume
    if found is None or found.deviation is None:
        return Unknown("there is no week of deliveries to compare with")
    return Measured(found.deviation)


def _age(picture: Picture, since: datetime | None) -> float | None:
    return None if since is None else max(0.0, (picture.status.at - since).total_seconds())
