"""Reads all that rules and metrics are made of. What costs more is read less often."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from cdc.errors import CdcError
from cdc.runtime.connections import Connections
from cdc.runtime.environment import Environment
from cdc.runtime.limits import credit_limit
from cdc.settings import Settings
from cdc.state.database import Pool
from cdc.state.envelope import Keyring
from cdc.state.secrets import check_keys, sealed_values
from cdc.watch.outlook import Outlook, Picture, Volume, read_free, read_open, read_reconciled, read_volume
from cdc.watch.status import read_status

VOLUME_SECONDS: Final = 1_800.0


class Lookout:
    """Looks for one process.

    Args:
        source: pool on the source; that it is away is something to see, and no error.
        state: pool on the state database.
        pipeline: name of the slot.
        credit_limit: credits that the edition allows in 24 hours.
        encryption_key: ours, to see whether it opens what is stored.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        source: Pool,
        state: Pool,
        pipeline: str,
        *,
        credit_limit: int,
        encryption_key: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._state = state
        self._pipeline = pipeline
        self._credit_limit = credit_limit
        self._keyring = Keyring.parse(encryption_key)
        self._clock = clock
        self._volume: tuple[float, Volume] | None = None

    async def look(self) -> Picture:
        """Read everything.

        Raises:
            psycopg.Error: the state database is away.
        """
        async with AsyncExitStack() as stack:
            state = await stack.enter_async_context(self._state.connection())
            source, free = await self._reach(stack)
            status = await read_status(source, state, self._pipeline, credit_limit=self._credit_limit)
            outlook = Outlook(
                volume=await self._volume_of(state),
                reconciled=await read_reconciled(state, self._pipeline),
                free=free,
                key_fits=await self._key_fits(state),
                alerts=await read_open(state, self._pipeline),
            )
        return Picture(status, outlook)

    async def _reach(self, stack: AsyncExitStack) -> tuple[AsyncConnection[Any] | None, dict[str, int]]:
        try:
            source = await stack.enter_async_context(self._source.connection())
            return source, await read_free(source)
        except psycopg.Error:
            return None, {}

    async def _volume_of(self, state: AsyncConnection[Any]) -> Volume:
        now = self._clock()
        if self._volume is None or now - self._volume[0] >= VOLUME_SECONDS:
            self._volume = now, await read_volume(state)
        return self._volume[1]

    async def _key_fits(self, state: AsyncConnection[Any]) -> bool | None:
        if not await sealed_values(state):
            return None
        try:
            await check_keys(state, self._keyring)
        except CdcError:
            return False
        return True


def make_lookout(environment: Environment, settings: Settings, connections: Connections) -> Lookout:
    """Make one for a process that runs the pipeline."""
    return Lookout(
        connections.source,
        connections.state,
        settings.cdc_slot,
        credit_limit=credit_limit(settings),
        encryption_key=environment.encryption_key,
    )
