"""One frozen picture of how things stand, for `cdc status`, the live view and the JSON of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection

from cdc.source.slots import SlotView, read_slot
from cdc.state.control import Pause, pauses
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
class Status:
    """How things stand.

    Attributes:
        slot: the server's view of our slot; None if there is none.
        position: our stored LSN as text; None before the first set-up.
        captured_at: when it was last moved.
        outbox: by feed and lane.
        delivered: records that the CRM holds, by feed.
        credits: spent in the last 24 hours, by kind of call.
        held: keys that the breaker holds, by feed; they are among the parked ones.
        pauses: what delivers nothing for now, and why.
        gaps: newest first, at most ten.
        health: lag and runway of the slot, and what holds WAL back.
        workers: processes heard of in the last half minute.
        doorbell: the transport without a slot; None where it was never used.
    """

    at: datetime
    slot: SlotView | None
    position: str | None
    captured_at: datetime | None
    swept_at: datetime | None
    outbox: Sequence[Counts]
    delivered: Mapping[str, int]
    credits: Mapping[str, int]
    held: Mapping[str, int]
    pauses: Sequence[Pause]
    gaps: Sequence[Gap]
    health: SlotHealth
    workers: Sequence[Process]
    doorbell: Doorbell | None = None

    @property
    def lag_bytes(self) -> int | None:
        """WAL that the slot holds back; None without a slot."""
        return None if self.slot is None else self.slot.lag_bytes

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

    def as_json(self) -> dict[str, Any]:
        """Give plain values, with the derived ones."""
        return {
            **plain(asdict(self)),
            "lag_bytes": self.lag_bytes,
            "dirty": self.dirty,
            "parked": self.parked,
            "credits_24h": sum(self.credits.values()),
        }


async def read_status(source: AsyncConnection[Any], state: AsyncConnection[Any], slot: str) -> Status:
    """Read everything; a handful of small queries."""
    position = await (
        await state.execute("select lsn::text, captured_at, swept_at from cdc.position where slot = %s", [slot])
    ).fetchone()
    delivered = await (
        await state.execute("select feed, count(*) from cdc.ledger where state = 'sent' group by feed order by feed")
    ).fetchall()
    spent = await (
        await state.execute(
            "select kind, sum(credits)::bigint from cdc.credit_usage where bucket > now() - interval '24 hours' "
            "group by kind order by kind"
        )
    ).fetchall()
    workers = await (
        await state.execute(
            "select id, host, pid, role, started_at, seen_at from cdc.worker "
            "where seen_at > now() - interval '30 seconds' order by started_at"
        )
    ).fetchall()
    doorbell = await (
        await state.execute(
            "select state, cause, joined_at, heard_at, latency_ms, rebuilds, swept_at, sweep_ms from cdc.doorbell "
            "where pipeline = %s",
            [slot],
        )
    ).fetchone()
    lsn, captured_at, swept_at = position or (None, None, None)
    return Status(
        at=datetime.now(UTC),
        slot=await read_slot(source, slot),
        position=lsn,
        captured_at=captured_at,
        swept_at=swept_at,
        outbox=await counts(state),
        delivered=dict(delivered),
        credits=dict(spent),
        held=await held_counts(state),
        pauses=await pauses(state),
        gaps=await read_gaps(state, slot),
        health=await read_slot_health(source, state, slot),
        workers=[Process(*worker) for worker in workers],
        doorbell=None if doorbell is None else Doorbell(*doorbell),
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
