"""Capture by SQL: peek, store, advance."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

from cdc.source.poll import SlotPoll
from cdc.source.session import Session
from cdc.waiting import wait_at_most


class PollSession(Session):
    """Runs until it is stopped or the connection is lost."""

    async def run(self, stop: asyncio.Event) -> None:
        """Capture until `stop` is set; what was peeked by then is stored and acknowledged.

        Raises:
            SourceUnavailable: if a connection is lost.
            CdcError: for anything else that ends capture.
        """
        config = self.config
        async with SlotPoll.open(config.source_dsn, slot=config.slot, publication=config.publication) as poll:
            # What was stored and not acknowledged before would come again, and may be more than one peek gives.
            await poll.advance(self.durable)
            while not stop.is_set():
                before, self.turned_at = self.durable, time.monotonic()
                await self._peek(poll)
                await self.store_idle_position(at_once=stop.is_set())
                if self.durable > before:
                    await poll.advance(self.durable)
                else:
                    await wait_at_most(stop, config.poll_seconds)
            await self.store_idle_position(at_once=True)
            await poll.advance(self.durable)

    async def _peek(self, poll: SlotPoll) -> None:
        async with aclosing(poll.peek(self.durable)) as portions:
            async for messages in portions:
                self.turned_at = time.monotonic()
                self.collector.feed(messages)
                if self.is_full:
                    await self.store_group()
        if self.collector.has_news:
            await self.store_group()
        self.collector.advance(poll.end_lsn)
