"""The six numbers at the top: what each says, and where the rows behind it are. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cdc.watch.condition import CREDITS_LOW_SHARE, LAGGING_SECONDS, RETAINED_BYTES, SLOT_USED_SHARE
from cdc.watch.status import Status
from cdc.web.dashboard.formats import counted, duration, number, share, size
from cdc.web.dashboard.path import Mark

SUCCESS_GOAL: Final = 0.995


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        value: the number itself, as text.
        of: what it is measured by, beside it in small.
        note: one line below it.
        href: where the rows behind it are.
        used: for a number with a limit, the share of it.
    """

    name: str
    value: str
    note: str
    href: str
    of: str = ""
    mark: Mark = Mark.OK
    used: float | None = None


def figures(status: Status) -> list[Figure]:
    """Give the numbers."""
    return [make(status) for make in _FIGURES]


def _attention(when: bool) -> Mark:
    return Mark.ATTENTION if when else Mark.OK


def _freshness(status: Status) -> Figure:
    late = status.overdue_seconds > LAGGING_SECONDS
    p95 = status.activity.latency_p95_ms
    note = "nothing delivered in the last hour" if p95 is None else f"95 % within {duration(p95 / 1000)}"
    return Figure("Freshness", duration(status.freshness_seconds), note, "#queue", mark=_attention(late))


def _waiting(status: Status) -> Figure:
    in_flight = sum(count.in_flight for count in status.outbox)
    retrying = sum(count.retrying for count in status.outbox)
    note = ", ".join(
        words
        for count, words in (
            (in_flight, f"{number(in_flight)} under way"),
            (retrying, f"{number(retrying)} tried again"),
        )
        if count
    )
    return Figure("Waiting", number(status.dirty), note or "none under way", "#queue", of="records")


def _success(status: Status) -> Figure:
    done = status.activity
    part = done.success_share
    note = (
        f"{number(done.failed)} of {number(done.succeeded + done.failed)} failed"
        if part is not None
        else "nothing ended"
    )
    mark = _attention(part is not None and part < SUCCESS_GOAL)
    return Figure("Success, 24 h", share(part), note, "/?status=failed#activity", mark=mark)


def _credits(status: Status) -> Figure:
    spent = status.credits
    used = spent.used / spent.limit if spent.limit else 0.0
    lasts = spent.lasts_seconds
    note = "our own count" if lasts is None else f"at this rate {duration(lasts)} left"
    mark = Mark.BROKEN if used >= 1 else _attention(used > CREDITS_LOW_SHARE or lasts is not None)
    return Figure(
        "Credits, 24 h",
        number(spent.used),
        note,
        "#credits",
        of=f"of {number(spent.limit)}",
        mark=mark,
        used=min(1.0, used),
    )


def _wal(status: Status) -> Figure:
    slot = status.slot
    if status.by_doorbell:
        return Figure("WAL held", size(0), "Realtime holds none", "#wal")
    if slot is None or not slot.exists:
        return Figure("WAL held", size(None), "no slot", "#wal", mark=Mark.WAITING)
    held, limit = slot.retained_wal_bytes or 0, slot.limit_bytes
    used = min(1.0, held / limit) if limit else None
    note = (
        "the slot keeps up" if slot.runway_seconds is None else f"lost in {duration(slot.runway_seconds)} at this rate"
    )
    much = used > SLOT_USED_SHARE if used is not None else held > RETAINED_BYTES
    mark = _attention(much or slot.runway_seconds is not None)
    return Figure(
        "WAL held", size(held), note, "#wal", of=f"of {size(limit)}" if limit else "no limit", mark=mark, used=used
    )


def _person(status: Status) -> Figure:
    held = sum(status.held.values())
    failed = status.parked - held
    undecided = sum(gap.is_undecided for gap in status.gaps)
    parts = [f"{number(failed)} failed" if failed else "", f"{number(held)} held" if held else ""]
    parts.append(counted(undecided, "gap") if undecided else "")
    note = " · ".join(part for part in parts if part) or "nothing parked or held"
    where = "/held" if held and not failed else "/failures"
    count = status.parked + undecided
    return Figure("Needs a person", number(count), note, where, mark=_attention(bool(count)))


_FIGURES: Final[tuple[Callable[[Status], Figure], ...]] = (_freshness, _waiting, _success, _credits, _wal, _person)
