"""How the calls to the CRM went: by minute, kind, outcome and time taken; and what the CRM says is left.

Times are kept as bands, so that the share of slow calls can be told of all processes together, however many calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from sinks.calls import Called, Outcome

BANDS: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Upper ends of the bands, in seconds; the last band has none."""
WINDOW_MINUTES: Final = 10
RETENTION: LiteralString = "delete from cdc.call_usage where bucket < now() - interval '2 days'"
_FILE: Final = -1
"""The band of calls that carry files; their time says nothing of the service."""

_THEIRS: Final = frozenset(outcome.value for outcome in Outcome if outcome.is_theirs)
_UNANSWERED: Final = frozenset(outcome.value for outcome in Outcome if not outcome.is_answered)

Entry = tuple[datetime, str, str, int]
"""Minute, kind, outcome and band."""


def band_of(seconds: float) -> int:
    """Give the band that a time falls into: an upper end belongs to the band below it."""
    return next((n for n, end in enumerate(BANDS) if seconds <= end), len(BANDS))


def entry_of(moment: datetime, called: Called) -> Entry:
    """Say where a call is counted."""
    minute = moment - timedelta(seconds=moment.second, microseconds=moment.microsecond)
    return minute, called.kind, called.outcome.value, _FILE if called.is_file else band_of(called.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallActivity:
    """The calls of the last ten minutes, by all processes on this state.

    Attributes:
        by_outcome: how many, by name of outcome.
        by_band: of those that were answered, how many took how long; one more entry than `BANDS`. Uploads and
            downloads of files aside.
    """

    by_outcome: Mapping[str, int]
    by_band: tuple[int, ...]

    @property
    def calls(self) -> int:
        """All of them, those that never left among them."""
        return sum(self.by_outcome.values())

    @property
    def failed(self) -> int:
        """Those that the service failed: errors of its own, no answer, or not to be reached."""
        return sum(count for outcome, count in self.by_outcome.items() if outcome in _THEIRS)

    @property
    def answered(self) -> int:
        """Those whose time counts."""
        return sum(self.by_band)

    def quantile(self, share: float) -> float | None:
        """Give the seconds within which this share of the calls was answered; None if there was none.

        Within a band calls are taken to be spread evenly. Beyond the last one there is only its beginning.
        """
        rank, below = share * self.answered, 0
        if not self.answered:
            return None
        for (start, end), count in zip(pairwise((0.0, *BANDS)), self.by_band, strict=False):
            if count and below + count >= rank:
                return start + (end - start) * (rank - below) / count
            below += count
        return BANDS[-1]


NO_CALLS: Final = CallActivity(by_outcome=MappingProxyType({}), by_band=(0,) * (len(BANDS) + 1))

_RECENT: LiteralString = """
select outcome, band, sum(calls)::bigint from cdc.call_usage
where bucket > now() - make_interval(mins => %s) group by 1, 2
"""


async def read_calls(conn: AsyncConnection[Any]) -> CallActivity:
    """Count the calls of the last ten minutes."""
    rows = await (await conn.execute(_RECENT, [WINDOW_MINUTES])).fetchall()
    outcomes: Counter[str] = Counter()
    bands = [0] * (len(BANDS) + 1)
    for outcome, band, calls in rows:
        outcomes[outcome] += calls
        if band != _FILE and outcome not in _UNANSWERED:
            bands[band] += calls
    return CallActivity(by_outcome=dict(sorted(outcomes.items())), by_band=tuple(bands))


_ADD: LiteralString = """
insert into cdc.call_usage as u (bucket, kind, outcome, band, calls, milliseconds)
select * from unnest(%s::timestamptz[], %s::text[], %s::text[], %s::smallint[], %s::bigint[], %s::bigint[])
on conflict (bucket, kind, outcome, band) do update set
    calls = u.calls + excluded.calls, milliseconds = u.milliseconds + excluded.milliseconds
"""


async def write_calls(conn: AsyncConnection[Any], calls: Counter[Entry], milliseconds: Counter[Entry]) -> None:
    """Add counts to those that are there."""
    entries = sorted(calls)  # always in one order, so that two workers' writes can't lock each other out
    if not entries:
        return
    columns = [[entry[n] for entry in entries] for n in range(4)]
    await conn.execute(_ADD, [*columns, [calls[e] for e in entries], [milliseconds[e] for e in entries]])


@dataclass(frozen=True, slots=True)
class Told:
    """What the CRM itself says is left of the credits. `remaining` doesn't count credits that were bought on top."""

    remaining: int
    at: datetime


async def write_told(conn: AsyncConnection[Any], told: Told, account: str = "zoho") -> None:
    """Keep the newest figure."""
    await conn.execute(
        "insert into cdc.credit_reading as r (account, remaining, read_at) values (%s, %s, %s)"
        " on conflict (account) do update set remaining = excluded.remaining, read_at = excluded.read_at"
        " where r.read_at <= excluded.read_at",
        [account, told.remaining, told.at],
    )


async def read_told(conn: AsyncConnection[Any], account: str = "zoho") -> Told | None:
    """Give the last figure; None if the CRM never gave one."""
    cursor = await conn.execute("select remaining, read_at from cdc.credit_reading where account = %s", [account])
    row = await cursor.fetchone()
    return None if row is None else Told(*row)
