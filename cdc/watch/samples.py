"""How metrics are read off the picture. Pure. What can't be told gives no sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from cdc.watch.alerts import measures
from cdc.watch.alerts.rule import Measured, Reading
from cdc.watch.condition import State, judge
from cdc.watch.outlook import Picture
from cdc.watch.slot import SlotHealth

Samples = Iterable[tuple[tuple[str, ...], float]]
"""(label values, value)"""
_WAL: Final = ("reserved", "extended", "unreserved", "lost")
_PENDING: Final = ("due", "gathering", "in_flight", "retrying", "deferred")


def one(value: float | None) -> Samples:
    """Give one sample without labels; none for None."""
    return [] if value is None else [((), float(value))]


def measured(measure: Callable[[Picture], Reading]) -> Callable[[Picture], Samples]:
    """Give what a rule measures."""

    def read(picture: Picture) -> Samples:
        reading = measure(picture)
        return one(reading.value if isinstance(reading, Measured) else None)

    return read


def inverted(measure: Callable[[Picture], Reading]) -> Callable[[Picture], Samples]:
    """Give 0 for what a rule measures as 1, and the other way round."""

    def read(picture: Picture) -> Samples:
        return [((), 1 - value) for _, value in measured(measure)(picture)]

    return read


def of_slot(read: Callable[[SlotHealth], float | None]) -> Callable[[Picture], Samples]:
    """Give something of the slot."""
    return measured(measures.of_slot(read))


def counted(counts: Callable[[Picture], Mapping[str, float]]) -> Callable[[Picture], Samples]:
    """Give a sample for each name."""
    return lambda picture: [((name,), float(value)) for name, value in counts(picture).items()]


def states(picture: Picture) -> Samples:
    """Give 1 for the state that all comes to, 0 for the others."""
    now = judge(picture.status).state
    return [((state.value,), float(state is now)) for state in State]


def wal_statuses(picture: Picture) -> Samples:
    """Give 1 for the status that the slot has."""
    slot = picture.status.slot
    if slot is None or not slot.exists:
        return []
    return [((name,), float(slot.wal_status == name)) for name in _WAL]


def pending(picture: Picture) -> Samples:
    """Count dirty keys by feed, lane and state."""
    return [
        ((count.feed, count.lane.value, state), float(getattr(count, state)))
        for count in picture.status.outbox
        for state in _PENDING
    ]


def oldest(picture: Picture) -> Samples:
    """Give the age of the oldest change by feed and lane."""
    status = picture.status
    return [
        ((count.feed, count.lane.value), max(0.0, (status.at - count.oldest).total_seconds()))
        for count in status.outbox
        if count.oldest is not None
    ]


def parked(picture: Picture) -> Mapping[str, float]:
    """Count parked keys by feed."""
    feeds: dict[str, float] = dict.fromkeys(picture.status.delivered, 0.0)
    for count in picture.status.outbox:
        feeds[count.feed] = feeds.get(count.feed, 0.0) + count.parked
    return feeds


def pauses(picture: Picture) -> Mapping[str, float]:
    """Count pauses by reason."""
    found: dict[str, float] = {}
    for pause in picture.status.pauses:
        found[pause.reason] = found.get(pause.reason, 0.0) + 1
    return found


def pause_failures(picture: Picture) -> Mapping[str, float]:
    """Give the most failures in a row by reason."""
    found: dict[str, float] = {}
    for pause in picture.status.pauses:
        found[pause.reason] = max(found.get(pause.reason, 0.0), float(pause.failures))
    return found


def gaps(picture: Picture) -> Mapping[str, float]:
    """Count gaps by state."""
    values = {"undecided": measures.undecided(picture), "open": measures.gaps_open(picture)}
    return {name: reading.value or 0.0 for name, reading in values.items() if isinstance(reading, Measured)}


def processes(picture: Picture) -> Mapping[str, float]:
    """Count processes by role."""
    roles = [worker.role for worker in picture.status.workers]
    return {role: float(roles.count(role)) for role in ("capture", "delivery")}


def latency(picture: Picture) -> Samples:
    """Give quantiles of the latency."""
    activity = picture.status.activity
    pairs = (("0.5", activity.latency_p50_ms), ("0.95", activity.latency_p95_ms))
    return [((share,), value / 1000) for share, value in pairs if value is not None]


def remaining(picture: Picture) -> Samples:
    """Give the CRM's own figure while it is fresh."""
    told = picture.status.credits.told
    is_fresh = isinstance(measures.credits_unexplained(picture), Measured)
    return one(None if told is None or not is_fresh else told.remaining)


def token(picture: Picture) -> Samples:
    """Give the time until the access token expires."""
    known = picture.status.token
    if known is None or known.expires_at is None:
        return []
    return one((known.expires_at - picture.status.at).total_seconds())


def reconciled(name: str) -> Callable[[Picture], Samples]:
    """Give something of the last complete comparison."""
    return lambda picture: one(getattr(picture.outlook.reconciled, name, None))


def release() -> str:
    """Give the version of this program."""
    try:
        return version("optio-cdc")
    except PackageNotFoundError:
        return "unknown"
