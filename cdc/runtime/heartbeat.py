"""Each process says that it is there, so that `cdc status` can tell who works on the outbox.

The answer says at which level it is to log, if a person has set one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Final, Literal, LiteralString

import psycopg
import structlog

from cdc.logging import set_level
from cdc.state.database import Pool
from cdc.waiting import wait_at_most

log = structlog.get_logger()

BEAT_SECONDS: Final = 10.0
_BEAT: LiteralString = """
insert into cdc.worker as w (id, host, pid, role) values (%(id)s, %(host)s, %(pid)s, %(role)s)
on conflict (id) do update set seen_at = now()
returning (select level from cdc.log_level where until > now())
"""


async def beat(state: Pool, worker_id: str, role: Literal["capture", "delivery"], stop: asyncio.Event) -> None:
    """Write a heartbeat every ten seconds, and take the row away at the end.

    Args:
        state: pool on the state database.
        worker_id: as in the outbox's claims.
        role: `capture` for a process that reads the slot, or stands by for it.
        stop: ends it.
    """
    values = {"id": worker_id, "host": socket.gethostname(), "pid": os.getpid(), "role": role}
    while not stop.is_set():
        try:
            async with state.connection() as conn:
                row = await (await conn.execute(_BEAT, values)).fetchone()
            _log_at(None if row is None else row[0])
        except psycopg.Error as error:  # a read-only or stopped database comes back
            log.warning("heartbeat_missed", error=type(error).__name__)
        await wait_at_most(stop, BEAT_SECONDS)
    with suppress(psycopg.Error):
        async with state.connection() as conn:
            await conn.execute("delete from cdc.worker where id = %(id)s", values)


def _log_at(level: str | None) -> None:
    if set_level(level):
        log.warning("log_level_set", level=level or "default")
