"""Waits until what the log says is also what a query sees.

Postgres flushes a commit to the WAL first and makes it visible to others a moment later; with synchronous replication
that moment is as long as the standby takes. The slot hands the change out in between. A worker that is quick enough
would then read the *old* truth, find nothing to send, and the change would be lost. So a group is stored only when a
fresh snapshot sees all of its transactions; whoever reads a view after that sees them too.

Sources: PostgreSQL source, RecordTransactionCommit (xact.c: flush, wait for standbys) and ProcArrayEndTransaction;
PostgreSQL documentation, "Transaction ID and Snapshot Information Functions".
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

import psycopg
import structlog
from psycopg import AsyncConnection

from cdc.errors import SourceUnavailable

log = structlog.get_logger()

_EPOCH: Final = 1 << 32
_HALF: Final = 1 << 31
_PAUSE_SECONDS: Final = 0.002
_LONGEST_PAUSE_SECONDS: Final = 0.5
_WORTH_A_WORD_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions a query sees: all below `xmax` but those `in_progress`. Ids are 64 bits wide."""

    xmax: int
    in_progress: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `pg_current_snapshot()` gives, such as `10:20:10,14`."""
        _, xmax, running = text.split(":")
        return cls(int(xmax), frozenset(map(int, filter(None, running.split(",")))))

    def sees(self, xid: int) -> bool:
        """Tell whether a transaction, named by the 32 bits that the stream has of its id, is visible."""
        return not self.misses([xid])

    def misses(self, xids: Iterable[int]) -> list[int]:
        """Tell which of these are not visible: still in progress, or not below `xmax`.

        Ids of 32 bits are compared on a circle, as Postgres does: half of it lies behind, half ahead.
        """
        xmax, running = self.xmax, self.in_progress
        return [xid for xid in xids if not 0 < (behind := (xmax - xid) % _EPOCH) < _HALF or (xmax - behind) in running]


async def wait_until_visible(conn: AsyncConnection[Any], xids: Collection[int]) -> None:
    """Return when a query sees all of these committed transactions.

    Args:
        conn: to the source, in autocommit.
        xids: 32-bit ids, as Begin messages have them.

    Raises:
        SourceUnavailable: if the connection is lost.
    """
    waited, pause = 0.0, _PAUSE_SECONDS
    while True:
        try:
            row = await (await conn.execute("select pg_current_snapshot()::text")).fetchone()
        except psycopg.OperationalError as error:
            raise SourceUnavailable("the source was lost while a commit was becoming visible") from error
        assert row is not None  # noqa: S101 - a select without FROM gives a row
        xids = Snapshot.parse(row[0]).misses(xids)
        if not xids:
            return
        await asyncio.sleep(pause)
        waited += pause
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        if waited >= _WORTH_A_WORD_SECONDS:
            log.warning("commit_not_visible_yet", transactions=len(xids), waited_seconds=round(waited))
