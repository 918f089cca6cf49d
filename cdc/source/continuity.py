"""Does the stream join up with our position? If not, the gap is put on record and closed by a sweep.

Never silently stepped over: before the first row is read, position and server are compared, since Postgres moves a
start position that it can't serve forward without a word. In the same cluster and on the same line of its history a new
slot and a sweep put it right. Where the database may be the wrong one, or older than the CRM, a person decides first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from cdc.connection import connect
from cdc.errors import CdcError, GapUndecided, SlotLost, SourceUnavailable
from cdc.lsn import Lsn
from cdc.routing.groups import Progress
from cdc.source.publication import read_fingerprint
from cdc.source.session import CaptureConfig
from cdc.source.setup import slot_start
from cdc.source.slots import SlotView, create_slot, read_slot
from cdc.state.capture import CaptureStore
from cdc.state.causes import GapCause
from cdc.state.gaps import NewGap, await_decision
from cdc.state.lineage import Fork, Lineage, left_at, parse_history, read_lineage
from cdc.state.position import Footing, Position, begin, begin_after, go_on, read_position

log = structlog.get_logger()

_FIRST_TIMELINE = 1  # it has no history


@dataclass(frozen=True, slots=True)
class Server:
    """The server that we are connected to.

    Attributes:
        lineage: its cluster and timeline.
        end: of its WAL.
        database: the one we are in.
        history: where its timeline parted from earlier ones; None if that can't be read. Only asked for when the
            timeline isn't ours.
    """

    lineage: Lineage
    end: Lsn
    database: str
    history: Sequence[Fork] | None = ()


def find_gap(position: Position, server: Server, slot: SlotView | None) -> GapCause | None:
    """Say why the stream can't go on from our position; None when it can.

    A new slot's restart LSN is where the WAL ended when it was made, so one that lies before our position belongs to
    the slot that we know. A slot that stands at or before our position has lost us nothing, whoever made it.
    """
    lsn = position.progress.lsn
    read_to = max(lsn, position.progress.open_lsn or lsn)
    has_moved = server.lineage.timeline != position.lineage.timeline
    if server.lineage.system_id != position.lineage.system_id:
        return GapCause.ANOTHER_CLUSTER
    if server.end < read_to:
        return GapCause.SERVER_BEHIND
    if has_moved:
        if server.history is None:
            return GapCause.HISTORY_UNKNOWN
        fork = left_at(server.history, position.lineage.timeline)
        if fork is None or fork < read_to:
            return GapCause.FORKED_BEFORE
    if slot is None:
        return GapCause.FAILED_OVER if has_moved else GapCause.SLOT_DROPPED
    return _find_fault(slot, server.database, lsn)


_INVALIDATIONS = {"wal_removed": GapCause.WAL_REMOVED, "idle_timeout": GapCause.IDLE_TIMEOUT}


def _find_fault(slot: SlotView, database: str, lsn: Lsn) -> GapCause | None:
    if slot.plugin != "pgoutput" or slot.database != database:
        return GapCause.SLOT_TAKEN
    if slot.is_lost:  # before Postgres 17 too much WAL was the one reason there was on a primary
        return _INVALIDATIONS.get(slot.invalidation or "wal_removed", GapCause.SLOT_INVALIDATED)
    if slot.confirmed_lsn is not None and slot.confirmed_lsn > lsn:
        is_ours = slot.restart_lsn is not None and slot.restart_lsn < lsn
        return GapCause.SLOT_ADVANCED if is_ours else GapCause.SLOT_RECREATED
    return None


async def join_up(
    conn: AsyncConnection[Any], store: CaptureStore, config: CaptureConfig, *, unreadable: bool = False
) -> tuple[Progress, bool]:
    """Compare, and mend what doesn't join.

    Args:
        conn: to the source.
        store: of the slot's position.
        config: of the capture.
        unreadable: the last session found that the server can't decode what comes next.

    Returns:
        Where to start, and whether everything has been swept since the slot began.

    Raises:
        SlotLost: if there is no slot and never was one.
        GapUndecided: while a person has yet to decide on a gap.
        SourceUnavailable: if the server is a standby, which has no slot for us yet.
    """
    position = await read_position(store.conn, config.slot)
    view = await read_slot(conn, config.slot)
    server = await _read_server(conn, config, position)
    if position is None:
        if view is None:
            raise SlotLost(f"slot {config.slot} doesn't exist", fix="run `cdc setup`")
        start = await slot_start(conn, config.slot)
        await begin(store.conn, config.slot, await _footing(conn, store, config, server.lineage), start)
        return Progress(start), False
    cause = find_gap(position, server, view)
    if cause is None and unreadable:
        if await read_fingerprint(conn, config.publication) is None:
            raise SourceUnavailable(f"publication {config.publication} doesn't exist", fix="run `cdc setup`")
        cause = GapCause.STREAM_UNREADABLE
    if cause is not None:
        return await _begin_anew(conn, store, config, _gap(cause, position, server, view, store)), False
    return await _go_on(conn, store, config, position, server)


async def _go_on(
    conn: AsyncConnection[Any], store: CaptureStore, config: CaptureConfig, position: Position, server: Server
) -> tuple[Progress, bool]:
    """The slot joins up. What else may have gone by unheard: the publication, and the ledger's own history."""
    if server.lineage != position.lineage:
        log.warning("failed_over", slot=config.slot, to=str(server.lineage), lsn=str(position.progress.lsn), gap=False)
    footing = await _footing(conn, store, config, server.lineage)
    causes = []
    if _is_ledger_doubtful(position, store):
        causes.append(GapCause.LEDGER_DOUBTFUL)
    if position.publication is not None and footing.publication not in {None, position.publication}:
        causes.append(GapCause.PUBLICATION_CHANGED)
    found = [_gap(cause, position, server, None, store, to_lsn=server.end) for cause in causes]
    await go_on(store.conn, config.slot, footing, found)
    for gap in found:
        _tell(gap, config.slot)
    return position.progress, position.swept and not found


async def _footing(conn: AsyncConnection[Any], store: CaptureStore, config: CaptureConfig, source: Lineage) -> Footing:
    return Footing(source, store.lineage, await read_fingerprint(conn, config.publication))


def _is_ledger_doubtful(position: Position, store: CaptureStore) -> bool:
    """The ledger went along to another server: what was delivered in the moments before isn't in it."""
    return position.state_lineage not in {None, store.lineage}


def _gap(
    cause: GapCause,
    position: Position,
    server: Server,
    slot: SlotView | None,
    store: CaptureStore,
    *,
    to_lsn: Lsn | None = None,
) -> NewGap:
    facts = [f"found {server.lineage}, WAL to {server.end}"]
    if server.lineage != position.lineage:
        fork = left_at(server.history or (), position.lineage.timeline)
        facts.append(f"known {position.lineage}" + (f", left at {fork}" if fork is not None else ""))
    if slot is not None:
        facts.append(f"slot of {slot.plugin} in {slot.database}, restart {slot.restart}, confirmed {slot.confirmed}")
    return NewGap(
        cause=cause,
        from_lsn=position.progress.lsn,
        to_lsn=to_lsn,
        detail="; ".join(facts),
        lineage=server.lineage,
        ledger_doubtful=_is_ledger_doubtful(position, store),
    )


async def _begin_anew(conn: AsyncConnection[Any], store: CaptureStore, config: CaptureConfig, gap: NewGap) -> Progress:
    if not gap.cause.is_automatic and not await await_decision(store.conn, config.slot, gap):
        raise GapUndecided(f"{gap.cause.meaning} ({gap.detail}) Capture and delivery wait.", fix="`cdc slot repair`")
    await conn.execute(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s", [config.slot]
    )
    await create_slot(conn, config.slot, failover=config.slot_failover)
    found = replace(gap, to_lsn=await slot_start(conn, config.slot))
    await begin_after(store.conn, config.slot, await _footing(conn, store, config, gap.lineage), found)
    _tell(found, config.slot)
    assert found.to_lsn is not None  # noqa: S101 - slot_start gave it
    return Progress(found.to_lsn)


def _tell(gap: NewGap, slot: str) -> None:
    log.error(
        "slot_gap", slot=slot, cause=gap.cause.name, meaning=gap.cause.meaning, from_lsn=str(gap.from_lsn),
        to_lsn=str(gap.to_lsn), detail=gap.detail, ledger_doubtful=gap.ledger_doubtful, repair="a sweep follows",
    )  # fmt: skip


async def _read_server(conn: AsyncConnection[Any], config: CaptureConfig, position: Position | None) -> Server:
    lineage = await read_lineage(conn)
    if lineage.timeline is None:
        raise SourceUnavailable("the server is a standby", fix="point DATABASE_URL at the primary, or promote it")
    row = await (await conn.execute("select pg_current_wal_lsn()::text, current_database()::text")).fetchone()
    assert row is not None  # noqa: S101 - a select without FROM gives a row
    server = Server(lineage, Lsn.parse(row[0]), str(row[1]))
    if position is None or lineage == position.lineage or lineage.system_id != position.lineage.system_id:
        return server
    history = () if lineage.timeline == _FIRST_TIMELINE else await _read_history(conn, config, lineage.timeline)
    return replace(server, history=history)


async def _read_history(conn: AsyncConnection[Any], config: CaptureConfig, timeline: int) -> Sequence[Fork] | None:
    """Read where a timeline came from: over the replication protocol, or as a file where the role may."""
    text = await _history_over_replication(config.source_dsn, timeline)
    if text is None:
        try:
            row = await (await conn.execute("select pg_read_file(%s)", [f"pg_wal/{timeline:08X}.history"])).fetchone()
        except psycopg.Error:
            return None
        text = None if row is None else row[0]
    try:
        return None if text is None else parse_history(text)
    except ValueError:
        return None


async def _history_over_replication(dsn: str, timeline: int) -> str | None:
    try:
        conn = await connect(dsn, purpose="timeline history", replication=True)
        try:
            row = await (await conn.execute(f"TIMELINE_HISTORY {timeline}".encode())).fetchone()
        finally:
            await conn.close()
    except (CdcError, psycopg.Error):  # a pooler, or no right to replicate by that protocol
        return None
    return None if row is None else bytes(row[1]).decode() if isinstance(row[1], bytes) else str(row[1])
