"""What must hold before anything is put right without being asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cdc.state.reconciles import Obstacles, ReconcileRun

MOST_SHARE: Final = 0.05
MOST_FIXES: Final = 500
MOST_OF_CREDITS: Final = 0.10
MOST_CHANGE_OF_COUNT: Final = 0.20
BACKFILL_KEYS: Final = 100
"""More keys than this in the lane `bulk` are a backfill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the gates look at.

    Attributes:
        is_complete: every module was read to its end, and the counts before and after fit.
        is_caught_up: everything that the view shows was in the outbox or delivered when the outbox was read.
        compared: records that were compared.
        fixes: records that would be sent.
        credits: what that costs.
        credits_left: of the day's.
        crm_counts: records of each feed's module.
        last: the last complete run; None if there was none.
        mapping: fingerprint of feeds and views.
        obstacles: see there.
    """

    is_complete: bool
    is_caught_up: bool
    compared: int
    fixes: int
    credits: int
    credits_left: int
    crm_counts: Mapping[str, int]
    last: ReconcileRun | None
    mapping: str
    obstacles: Obstacles

    @property
    def share(self) -> float:
        """The share of compared records that would be sent."""
        return self.fixes / self.compared if self.compared else 0.0


def closed_gates(now: Situation) -> list[str]:
    """Give a sentence for each gate that is closed; none if everything may be put right."""
    blocks = now.obstacles
    limit = int(now.credits_left * MOST_OF_CREDITS)
    gates = (
        (not now.is_complete, "the scan of the CRM isn't complete"),
        (not now.is_caught_up, "capture hasn't caught up, so that what is on its way can't be told from what differs"),
        (
            now.share >= MOST_SHARE,
            f"{now.share:.1%} of the compared records would be sent; {MOST_SHARE:.0%} is too many",
        ),
        (now.fixes > MOST_FIXES, f"{now.fixes:,} records would be sent; {MOST_FIXES:,} is the limit"),
        (now.credits > limit, f"it costs {now.credits:,} credits; a tenth of what is left is {limit:,}"),
        (now.last is None, "there is no complete run before this one to hold the CRM's count against"),
        (bool(blocks.paused), f"delivery is paused: {', '.join(blocks.paused)}"),
        (blocks.jobs > 0 or blocks.backlog > BACKFILL_KEYS, "a backfill is under way"),
        (blocks.gaps > 0, "the slot had a gap since the last run"),
        (now.last is not None and now.last.mapping != now.mapping, "feeds or views have changed since the last run"),
        *((True, words) for words in _changed_counts(now)),
    )
    return [words for is_closed, words in gates if is_closed]


def _changed_counts(now: Situation) -> list[str]:
    if now.last is None:
        return []
    found = []
    for feed, count in now.crm_counts.items():
        before = now.last.crm_counts.get(feed)
        if before is not None and abs(count - before) > MOST_CHANGE_OF_COUNT * before:
            found.append(f"{feed}: the CRM has {count:,} records and had {before:,} at the last run")
    return found
