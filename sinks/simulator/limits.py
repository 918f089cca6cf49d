"""Credits in a rolling 24 hours, and simultaneous calls.

https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from sinks.simulator.answers import Refusal
from sinks.simulator.clock import Clock
from sinks.simulator.config import Edition, SimulatorConfig
from sinks.simulator.kinds import Kind

DAY = 24 * 3600.0
HEAVY_CALLS = 10

_CREDITS: dict[Edition, tuple[int, int, int]] = {
    Edition.FREE: (5_000, 0, 5_000),
    Edition.STANDARD: (50_000, 250, 100_000),
    Edition.PROFESSIONAL: (50_000, 500, 3_000_000),
    Edition.ENTERPRISE: (50_000, 1_000, 5_000_000),
    Edition.ULTIMATE: (50_000, 2_000, 2**62),
}
"""Edition: base, for each user, ceiling."""

_CONCURRENCY: dict[Edition, int] = {
    Edition.FREE: 5,
    Edition.STANDARD: 10,
    Edition.PROFESSIONAL: 15,
    Edition.ENTERPRISE: 20,
    Edition.ULTIMATE: 25,
}


def too_many() -> Refusal:
    """The 429 of both limits; Zoho's answers don't reliably tell them apart."""
    return Refusal(429, "TOO_MANY_REQUESTS", "You have made too many requests. Please try again after some time.")


class Credits:
    """What has been spent in the last 24 hours. There is no reset at midnight."""

    def __init__(self, config: SimulatorConfig, clock: Clock) -> None:
        base, for_user, ceiling = _CREDITS[config.edition]
        self.total = config.credits if config.credits is not None else min(base + for_user * config.users, ceiling)
        self._clock = clock
        self._spent: deque[tuple[float, int]] = deque()
        self._used = 0
        self.by_kind: Counter[str] = Counter()

    @property
    def used(self) -> int:
        """Credits spent in the last 24 hours."""
        edge = self._clock.now() - DAY
        while self._spent and self._spent[0][0] <= edge:
            self._used -= self._spent.popleft()[1]
        return self._used

    @property
    def remaining(self) -> int:
        """Credits left."""
        return max(0, self.total - self.used)

    def charge(self, kind: Kind, price: int) -> None:
        """Take the price of a call.

        Raises:
            Refusal: 429, there aren't as many left; nothing is taken.
        """
        if price > self.remaining:
            raise too_many()
        self.take(kind, price)

    def take(self, kind: Kind, price: int) -> None:
        """Take credits whether or not there are as many left: what a query cost is known afterwards."""
        if not price:
            return
        second = float(int(self._clock.now()))
        if self._spent and self._spent[-1][0] == second:
            self._spent[-1] = (second, self._spent[-1][1] + price)
        else:
            self._spent.append((second, price))
        self._used += price
        self.by_kind[kind] += price

    def header(self) -> dict[str, str]:
        """`X-API-CREDITS-REMAINING`, which appears only once half of the credits are used."""
        remaining = self.remaining
        return {"X-API-CREDITS-REMAINING": str(remaining)} if remaining * 2 <= self.total else {}

    def clear(self) -> None:
        """Forget what was spent."""
        self._spent.clear()
        self._used = 0
        self.by_kind.clear()


class Concurrency:
    """Calls that are being answered at this moment."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.limit = config.concurrency if config.concurrency is not None else _CONCURRENCY[config.edition]
        self.heavy_limit = min(HEAVY_CALLS, self.limit)
        self._calls = 0
        self._heavy = 0
        self.highest = 0

    @contextmanager
    def slot(self, *, heavy: bool) -> Iterator[None]:
        """Count a call while it lasts.

        Raises:
            Refusal: 429, too many are under way.
        """
        if self._calls >= self.limit or (heavy and self._heavy >= self.heavy_limit):
            raise too_many()
        self._calls += 1
        self._heavy += heavy
        self.highest = max(self.highest, self._calls)
        try:
            yield
        finally:
            self._calls -= 1
            self._heavy -= heavy
