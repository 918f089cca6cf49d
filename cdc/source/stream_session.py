"""Capture over a replication stream.

Reading and storing overlap: while one group is being committed the next one gathers. So a quiet stream is stored
change by change, at once, and a busy one in groups as large as a commit takes to happen. Memory is bounded by two
groups.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from cdc.source.session import Session
from cdc.source.stream import STATUS_SECONDS, ReplicationStream
from cdc.waiting import wait_at_most
from cdc.wire.replication import XLOG_HEADER_BYTES

_BYTES_A_TURN: Final = 128 * 1024  # some 1,000 changes, about 2 ms of work; then other tasks get their turn
_RUSH_CHANGES: Final = 1_000  # a group of this size says that changes come faster than they are stored one by one
_GATHER_SECONDS: Final = 0.25
_QUIET_SECONDS: Final = 0.02  # nothing for so long says that the rush is over
_CONFIRM_SECONDS: Final = 0.2  # the server pays for each confirmation; few of them are enough


class StreamSession(Session):
    """Runs until it is stopped or the connection is lost."""

    _stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Capture until `stop` is set, then store and confirm the rest.

        Raises:
            SourceUnavailable: if a connection is lost.
            CdcError: for anything else that ends capture.
        """
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._enough = asyncio.Event()
        config = self.config
        async with ReplicationStream.open(
            config.source_dsn, slot=config.slot, publication=config.publication, start=self.durable
        ) as stream:
            try:
                async with asyncio.TaskGroup() as tasks:
                    watching = tasks.create_task(self._watch(stop, stream), name="watch for a stop")
                    storing = tasks.create_task(self._store_groups(), name="store groups")
                    await self._read(stream)
                    self._news.set()
                    await storing
                    watching.cancel()
                await self.store_idle_position(at_once=True)
                await stream.confirm(self.durable)
            except ExceptionGroup as group:
                raise group.exceptions[0] from group.exceptions[0].__cause__

    async def _watch(self, stop: asyncio.Event, stream: ReplicationStream) -> None:
        await stop.wait()
        self._stopping = True
        self._enough.set()
        stream.wake()

    async def _read(self, stream: ReplicationStream) -> None:
        while not self._stopping:
            self.turned_at = time.monotonic()
            frames = stream.read(_BYTES_A_TURN)
            self.collector.feed(frames, XLOG_HEADER_BYTES)
            if self.collector.has_news:
                self._news.set()
            await self._reply(stream)
            if not frames:
                await self._wait_for_more(stream)
            elif self.is_full:
                await self._wait_for_room(stream)
            else:
                await asyncio.sleep(0)

    async def _wait_for_more(self, stream: ReplicationStream) -> None:
        if self._stopping:  # a stop that came while we replied would end no wait any more
            return
        if self.collector.has_news:
            if not await stream.readable(_QUIET_SECONDS):
                self._enough.set()
        else:
            # What is being stored is durable in a moment, and nothing would end a longer wait then.
            due = stream.flushed < self.durable or self.is_storing
            await stream.readable(_CONFIRM_SECONDS if due else STATUS_SECONDS)

    async def _wait_for_room(self, stream: ReplicationStream) -> None:
        """Stop reading until the group that is being stored is durable; the server waits for us meanwhile."""
        self._room.clear()
        self._enough.set()
        while not self._room.is_set():
            await wait_at_most(self._room, STATUS_SECONDS)
            self.turned_at = time.monotonic()
            if stream.quiet_seconds >= STATUS_SECONDS:
                await stream.confirm(self.durable)

    async def _store_groups(self) -> None:
        """Store group after group; ends when reading has ended and nothing is left."""
        rush = False
        while True:
            await self._news.wait()
            self._news.clear()
            while self.collector.has_news:
                if rush:
                    await self._gather()
                self._room.set()  # the group that is taken now leaves room for the next one
                rush = self.collector.size >= _RUSH_CHANGES
                await self.store_group()
            rush = False
            self._room.set()
            if self._stopping:
                return

    async def _gather(self) -> None:
        """Let a group grow while changes come fast: a key that comes again is marked once for each group."""
        self._enough.clear()
        if not (self.is_full or self._stopping):
            await wait_at_most(self._enough, _GATHER_SECONDS)

    async def _reply(self, stream: ReplicationStream) -> None:
        """Answer a keepalive, or say how far we are if that is due."""
        keepalive, stream.keepalive = stream.keepalive, None
        if keepalive is not None:
            if not (self.is_storing or self.collector.has_news or self.collector.in_transaction):
                self.collector.advance(keepalive.end_lsn)
                await self.store_idle_position()
            if keepalive.reply_requested and self.durable < keepalive.end_lsn:
                await stream.answer_busy(keepalive)
        unconfirmed = stream.flushed < self.durable
        if stream.quiet_seconds >= (_CONFIRM_SECONDS if unconfirmed else STATUS_SECONDS):
            await stream.confirm(self.durable)
