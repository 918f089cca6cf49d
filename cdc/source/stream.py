"""The slot as a stream: the replication protocol over psycopg's documented `pq` layer.

The rules for status messages, because most clients get them wrong:

- `flushed` is what is durable in our state, and nothing else. - A keepalive's end LSN is confirmed once nothing of
ours lies before it and the position that says so is durable. Otherwise an
  idle slot would hold the WAL of busy tables that we don't watch.
- With work outstanding, a keepalive that asks for a reply gets written = its end, flushed = 0. Zero makes no
statement, so the slot
  stays where it is; a server that is shutting down waits until everything it sent is at least written, and would wait
  for ever for a client that repeats its last commit.

Sources: PostgreSQL documentation, "Streaming Replication Protocol"; psycopg documentation, "pq - libpq wrapper
module".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self

import psycopg
from psycopg import AsyncConnection, errors, generators, pq, sql

from cdc.connection import connect
from cdc.errors import CdcError, DecodeError, SlotInUse, SlotLost, SourceUnavailable, StreamUnreadable
from cdc.lsn import Lsn
from cdc.wire.replication import KEEPALIVE, XLOG_DATA, Keepalive, decode_keepalive, encode_status

STATUS_SECONDS: Final = 5.0
SENDER_TIMEOUT_SECONDS: Final = 15
"""After so long a silence the server lets go of the slot; its own default is a minute. A process that is stopped keeps
its connection, and to end a walsender that can't write wedges it: it wants to say goodbye first. Any role may set this
for its own connection. Source: PostgreSQL documentation, `wal_sender_timeout`."""
_SILENCE_SECONDS: Final = 45.0  # without a word from the server, although we asked for one: the line is dead


class ReplicationStream:
    """An open stream. `read` never blocks; `readable` waits.

    Attributes:
        keepalive: the newest keepalive that was not answered yet, or None.
        flushed: what the server was last told to be durable.
    """

    def __init__(self, conn: AsyncConnection[Any], start: Lsn) -> None:
        self._conn = conn
        self._pg = conn.pgconn
        self._arrived: asyncio.Future[None] | None = None
        self.flushed = start
        self._heard_at = self._told_at = time.monotonic()
        self.keepalive: Keepalive | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str, *, slot: str, publication: str, start: Lsn) -> AsyncIterator[Self]:
        """Connect and start streaming.

        Args:
            dsn: a direct connection string.
            slot: to stream from.
            publication: what to stream.
            start: our position; the server begins with the first transaction that commits after it.

        Raises:
            SlotInUse: if another process streams from it.
            SlotLost: if it is missing or was invalidated.
            SourceUnavailable: if the server can't be reached now.
        """
        conn = await connect(dsn, purpose=f"stream {slot}", replication=True)
        try:
            await conn.execute(sql.SQL("set wal_sender_timeout = {}").format(f"{SENDER_TIMEOUT_SECONDS}s"))
            command = sql.SQL("START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', publication_names {})").format(
                sql.Identifier(slot), sql.SQL(str(start)), sql.Literal(sql.Identifier(publication).as_string(None))
            )
            conn.pgconn.send_query(command.as_bytes(None))
            result = (await conn.wait(generators.execute(conn.pgconn)))[-1]
            if result.status != pq.ExecStatus.COPY_BOTH:
                raise _refused(result, slot)
            yield cls(conn, start)
        finally:
            await conn.close()

    def read(self, most_bytes: int) -> list[bytes]:
        """Take frames with messages that have arrived, none if nothing has; keepalives are noted.

        Args:
            most_bytes: stop once the frames are as large as this together.

        Raises:
            SourceUnavailable: if the stream ended or the connection was lost.
            DecodeError: for a frame of an unknown kind.
        """
        get = self._pg.get_copy_data
        frames: list[bytes] = []
        size = 0
        consumed = False
        try:
            while size < most_bytes:
                length, view = get(1)
                if length > 0:
                    frame = bytes(view)
                    size += length
                    consumed = False
                    if frame[0] == XLOG_DATA:
                        frames.append(frame)
                    else:
                        self._note(frame)
                elif length == 0:
                    if consumed:
                        break
                    self._pg.consume_input()
                    consumed = True  # libpq takes 16 KB at most, with TLS one record: look again before waiting
                else:
                    raise self._ended()
        except psycopg.OperationalError as error:
            raise SourceUnavailable("the replication connection was lost") from error
        if size:
            self._heard_at = time.monotonic()
        return frames

    def _note(self, frame: bytes) -> None:
        """Keep the newest keepalive; a reply that was asked for stays due."""
        if frame[0] != KEEPALIVE:
            raise DecodeError("replication frame", 0, f"frame kind {frame[0]:#04x}")
        keepalive = decode_keepalive(frame)
        asked = self.keepalive is not None and self.keepalive.reply_requested
        self.keepalive = Keepalive(keepalive.end_lsn, keepalive.reply_requested or asked)

    async def readable(self, seconds: float) -> bool:
        """Wait until something arrives or `wake` is called, at most `seconds`; tell whether it happened."""
        loop = asyncio.get_running_loop()
        self._arrived = arrived = loop.create_future()
        loop.add_reader(self._pg.socket, _settle, arrived)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await arrived
        finally:
            loop.remove_reader(self._pg.socket)
            self._arrived = None
        return arrived.done() and not arrived.cancelled()

    def wake(self) -> None:
        """End a wait at once."""
        if self._arrived is not None:
            _settle(self._arrived)

    @property
    def quiet_seconds(self) -> float:
        """How long the server hasn't heard what is durable.

        Other answers don't count: under a steady load they come so often that a confirmation would never be due.
        """
        return time.monotonic() - self._told_at

    async def confirm(self, durable: Lsn) -> None:
        """Acknowledge everything up to `durable`.

        Raises:
            SourceUnavailable: if the line is dead.
        """
        self.flushed = max(self.flushed, durable)
        silent = time.monotonic() - self._heard_at
        if silent > _SILENCE_SECONDS:
            raise SourceUnavailable(f"the server has not been heard of for {silent:.0f} s")
        await self._send(written=self.flushed, flushed=self.flushed, reply=silent > STATUS_SECONDS)
        self._told_at = time.monotonic()

    async def answer_busy(self, keepalive: Keepalive) -> None:
        """Answer a keepalive while work is outstanding: received, and no statement on what is durable."""
        await self._send(written=keepalive.end_lsn, flushed=Lsn(0))

    async def _send(self, *, written: Lsn, flushed: Lsn, reply: bool = False) -> None:
        message = encode_status(written=written, flushed=flushed, reply=reply)
        try:
            while self._pg.put_copy_data(message) == 0:
                await self._writable()
            while self._pg.flush() == 1:
                await self._writable()
        except psycopg.OperationalError as error:
            raise SourceUnavailable("the replication connection was lost") from error

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_writer(self._pg.socket, _settle, ready)
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                await ready
        except TimeoutError:
            raise SourceUnavailable("the server takes no data") from None
        finally:
            loop.remove_writer(self._pg.socket)

    def _ended(self) -> CdcError:
        """Say why the stream ended. COMMAND_OK is a server that shuts down, not success."""
        result = self._pg.get_result()
        while result is not None and result.status == pq.ExecStatus.COMMAND_OK:
            result = self._pg.get_result()
        if result is None:
            return SourceUnavailable("the server ended the stream")
        error = errors.error_from_result(result)
        if isinstance(error, errors.UndefinedObject):
            return StreamUnreadable(
                f"the stream broke off: {error.diag.message_primary}",
                fix="the publication was dropped or renamed while changes were written; see docs/slot.md",
            )
        return SourceUnavailable(f"the server ended the stream ({error.sqlstate or 'connection lost'})")


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _refused(result: pq.abc.PGresult, slot: str) -> CdcError:
    error = errors.error_from_result(result)
    match error:
        case errors.ObjectInUse():
            return SlotInUse(f"another process streams from slot {slot}")
        case errors.UndefinedObject():
            return SlotLost(f"slot {slot} doesn't exist", fix="start `cdc run`: it makes a new one and sweeps")
        case errors.ObjectNotInPrerequisiteState():
            return SlotLost(f"slot {slot} was invalidated", fix="start `cdc run`: it makes a new one and sweeps")
        case _:
            return SourceUnavailable(f"START_REPLICATION was refused ({error.sqlstate})")
