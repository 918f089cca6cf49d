"""The slot by ordinary SQL, for hosts that reach only the session pooler.

The same slot, messages and guarantees: peek (which consumes nothing), make durable, then advance. A crash in between
is harmless, since what is at or below the position is skipped when it is peeked again. Source: PostgreSQL
documentation, "Replication Management Functions".
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import psycopg
from psycopg import AsyncConnection, errors

from cdc.connection import connect, is_transient
from cdc.errors import CdcError, SlotInUse, SlotLost, SourceError, SourceUnavailable, StreamUnreadable
from cdc.lsn import Lsn

_ROWS_A_PEEK: Final = 50_000  # the server ends a peek at the first transaction that goes beyond
_ROWS_A_FETCH: Final = 2_000


_PAGE_BYTES: Final = 8192  # of WAL; every page begins with a header, between two records or inside one
_PAGE_HEADER_BYTES: Final = 24


class RecordBoundaries:
    """Chooses positions that lie between two WAL records.

    The flush LSN may lie inside a record, at the end of a page. A slot that is advanced to there skips the record,
    since it begins before; if it is a commit, that commit is lost. The insert LSN is always where the next record
    begins, so it is kept until the flush LSN has passed it.
    """

    def __init__(self) -> None:
        self._flushed = Lsn(0)
        self._pending: Lsn | None = None

    def note(self, insert: Lsn, flush: Lsn) -> Lsn:
        """Take both LSNs as the server gives them now; give the last known boundary that is flushed."""
        for boundary in (self._pending, insert):
            if boundary is not None and flush >= _end_before(boundary):
                self._flushed = max(self._flushed, boundary)
                self._pending = None
        if self._pending is None and insert > self._flushed:
            self._pending = insert
        return self._flushed


def _end_before(boundary: Lsn) -> Lsn:
    """Where the record before ends; a page's header lies between it and a record that begins right behind that."""
    behind_header = boundary % _PAGE_BYTES == _PAGE_HEADER_BYTES
    return Lsn(boundary - _PAGE_HEADER_BYTES) if behind_header else boundary


class SlotPoll:
    """Reads the slot in peeks.

    Attributes:
        end_lsn: a position between two WAL records that was flushed when the last empty peek began: nothing of ours
            lies before it that wasn't peeked.
    """

    def __init__(self, conn: AsyncConnection[Any], slot: str, publication: str) -> None:
        self._conn = conn
        self._slot = slot
        self._publication = publication
        self._boundaries = RecordBoundaries()
        self.end_lsn = Lsn(0)

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str, *, slot: str, publication: str) -> AsyncIterator[Self]:
        """Connect.

        Raises:
            SourceUnavailable: if the server can't be reached now.
        """
        conn = await connect(dsn, purpose=f"poll {slot}")
        try:
            yield cls(conn, slot, publication)
        finally:
            await conn.close()

    async def peek(self, durable: Lsn) -> AsyncGenerator[list[bytes], None]:
        """Give the messages behind the slot's position, in portions, whole transactions only.

        Args:
            durable: how far the WAL is captured and stored.

        Raises:
            SlotInUse: if another process reads it.
            SlotLost: if it is missing or was invalidated, or if somebody moved it beyond `durable`: between two peeks
                nothing holds it.
            SourceUnavailable: if the connection is lost.
        """
        try:
            # A peek ends at what is flushed. Commits that are only written yet come with the next one.
            now = "select pg_current_wal_insert_lsn()::text, pg_current_wal_flush_lsn()::text"
            row = await (await self._conn.execute(now)).fetchone()
            assert row is not None  # noqa: S101 - a select without FROM gives a row
            end = self._boundaries.note(Lsn.parse(row[0]), Lsn.parse(row[1]))
            async with self._conn.transaction():
                await self._declare()
                rows = await self._fetch()  # the peek itself; the rest is read from its result
                await self._check_unmoved(durable)
                if not rows:
                    self.end_lsn = end
                while rows:
                    yield rows
                    rows = await self._fetch()
        except psycopg.Error as error:
            raise _translate(error, self._slot) from error

    async def _declare(self) -> None:
        """Open the SQL cursor; it closes with the transaction, whatever becomes of the connection."""
        await self._conn.execute(
            """
            declare cdc_peek no scroll cursor for
            select data from pg_logical_slot_peek_binary_changes(
                %s, null, %s, 'proto_version', '1', 'publication_names', %s)
            """,
            [self._slot, _ROWS_A_PEEK, '"' + self._publication.replace('"', '""') + '"'],
            prepare=False,
        )

    async def _fetch(self) -> list[bytes]:
        cursor = await self._conn.execute(f"fetch {_ROWS_A_FETCH} from cdc_peek", prepare=False, binary=True)
        return [row[0] for row in await cursor.fetchall()]

    async def _check_unmoved(self, durable: Lsn) -> None:
        moved = await self._conn.execute(
            "select 1 from pg_replication_slots where slot_name = %s and confirmed_flush_lsn > %s::pg_lsn",
            [self._slot, str(durable)],
        )
        if await moved.fetchone() is not None:
            raise SlotLost(f"slot {self._slot} was advanced or made anew by somebody else")

    async def advance(self, durable: Lsn) -> None:
        """Acknowledge everything up to `durable`."""
        try:
            # Advancing to where it stands is an error below the slot's minimum; ask first.
            await self._conn.execute(
                """
                select pg_replication_slot_advance(slot_name, %(lsn)s::pg_lsn) from pg_replication_slots
                where slot_name = %(slot)s and confirmed_flush_lsn < %(lsn)s::pg_lsn
                """,
                {"slot": self._slot, "lsn": str(durable)},
            )
        except psycopg.Error as error:
            raise _translate(error, self._slot) from error


def _translate(error: psycopg.Error, slot: str) -> CdcError:
    match error:
        case errors.ObjectInUse():
            return SlotInUse(f"another process reads slot {slot}")
        case errors.UndefinedObject():  # the slot; or the publication, as of the WAL that was to be decoded
            return StreamUnreadable(f"{error.diag.message_primary}", fix="see docs/slot.md")
        case errors.ObjectNotInPrerequisiteState():
            return SlotLost(f"slot {slot} was invalidated", fix="start `cdc run`: it makes a new one and sweeps")
        case errors.InsufficientPrivilege():  # rights come and go; it is tried again
            return SourceUnavailable(
                f"the role may not read slot {slot} any more: {error.diag.message_primary}",
                fix="ALTER ROLE ... REPLICATION; for the role of DATABASE_URL",
            )
    if is_transient(error):
        return SourceUnavailable("the connection that reads the slot was lost")
    return SourceError(f"slot {slot} can't be read: {error.diag.message_primary or type(error).__name__}")
