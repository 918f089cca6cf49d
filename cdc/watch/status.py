"""One frozen picture of how things stand, for the command line, the dashboard, its JSON, metrics and alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

from cdc.state.activity import Activity, read_activity
from cdc.state.calls import CallActivity, read_calls
from cdc.state.control import Pause, pauses
from cdc.state.credits import Spending, read_spending
from cdc.state.gaps import Gap, read_gaps
from cdc.state.held import held_counts
from cdc.state.outbox import Counts, counts
from cdc.watch.slot import SlotHealth, read_slot_health


@dataclass(frozen=True, slots=True)
class Process:
    """A process that works on this state. `role` is capture or delivery."""

    id: str
    host: str
    pid: int
    role: str
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Doorbell:
    """How Supabase Realtime is heard, where it is listened to: joining, live, lost or stopped."""

    state: str
    cause: str | None
    joined_at: datetime | None
    heard_at: datetime | None
    latency_ms: int | None
    rebuilds: int
    swept_at: datetime | None
    sweep_ms: int | None


@dataclass(frozen=True, slots=True)
class Token:
    """The CRM's access token that all processes share.

    Attributes:
        expires_at: of the access token; None if there is none yet.
        minted: how many were asked for in the last ten minutes; Zoho allows ten.
    """

    expires_at: datetime | None
    minted: int


@dataclass(frozen=True, slots=True)
class Parking:
    """The keys that failed for good, those aside that the breaker holds or a person rejected.

    Attributes:
        last_hour: how many were parked in the last hour.
        oldest: when the one was parked that has been so for longest.
    """

    last_hour: int = 0
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """How things stand.

    Attributes:
        at: when this was read.
        pipeline: the name of the slot.
        slot: lag and runway of the slot, and what holds WAL back; None if the source can't be asked.
        position: our stored LSN as text; None before the first set-up.
        captured_at: when it was last moved.
        swept_at: when views and ledger were last compared after a gap or a beginning; None: still owed.
        outbox: by feed and lane.
        delivered: records that the CRM holds, by feed.
        activity: operations of the last 24 hours.
        credits: of the last 24 hours.
        held: keys that the breaker holds, by feed; they are among the parked ones.
        pauses: what delivers nothing for now, and why.
        gaps: newest first, at most ten.
        workers: processes heard of in the last half minute.
        died: processes that ended without a word in the last ten minutes.
        calls: to the CRM, in the last ten minutes.
        parking: of those that are parked, what tells whether they grow or are forgotten.
        doorbell: the transport without a slot; None where it was never used.
        token: of the CRM; None if none was ever stored.
        jobs: bulk jobs under way.
        replays: replays that are not finished.
    """

    at: datetime
    pipeline: str
    slot: SlotHealth | None
    position: str | None
    captured_at: datetime | None
    swept_at: datetime | None
    outbox: Sequence[Counts]
    delivered: Mapping[str, int]
    activity: Activity
    credits: Spending
    held: Mapping[str, int]
    pauses: Sequence[Pause]
    gaps: Sequence[Gap]
    workers: Sequence[Process]
    died: int
    calls: CallActivity
    parking: Parking
    doorbell: Doorbell | None
    token: Token | None
    jobs: int
    replays: int

    @property
    def has_slot(self) -> bool:
        """True when there is a slot of our name."""
        return self.slot is not None and self.slot.exists

    @property
    def by_doorbell(self) -> bool:
        """True when changes are heard of by Realtime: there is no slot, and the bell is newer than the position."""
        bell = self.doorbell
        if bell is None or self.has_slot:
            return False
        last = max((at for at in (bell.joined_at, bell.heard_at, bell.swept_at) if at is not None), default=None)
        return self.captured_at is None or (last is not None and last > self.captured_at)

    @property
    def lag_bytes(self) -> int | None:
        """WAL that the slot has yet to be told of; None without a slot."""
        return None if self.slot is None else self.slot.acknowledged.bytes_behind

    @property
    def is_unswept(self) -> bool:
        """True when the slot is read and a comparison of everything is still owed."""
        return self.position is not None and self.swept_at is None

    @property
    def parked(self) -> int:
        """Keys that failed for good."""
        return sum(count.parked for count in self.outbox)

    @property
    def dirty(self) -> int:
        """Keys that wait or are under way, parked ones aside."""
        return sum(c.due + c.gathering + c.in_flight + c.retrying + c.deferred for c in self.outbox)

    @property
    def oldest(self) -> datetime | None:
        """Commit time of the oldest change that isn't in the CRM; parked and deferred ones aside."""
        return min((count.oldest for count in self.outbox if count.oldest is not None), default=None)

    @property
    def freshness_seconds(self) -> float:
        """How old that change is; 0 if there is none."""
        return 0.0 if self.oldest is None else max(0.0, (self.at - self.oldest).total_seconds())

    @property
    def overdue_seconds(self) -> float:
        """How old the oldest change is that should have left by now: lanes that gather and backfills aside."""
        ages = [c.oldest for c in self.outbox if c.lane.value == "live" and c.oldest is not None]
        return max(0.0, (self.at - min(ages)).total_seconds()) if ages else 0.0

    @property
    def is_slot_lost(self) -> bool:
        """True when the slot that we read is gone, or the server gave it up."""
        if self.slot is None or self.by_doorbell or (self.position is None and not self.slot.exists):
            return False
        return not self.slot.exists or self.slot.wal_status == "lost"

    @property
    def is_degraded(self) -> bool:
        """True when a person should look; commands then exit with 3."""
        if self.doorbell is not None and self.by_doorbell:
            lost = self.doorbell.state == "lost"
        else:
            lost = not self.has_slot or self.is_slot_lost
        out_of_step = self.is_unswept or any(gap.repaired_at is None for gap in self.gaps)
        return bool(self.parked or self.pauses or lost or out_of_step)

    def as_json(self) -> dict[str, Any]:
        """Give plain values, with the derived ones."""
        return {
            **plain(asdict(self)),
            "lag_bytes": self.lag_bytes,
            "dirty": self.dirty,
            "parked": self.parked,
            "freshness_seconds": self.freshness_seconds,
            "credits_24h": self.credits.used,
        }


_ONE_ROW: LiteralString = """
select p.lsn::text, p.captured_at, p.swept_at,
       (select count(*) from cdc.bulk_job where ended_at is null),
       (select count(*) from cdc.replay where slot = %(slot)s and state = 'unfinished'),
       (select count(*) from cdc.worker
        where seen_at between now() - interval '10 minutes' and now() - interval '30 seconds')
from (values (1)) as one left join cdc.position p on p.slot = %(slot)s
"""
_PARKING: LiteralString = """
select (count(*) filter (where parked_at > now() - interval '1 hour'))::integer as last_hour, min(parked_at) as oldest
from cdc.outbox where parked_at is not null and reason not in ('HELD_BY_BREAKER', 'REJECTED')
"""
_DELIVERED: LiteralString = "select feed, count(*) from cdc.ledger where state = 'sent' group by feed order by feed"
_PROCESSES: LiteralString = """
select id, host, pid, role, started_at, seen_at from cdc.worker
where seen_at > now() - interval '30 seconds' order by started_at
"""
_DOORBELL: LiteralString = """
select state, cause, joined_at, heard_at, latency_ms, rebuilds, swept_at, sweep_ms from cdc.doorbell
where pipeline = %s
"""
_ACCESS: LiteralString = """
select expires_at, (select count(*) from unnest(minted_at) m where m > now() - interval '10 minutes')::integer as minted
from cdc.zoho_tokens order by id limit 1
"""


async def read_status(
    source: AsyncConnection[Any] | None, state: AsyncConnection[Any], slot: str, *, credit_limit: int
) -> Status:
    """Read everything; about fifteen small queries, however much there is.

    Args:
        source: None if it can't be reached.
        state: in autocommit.
        slot: name of the slot and of the pipeline.
        credit_limit: credits that the edition allows in 24 hours.
    """
    found = await (await state.execute(_ONE_ROW, {"slot": slot})).fetchone()
    lsn, captured_at, swept_at, jobs, replays, died = found or (None, None, None, 0, 0, 0)
    async with state.cursor(row_factory=class_row(Process)) as cursor:
        workers = await (await cursor.execute(_PROCESSES)).fetchall()
    async with state.cursor(row_factory=class_row(Doorbell)) as cursor:
        doorbell = await (await cursor.execute(_DOORBELL, [slot])).fetchone()
    async with state.cursor(row_factory=class_row(Token)) as cursor:
        token = await (await cursor.execute(_ACCESS)).fetchone()
    async with state.cursor(row_factory=class_row(Parking)) as cursor:
        parking = await (await cursor.execute(_PARKING)).fetchone()
    return Status(
        at=datetime.now(UTC),
        pipeline=slot,
        slot=None if source is None else await read_slot_health(source, state, slot),
        position=lsn,
        captured_at=captured_at,
        swept_at=swept_at,
        outbox=await counts(state),
        delivered=dict(await (await state.execute(_DELIVERED)).fetchall()),
        activity=await read_activity(state),
        credits=await read_spending(state, credit_limit),
        held=await held_counts(state),
        pauses=await pauses(state),
        gaps=await read_gaps(state, slot),
        workers=workers,
        died=died,
        calls=await read_calls(state),
        parking=parking or Parking(),
        doorbell=doorbell,
        token=token,
        jobs=jobs,
        replays=replays,
    )


def plain(value: Any) -> Any:
    """Turn times into text, all the way down, for JSON."""
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case _:
            return value
