"""Capture without a slot: Supabase Realtime rings, sweeps find what it doesn't ring for.

Realtime promises no delivery: its slot is temporary, it drops what goes beyond a rate, and a connection can be deaf
while it looks well. So nothing here relies on it. Each event only makes keys dirty sooner; everything that may have
been missed is found by comparing all views with the ledger: at every join, after every doubt, and on a timer.

There is no position, so nothing can be replayed from an LSN.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from cdc.connection import connect, is_transient
from cdc.errors import CdcError, RealtimeLost, SlotInUse, SourceError, SourceUnavailable
from cdc.lsn import Lsn
from cdc.source.capture import CaptureStats
from cdc.source.realtime_bell import Bell
from cdc.source.realtime_session import RealtimeConfig, RealtimeSession
from cdc.state.doorbell import DoorbellState, DoorbellStore
from cdc.waiting import wait_at_most

log = structlog.get_logger()

_STANDBY_SECONDS: Final = 1.0
_BACKOFF: Final = wait_random_exponential(multiplier=0.5, max=30)  # with full jitter: a restart cuts everybody off


class Realtime:
    """Rings from Supabase Realtime. The same small face as `Capture`.

    Args:
        config: see there.

    Attributes:
        stats: as of `Capture`; `durable_lsn` stays zero.
        sweep_due: set whenever something may have been missed.
        sessions: connections made since the process started.
        lost: causes for which connections were given up, newest last.
    """

    def __init__(self, config: RealtimeConfig) -> None:
        self._config = config
        self._store: DoorbellStore | None = None
        self._source: AsyncConnection[Any] | None = None
        self._session: RealtimeSession | None = None
        self._is_storing = False
        self._joined = False
        self.stats = CaptureStats()
        self.sweep_due = asyncio.Event()
        self.sessions = 0
        self.lost: list[str] = []

    @property
    def is_active(self) -> bool:
        """True for the one process that rings, whether or not the channel is up: its sweeps are what counts."""
        return self._store is not None

    def has_captured(self, _: Lsn) -> bool:
        """True when nothing that was heard waits to be stored. Only a sweep that began later tells more."""
        waits = self._session is not None and self._session.bell.news.is_set()
        return self.is_active and not waits and not self._is_storing

    async def run(self, stop: asyncio.Event) -> None:
        """Ring until `stop` is set; whatever is lost is made again.

        Raises:
            CdcError: for what another try can't mend: a state that refuses marks.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(SourceUnavailable),
            wait=self._pause,
            before_sleep=self._note_interruption,
            sleep=lambda seconds: wait_at_most(stop, seconds),
            reraise=True,
        )
        await retrying(self._hold, stop)
        self.stats.state = "stopped"

    async def _hold(self, stop: asyncio.Event) -> None:
        """Take the lock, and keep it from one connection to Realtime to the next."""
        if stop.is_set():
            return
        config = self._config
        try:
            async with AsyncExitStack() as stack:
                store = await DoorbellStore.open(config.state_dsn, config.pipeline, config.lane_seconds)
                stack.push_async_callback(store.close)
                self._source = await connect(config.source_dsn, purpose=f"capture {config.pipeline} canary")
                stack.push_async_callback(self._source.close)
                self._store = store
                stack.callback(self._let_go)
                self.ask_for_sweep("started")
                await self._ring(stop)
                await store.note(DoorbellState("stopped", rebuilds=len(self.lost)))
        except psycopg.Error as error:
            raise _translate(error) from error

    def _let_go(self) -> None:
        self._store = None

    async def _ring(self, stop: asyncio.Event) -> None:
        """Make connections to Realtime, one after the other, until the stop or until a database is lost."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(RealtimeLost),
            wait=self._pause,
            sleep=lambda seconds: wait_at_most(stop, seconds),
            reraise=True,
        )
        await retrying(self._one_session, stop)

    async def _one_session(self, stop: asyncio.Event) -> None:
        if stop.is_set() or self._source is None or self._store is None:
            return
        self._joined = False
        self.sessions += 1
        await self._store.note(DoorbellState("joining", rebuilds=len(self.lost)))
        self._session = RealtimeSession(self._config, self._source, self)
        try:
            await self._session.run(stop)
        except RealtimeLost as lost:
            await self._give_up(lost)
            raise
        finally:
            self._session = None

    async def _give_up(self, lost: RealtimeLost) -> None:
        self.stats.state = "reconnecting"
        self.lost.append(lost.cause)
        self.ask_for_sweep("lost")
        log.warning("realtime_lost", cause=lost.cause, error=lost.message, hint=lost.fix, sessions=self.sessions)
        if self._session is not None and self._store is not None:
            await self.store(self._session.bell)
            await self._store.note(DoorbellState("lost", cause=lost.cause, rebuilds=len(self.lost)))

    def ask_for_sweep(self, cause: str) -> None:
        """Something may have been missed: everything has to be compared."""
        if not self.sweep_due.is_set():
            log.info("sweep_asked_for", cause=cause)
        self.sweep_due.set()

    async def joined(self) -> None:
        """The server says that changes come from now on."""
        self._joined = True
        self.stats.state = "capturing"
        log.info("realtime_joined", pipeline=self._config.pipeline, tables=len(self._config.routes))
        if self._store is not None:
            await self._store.note(DoorbellState("live", joined_at=datetime.now(UTC), rebuilds=len(self.lost)))

    async def heard(self, at: datetime, seconds: float) -> None:
        """The canary came back."""
        if self._store is not None:
            state = DoorbellState("live", heard_at=at, latency_ms=round(seconds * 1000), rebuilds=len(self.lost))
            await self._store.note(state)

    async def store(self, bell: Bell) -> None:
        """Make durable what the bell has gathered."""
        if self._store is None:
            return
        self._is_storing = True
        try:
            touched, events = bell.take()
            await self._store.mark(touched)
        finally:
            self._is_storing = False
        self.stats.groups += 1
        self.stats.changes += events
        self.stats.keys += len(touched)

    def _pause(self, state: RetryCallState) -> float:
        if isinstance(_cause(state), SlotInUse):
            return _STANDBY_SECONDS
        if self._joined:
            state.attempt_number = 1  # it worked in between: this failure is a first one again
            self._joined = False
        return _BACKOFF(state)

    def _note_interruption(self, state: RetryCallState) -> None:
        error = _cause(state)
        if isinstance(error, SlotInUse):
            if self.stats.state != "standby":
                log.info("capture_standing_by", slot=self._config.pipeline, reason=str(error))
            self.stats.state = "standby"
            return
        self.stats.state = "reconnecting"
        log.warning("capture_interrupted", slot=self._config.pipeline, error=str(error), attempt=state.attempt_number)


def _translate(error: psycopg.Error) -> CdcError:
    words = error.diag.message_primary or type(error).__name__
    if is_transient(error):
        return SourceUnavailable(f"a database connection was lost: {words}")
    return SourceError(f"the canary can't be written: {words}", fix="run `cdc setup`, or see the server's words")


def _cause(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
