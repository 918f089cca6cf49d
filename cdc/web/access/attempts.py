"""How often an address may try a credential that isn't accepted."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MOST: Final = 10
"""Failures in a row that an address has."""
SECONDS_EACH: Final = 30.0
"""After so long it has one more."""
_ADDRESSES: Final = 4096


class Attempts:
    """A bucket of failures for each address, in memory. A network of IPv6 counts as one.

    Args:
        clock: seconds that only go up.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """When an address will have all its tries again."""

    def wait(self, address: str) -> float:
        """Give the seconds until this address may try again; 0 if it may now."""
        owed = self._full_at.get(_network(address), 0.0) - self._clock()
        return max(0.0, owed - (MOST - 1) * SECONDS_EACH)

    def failed(self, address: str) -> None:
        """Count a failure."""
        name, now = _network(address), self._clock()
        self._full_at[name] = max(self._full_at.get(name, now), now) + SECONDS_EACH
        self._full_at.move_to_end(name)
        while len(self._full_at) > _ADDRESSES:
            self._full_at.popitem(last=False)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
