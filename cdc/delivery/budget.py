"""Which lanes may spend credits now. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from cdc.routing.feeds import Lane

LANE_SHARE: Mapping[Lane, float] = MappingProxyType(
    {Lane.LIVE: 0.90, Lane.ROLLUP: 0.80, Lane.DAILY: 0.70, Lane.BULK: 0.60}
)
"""A lane may spend while less than this share of our credits is used, so that the urgent ones are the last to stop.
The rest, from 90 % on, is for checks, sweeps of the CRM and what other programs of the organisation spend unseen."""


def lanes_within(used: int, daily_limit: int | None, reserve: int = 0) -> frozenset[Lane]:
    """Say which lanes may send now.

    Args:
        used: credits that we spent in the last 24 hours; the window rolls, there is no reset at midnight
            (https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html).
        daily_limit: the organisation's credits in 24 hours; None if the sink costs none.
        reserve: credits out of these that are kept for people and other programs.
    """
    return frozenset(lane for lane in LANE_SHARE if credits_left(lane, used, daily_limit, reserve) > 0)


def credits_left(lane: Lane, used: int, daily_limit: int | None, reserve: int = 0) -> float:
    """Say how many credits a lane may still spend; not less than 0, and infinite if the sink costs none.

    Args:
        lane: which.
        used: as in `lanes_within`, and so are the others.
        daily_limit: see there.
        reserve: see there.
    """
    if daily_limit is None:
        return math.inf
    return max(0.0, LANE_SHARE[lane] * max(0, daily_limit - reserve) - used)
