"""The log of calls: what was asked, what it cost, what became of it. No values, only names and codes."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from itertools import islice

from sinks.simulator.answers import Json
from sinks.simulator.clock import iso

KEPT = 100_000


@dataclass(slots=True, kw_only=True)
class CallRecord:
    """One call.

    Attributes:
        number: counts from 1.
        at: seconds since the epoch.
        price: credits taken.
        records: records in the request's body.
        outcome: `ok`, `partial`, `refused`, `unauthorised`, `throttled`, `failed`, or the fault that ended it.
        codes: code of each record, or of the whole call.
        workflows: whether the caller let workflow rules run (`trigger` absent or naming some).
    """

    number: int
    at: float
    method: str
    path: str
    module: str | None
    kind: str
    price: int = 0
    records: int = 0
    duration_ms: float = 0.0
    status: int | None = None
    outcome: str = ""
    codes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    workflows: bool | None = None

    def as_json(self) -> Json:
        """The call for `GET /_sim/calls`."""
        return {**asdict(self), "time": iso(self.at)}


class Calls:
    """The last calls, oldest first."""

    def __init__(self) -> None:
        self._kept: deque[CallRecord] = deque(maxlen=KEPT)
        self.count = 0

    def open(self, *, at: float, method: str, path: str, module: str | None, kind: str, records: int) -> CallRecord:
        """Begin the entry of a call."""
        self.count += 1
        entry = CallRecord(
            number=self.count, at=at, method=method, path=path, module=module, kind=kind, records=records
        )
        self._kept.append(entry)
        return entry

    def select(
        self, *, after: int = 0, kind: str | None = None, module: str | None = None, last: int | None = None
    ) -> list[CallRecord]:
        """Entries with a higher number than `after`, of a kind or module, at most the last few."""
        chosen = [
            entry
            for entry in self._kept
            if entry.number > after and kind in (None, entry.kind) and module in (None, entry.module)
        ]
        return chosen if last is None else chosen[-last:]

    def latest(self, count: int) -> list[CallRecord]:
        """The last calls, newest first."""
        return list(islice(reversed(self._kept), count))

    def clear(self) -> None:
        """Forget them; numbers go on."""
        self._kept.clear()
