"""Credits spent, in quarters of an hour.

The CRM tells its own count late and only once half of the day's credits are gone, so we keep ours. The window rolls:
what counts is the sum of the last 24 hours. https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, LiteralString, Self

import structlog
from psycopg import AsyncConnection, Error
from psycopg_pool import PoolTimeout

from cdc.state.calls import Entry, Told, entry_of, read_told, write_calls, write_told
from cdc.state.database import Pool
from sinks.calls import Called

log = structlog.get_logger()

_QUARTER = timedelta(minutes=15)
_DAY_SECONDS = 86_400.0

_ADD: LiteralString = """
insert into cdc.credit_usage as u (bucket, kind, calls, credits)
select * from unnest(%s::timestamptz[], %s::text[], %s::bigint[], %s::bigint[])
on conflict (bucket, kind) do update set calls = u.calls + excluded.calls, credits = u.credits + excluded.credits
"""

# A bucket counts until its last call is 24 hours old: rather a little too much than too little.
_RECENT: LiteralString = """
select kind, sum(calls)::bigint, sum(credits)::bigint from cdc.credit_usage
where bucket > now() - interval '24 hours 15 minutes' group by kind
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a kind of call took in the last 24 hours."""

    calls: int
    credits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The credits of the last 24 hours, by all processes on this state.

    Attributes:
        limit: that the edition allows in 24 hours.
        by_kind: of call; kinds that cost nothing are among them.
        last_hour: spent in the last hour or a little more.
        quarters: (start of the quarter of an hour, credits), oldest first; those without any are left out.
        told: the CRM's own figure of what is left; None if it never gave one.
    """

    limit: int
    by_kind: dict[str, Usage]
    last_hour: int
    quarters: Sequence[tuple[datetime, int]]
    told: Told | None = None

    @property
    def used(self) -> int:
        """All of them together."""
        return sum(usage.credits for usage in self.by_kind.values())

    @property
    def left(self) -> int:
        """What we know to be left; other programs spend of it as well."""
        return max(0, self.limit - self.used)

    @property
    def lasts_seconds(self) -> float | None:
        """When they are used up at the rate of the last hour; None if that takes longer than the window."""
        seconds = self.left / self.last_hour * 3_600 if self.last_hour else None
        return None if seconds is None or seconds > _DAY_SECONDS else seconds


_SPENT: LiteralString = """
select bucket, kind, calls, credits from cdc.credit_usage
where bucket > now() - interval '24 hours 15 minutes' order by bucket
"""


async def read_spending(conn: AsyncConnection[Any], limit: int) -> Spending:
    """Read what was spent.

    Args:
        conn: to the state.
        limit: credits that the edition allows in 24 hours.
    """
    rows = await (await conn.execute(_SPENT)).fetchall()
    by_kind: dict[str, Usage] = {}
    quarters: Counter[datetime] = Counter()
    for bucket, kind, calls, credits in rows:
        before = by_kind.get(kind, Usage(calls=0, credits=0))
        by_kind[kind] = Usage(calls=before.calls + calls, credits=before.credits + credits)
        quarters[bucket] += credits
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1, minutes=15)
    return Spending(
        limit=limit,
        by_kind=dict(sorted(by_kind.items())),
        last_hour=sum(credits for bucket, credits in quarters.items() if bucket > an_hour_ago),
        quarters=[(bucket, credits) for bucket, credits in quarters.items() if credits],
        told=await read_told(conn),
    )


@dataclass(slots=True)
class _Gathered:
    """Entries that wait to be written."""

    calls: Counter[tuple[datetime, str]] = field(default_factory=Counter)
    credits: Counter[tuple[datetime, str]] = field(default_factory=Counter)
    outcomes: Counter[Entry] = field(default_factory=Counter)
    milliseconds: Counter[Entry] = field(default_factory=Counter)
    told: Told | None = None

    def __bool__(self) -> bool:
        return bool(self.calls or self.outcomes)

    def add(self, other: _Gathered) -> None:
        """Take older entries back."""
        for mine, theirs in (
            (self.calls, other.calls),
            (self.credits, other.credits),
            (self.outcomes, other.outcomes),
            (self.milliseconds, other.milliseconds),
        ):
            mine.update(theirs)  # type: ignore[arg-type]
        self.told = self.told or other.told


class CreditLedger:
    """Enters what each call cost and how it went; a `sinks.zoho.client.CreditBook`.

    Entries are gathered in memory and written together, a second later at the most, so that accounting costs a call
    nothing. A crash loses that second. Use it as a context manager, or call `close`.

    Args:
        pool: of the state database.
        clock: the time, aware.
        gather_seconds: how long entries are gathered.
        on_call: hears of each call at once.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        gather_seconds: float = 1.0,
        on_call: Callable[[Called], None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._gather_seconds = gather_seconds
        self._on_call = on_call
        self._gathered = _Gathered()
        self._writer: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def spend(self, kind: str, credits: int) -> None:
        """Enter one call. Never fails and never waits."""
        entry = (_quarter(self._clock()), kind)
        self._gathered.calls[entry] += 1
        self._gathered.credits[entry] += credits
        self._see_to_it()

    async def note(self, called: Called) -> None:
        """Enter how a call went. Never fails and never waits."""
        self._on_call(called)
        now = self._clock()
        entry = entry_of(now, called)
        self._gathered.outcomes[entry] += 1
        self._gathered.milliseconds[entry] += round(called.seconds * 1000)
        if called.remaining is not None:
            self._gathered.told = Told(called.remaining, now)
        self._see_to_it()

    def _see_to_it(self) -> None:
        if self._writer is None and not self._closing.is_set():
            self._writer = asyncio.create_task(self._write_soon(), name="credits-write")

    async def flush(self) -> None:
        """Write what was gathered.

        Raises:
            psycopg.Error: the database can't be written to; the entries are kept for the next time.
        """
        if not self._gathered:
            return
        taken, self._gathered = self._gathered, _Gathered()
        written = False
        try:
            async with self._pool.connection() as conn, conn.transaction():
                await _write(conn, taken)
            written = True
        finally:
            if not written:
                self._gathered.add(taken)

    async def used_24h(self) -> int:
        """Say how many credits all workers have spent in the last 24 hours."""
        return sum(usage.credits for usage in (await self.by_kind()).values())

    async def by_kind(self) -> dict[str, Usage]:
        """Say what was spent in the last 24 hours, by kind of call."""
        await self.flush()
        async with self._pool.connection() as conn:
            rows = await (await conn.execute(_RECENT)).fetchall()
        return {kind: Usage(calls=calls, credits=credits) for kind, calls, credits in rows}

    async def close(self) -> None:
        """Write the rest.

        Raises:
            psycopg.Error: as `flush`.
        """
        self._closing.set()
        if self._writer is not None:
            await self._writer
        await self.flush()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _write_soon(self) -> None:
        """Gather for a while, write, and end once there is nothing left to write."""
        try:
            while self._gathered and not self._closing.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), self._gather_seconds)
                try:
                    await self.flush()
                except (Error, PoolTimeout) as error:
                    log.warning("credits_not_written", error=type(error).__name__)
        finally:
            self._writer = None


async def _write(conn: AsyncConnection[Any], taken: _Gathered) -> None:
    entries = sorted(taken.calls)  # always in one order, so that two workers' writes can't lock each other out
    if entries:
        buckets, kinds = [bucket for bucket, _ in entries], [kind for _, kind in entries]
        counts = [taken.calls[e] for e in entries], [taken.credits[e] for e in entries]
        await conn.execute(_ADD, [buckets, kinds, *counts])
    await write_calls(conn, taken.outcomes, taken.milliseconds)
    if taken.told is not None:
        await write_told(conn, taken.told)


def _quarter(moment: datetime) -> datetime:
    return moment - (moment - datetime.min.replace(tzinfo=UTC)) % _QUARTER
