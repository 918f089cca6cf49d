"""Does the stream join up with our position? If not, the gap is put on record and closed by a sweep.

Never silently stepped over: before the first row is read, position and server are compared. When they don't join up,
the pipeline records the gap, makes a new slot where the server is now, and owes a sweep, which finds everything that
changed in the gap by comparing all views with the ledger.
"""

from __future__ import annotations

from typing import Any

import structlog
from psycopg import AsyncConnection

from cdc.errors import SlotLost
from cdc.routing.groups import Progress
from cdc.source.setup import slot_start
from cdc.source.slots import Checkpoint, find_gap, read_current_lsn, read_identity, read_slot
from cdc.state.capture import CaptureStore

log = structlog.get_logger()


async def join_up(conn: AsyncConnection[Any], store: CaptureStore, slot: str) -> tuple[Progress, bool]:
    """Compare, and mend what doesn't join.

    Args:
        conn: to the source.
        store: of the slot's position.
        slot: its name.

    Returns:
        Where to start, and whether everything has been swept since the slot began.

    Raises:
        SlotLost: if there is no slot and never was one.
    """
    position = await store.read()
    identity = await read_identity(conn)
    view = await read_slot(conn, slot)
    if position is None:
        if view is None:
            raise SlotLost(f"slot {slot} doesn't exist", fix="run `cdc setup`")
        start = await slot_start(conn, slot)
        await store.begin(identity.system_id, identity.timeline, start)
        return Progress(start), False
    checkpoint = Checkpoint(position.system_id, position.timeline, position.progress.lsn)
    cause = find_gap(checkpoint, identity, view, await read_current_lsn(conn))
    if cause is None:
        return position.progress, position.swept
    return await _begin_anew(conn, store, slot, cause, checkpoint), False


async def _begin_anew(
    conn: AsyncConnection[Any], store: CaptureStore, slot: str, cause: str, position: Checkpoint
) -> Progress:
    identity = await read_identity(conn)
    await conn.execute(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s", [slot]
    )
    await conn.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
    start = await slot_start(conn, slot)
    await store.record_gap(cause, position.lsn, start)
    await store.begin(identity.system_id, identity.timeline, start)
    log.error(
        "slot_gap", slot=slot, cause=cause, from_lsn=str(position.lsn), to_lsn=str(start), repair="a sweep follows"
    )
    return Progress(start)
