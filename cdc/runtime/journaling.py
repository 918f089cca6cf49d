"""What the journal covers, for `cdc journal`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from cdc.settings import Settings
from cdc.state import journal, replays
from cdc.state.journal import Extent, JournalGap, Span
from cdc.state.replays import Replay


@dataclass(frozen=True, slots=True)
class Covered:
    """A span, how much is in it, and the gap before it, if it is known."""

    span: Span
    extent: Extent

    def as_json(self) -> dict[str, Any]:
        """Give plain values."""
        span = self.span
        return {
            "from_lsn": str(span.from_lsn),
            "from_time": span.from_time.isoformat(),
            "to_lsn": str(span.to_lsn),
            "to_time": None if span.to_time is None else span.to_time.isoformat(),
            "ended_at": None if span.ended_at is None else span.ended_at.isoformat(),
            "system_id": span.system_id,
            "timeline": span.timeline,
            "chunks": self.extent.chunks,
            "changes": self.extent.changes,
            "bytes": self.extent.bytes,
        }


@dataclass(frozen=True, slots=True)
class JournalState:
    """What the journal covers.

    Attributes:
        spans: without a hole each, oldest first; the last one is being written.
        captured_at: when our position was last moved: up to then nothing is missing.
        days: how long chunks are kept.
        megabytes: how much they may take.
    """

    spans: list[Covered]
    gaps: list[JournalGap]
    unfinished: Replay | None
    captured_at: datetime | None
    days: float
    megabytes: float

    def as_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "spans": [covered.as_json() for covered in self.spans],
            "gaps": [
                {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(gap).items()}
                for gap in self.gaps
            ],
            "captured_at": None if self.captured_at is None else self.captured_at.isoformat(),
            "kept_days": self.days,
            "kept_mb": self.megabytes,
            "unfinished_replay": None if self.unfinished is None else self.unfinished.id,
        }


async def read_journal(conn: AsyncConnection[Any], settings: Settings) -> JournalState:
    """Measure everything."""
    slot = settings.cdc_slot
    row = await (await conn.execute("select captured_at from cdc.position where slot = %s", [slot])).fetchone()
    return JournalState(
        spans=[Covered(span, await journal.extent(conn, slot, span)) for span in await journal.spans(conn, slot)],
        gaps=await journal.gaps(conn, slot),
        unfinished=await replays.unfinished(conn, slot),
        captured_at=None if row is None else row[0],
        days=settings.cdc_journal_days,
        megabytes=settings.cdc_journal_mb,
    )
