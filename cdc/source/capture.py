"""Capture: from the slot to a durable outbox, for as long as the process lives.

One session is one connection to the slot. It ends with an error or a stop; the next one begins at the durable
position, so whatever was gathered and not stored is simply read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection, errors
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from cdc.connection import connect, is_transient
from cdc.errors import (
    CdcError,
    GapUndecided,
    PreflightError,
    SlotInUse,
    SlotLost,
    SourceError,
    SourceUnavailable,
    StreamUnreadable,
)
from cdc.lsn import ZERO, Lsn
from cdc.routing.collector import Collector
from cdc.routing.groups import Group, Progress
from cdc.source.continuity import join_up
from cdc.source.poll_session import PollSession
from cdc.source.session import CaptureConfig
from cdc.source.standby import Standby
from cdc.source.stream_session import StreamSession
from cdc.state.capture import CaptureStore
from cdc.waiting import unless, wait_at_most

log = structlog.get_logger()

_STANDBY_SECONDS: Final = 1.0
_BLOCKED_SECONDS: Final = 2.0
_BACKOFF: Final = wait_random_exponential(multiplier=0.2, max=30)


@dataclass(slots=True)
class CaptureStats:
    """What happened since the process started.

    Attributes:
        state: starting, standby, capturing, blocked (a gap awaits a person's decision), reconnecting or stopped.
        changes: row changes made durable.
        keys: keys marked dirty, counted once for each group.
        groups: state transactions.
        durable_lsn: how far the WAL is captured.
    """

    state: str = "starting"
    changes: int = 0
    keys: int = 0
    groups: int = 0
    durable_lsn: Lsn = ZERO


class Capture:
    """Reads the slot and stores what it says.

    Args:
        config: see there.
        on_group: called after each group is durable.

    Attributes:
        sweep_due: set when the stream began anew (first start, or after a gap), so that everything has to be
            compared.
    """

    def __init__(self, config: CaptureConfig, *, on_group: Callable[[], None] = lambda: None) -> None:
        self._config = config
        self._on_group = on_group
        self.stats = CaptureStats()
        self.sweep_due = asyncio.Event()
        self._groups_before = 0
        self._unreadable = False
        self._has_begun = False
        self._current: StreamSession | PollSession | None = None

    def has_captured(self, lsn: Lsn) -> bool:
        """True when everything that committed before `lsn` is durable in the outbox."""
        return self._current is not None and self._current.has_captured(lsn)

    @property
    def still_seconds(self) -> float:
        """For how long capture hasn't moved without knowing why."""
        return 0.0 if self._current is None else self._current.still_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Capture until `stop` is set; lost connections are made again.

        Raises:
            CdcError: for what another try can't mend: bytes that don't decode, a refused group.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception(self._may_pass),
            wait=self._pause,
            before_sleep=self._note,
            sleep=lambda seconds: wait_at_most(stop, seconds),
            reraise=True,
        )
        await retrying(self._session, stop)
        self.stats.state = "stopped"

    def _may_pass(self, error: BaseException) -> bool:
        """Tell what is worth another try: a refusal too, once it has worked. Passwords and rights come and go."""
        return isinstance(error, SourceUnavailable) or (self._has_begun and isinstance(error, PreflightError))

    def _pause(self, state: RetryCallState) -> float:
        if isinstance(_cause(state), SlotInUse):
            return _STANDBY_SECONDS
        if isinstance(_cause(state), GapUndecided):
            return _BLOCKED_SECONDS
        if self.stats.groups > self._groups_before:
            state.attempt_number = 1  # it worked in between: this failure is a first one again
        self._groups_before = self.stats.groups
        return _BACKOFF(state)

    def _note_standby(self, reason: str = "another process captures") -> None:
        if self.stats.state != "standby":
            log.info("capture_standing_by", slot=self._config.slot, reason=reason)
        self.stats.state = "standby"

    def _note(self, state: RetryCallState) -> None:
        error = _cause(state)
        if isinstance(error, SlotInUse):
            self._note_standby(str(error))
            return
        if isinstance(error, GapUndecided):
            if self.stats.state != "blocked":
                log.error("capture_blocked", slot=self._config.slot, why=error.message, fix=error.fix)
            self.stats.state = "blocked"
            return
        self.stats.state = "reconnecting"
        log.warning("capture_interrupted", slot=self._config.slot, error=str(error), attempt=state.attempt_number)

    async def _session(self, stop: asyncio.Event) -> None:
        if stop.is_set():
            return
        try:
            await self._join_and_capture(stop)
        except psycopg.Error as error:
            raise _translate(error, self._config.slot) from error

    async def _join_and_capture(self, stop: asyncio.Event) -> None:
        config = self._config
        standby = Standby(config.slot, stop, self._note_standby)
        try:
            store = await CaptureStore.open(config.state_dsn, config.slot, config.lane_seconds, wait=standby.wait)
        except SlotInUse:
            if stop.is_set():
                return
            raise
        try:
            await _while_held(store, self._capture(store, standby, stop))
        finally:
            await store.close()

    async def _capture(self, store: CaptureStore, standby: Standby, stop: asyncio.Event) -> None:
        config = self._config
        async with AsyncExitStack() as stack:
            source = await connect(config.source_dsn, purpose=f"capture {config.slot} source")
            stack.push_async_callback(source.close)
            await standby.free_slot(source)
            joined = await unless(stop, join_up(source, store, config, unreadable=self._unreadable))
            if joined is not None:
                await self._read(source, store, *joined, stop)

    async def _read(
        self, source: AsyncConnection[Any], store: CaptureStore, start: Progress, swept: bool, stop: asyncio.Event
    ) -> None:
        config = self._config
        self._unreadable = False
        if not swept:
            self.sweep_due.set()
        self.stats.durable_lsn = start.lsn
        log.info("capture_started", slot=config.slot, lsn=str(start.lsn), transport=config.transport)
        self.stats.state = "capturing"
        self._has_begun = True
        session = StreamSession if config.transport == "stream" else PollSession
        self._current = session(config, source, store, Collector(config.routes, start), self._stored)
        try:
            await self._current.run(stop)
        except StreamUnreadable as error:
            self._unreadable = True
            raise SourceUnavailable(error.message, fix=error.fix) from error
        except SlotLost as error:  # joining up anew puts the gap on record
            raise SourceUnavailable(error.message) from error
        finally:
            self._current = None

    def _stored(self, group: Group) -> None:
        self.stats.groups += 1
        self.stats.changes += group.changes
        self.stats.keys += len(group.dirty)
        self.stats.durable_lsn = group.progress.lsn
        self._on_group()


async def _while_held(store: CaptureStore, capture: Coroutine[Any, Any, None]) -> None:
    """Capture for as long as the turn is ours."""
    running, held = asyncio.ensure_future(capture), asyncio.ensure_future(store.keep_alive())
    try:
        await asyncio.wait({running, held}, return_when=asyncio.FIRST_COMPLETED)
        await (running if running.done() else held)
    finally:
        for task in (running, held):
            task.cancel()
        await asyncio.gather(running, held, return_exceptions=True)


def _translate(error: psycopg.Error, slot: str) -> CdcError:
    """Say what a query meant that failed while the stream was joined up."""
    words = error.diag.message_primary or type(error).__name__
    if isinstance(error, errors.ObjectInUse):
        return SlotInUse(f"another process reads slot {slot}")
    if is_transient(error):
        return SourceUnavailable(f"a database connection was lost: {words}")
    return SourceError(f"capture can't begin: {words}", fix="run `cdc setup`, or see the server's words")


def _cause(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
