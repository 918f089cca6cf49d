"""A check: a row of the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cdc.runtime.doctor.examination import Examination
from cdc.runtime.doctor.finding import Findings

Look = Callable[[Examination], Awaitable[Findings]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to look at.

    Attributes:
        id: `side.thing`.
        looks_at: what it looks at, in a few words.
        look: does so; changes nothing.
        needs: ids of checks that stand before it in the table. If one of them found a problem, or wasn't looked at,
            this one isn't looked at either.
        seconds: that it may take.
        on_request: it costs something or writes, so it is left out unless it was asked for.
    """

    id: str
    looks_at: str
    look: Look
    needs: tuple[str, ...] = ()
    seconds: float = 15.0
    on_request: bool = False
