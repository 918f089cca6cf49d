"""Whose turn it is to capture: one process at a time, by an advisory lock on the connection that writes positions.

The lock is the fence. Who lost the connection has lost the lock, and can't write a position any more. A process that
is stopped (SIGSTOP, a paused container) keeps its connection, so it would keep the others out for as long as it is
stopped: who holds the lock says a word every `BREATH_SECONDS`, and who stands by ends a connection that has been silent
for `SILENT_SECONDS`. Ending it is safe at any instant: what it had committed is committed, the rest is rolled back.

Source: PostgreSQL documentation, "Advisory Locks", "pg_locks" and "pg_stat_activity".
"""

from __future__ import annotations

from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

BREATH_SECONDS: Final = 2.0
SILENT_SECONDS: Final = 10.0

_KEY: LiteralString = "hashtextextended('cdc.capture.' || %(slot)s, 0)"

_SILENT_SQL: LiteralString = f"""
select a.pid
from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and l.database = (select oid from pg_database where datname = current_database())
  and l.classid = (({_KEY} >> 32) & 4294967295)::oid and l.objid = ({_KEY} & 4294967295)::oid
  and a.state like 'idle%%' and a.state_change < clock_timestamp() - make_interval(secs => %(silent)s)
"""


async def take_turn(conn: AsyncConnection[Any], slot: str) -> bool:
    """Try to take the slot's lock on this connection."""
    row = await (await conn.execute(f"select pg_try_advisory_lock({_KEY})", {"slot": slot})).fetchone()
    return bool(row and row[0])


async def end_silent_holder(conn: AsyncConnection[Any], slot: str) -> int | None:
    """End the connection that holds the slot's lock, if nothing has been heard on it for too long.

    Returns:
        Its process id; None if nobody was ended.

    Raises:
        psycopg.errors.InsufficientPrivilege: if it is another role's.
    """
    row = await (await conn.execute(_SILENT_SQL, {"slot": slot, "silent": SILENT_SECONDS})).fetchone()
    if row is None:
        return None
    await conn.execute("select pg_terminate_backend(%s)", [row[0]])
    return int(row[0])
