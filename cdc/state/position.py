"""Where capture stands: the stored position of a slot, and what goes on record when it moves to another server.

All of it is written on the connection that holds the slot's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection

from cdc.errors import SourceUnavailable
from cdc.lsn import Lsn
from cdc.routing.groups import Progress
from cdc.state import gaps
from cdc.state.gaps import NewGap
from cdc.state.lineage import LINEAGE_SQL, Lineage, read_lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The stored position of a slot.

    Attributes:
        lineage: of the source, when it was stored.
        state_lineage: of the database that holds it; None if an older version stored it.
        publication: fingerprint of the publication when it was last found whole.
        swept: everything was compared since the slot began.
    """

    lineage: Lineage
    state_lineage: Lineage | None
    publication: str | None
    progress: Progress
    swept: bool


@dataclass(frozen=True, slots=True)
class Footing:
    """Where a position holds: what is stored beside it.

    Attributes:
        source: lineage of the source.
        state: lineage of the database that holds the position.
        publication: its fingerprint; None leaves the stored one.
    """

    source: Lineage
    state: Lineage
    publication: str | None


async def read_position(conn: AsyncConnection[Any], slot: str) -> Position | None:
    """Read the stored position; None before the first set-up."""
    row = await (
        await conn.execute(
            """
            select system_id, timeline, state_system_id, state_timeline, publication, lsn::text, open_lsn::text,
                   open_changes, swept_at is not null
            from cdc.position where slot = %s
            """,
            [slot],
        )
    ).fetchone()
    if row is None:
        return None
    system_id, timeline, state_id, state_timeline, publication, lsn, open_lsn, open_changes, swept = row
    return Position(
        lineage=Lineage(system_id, timeline),
        state_lineage=None if state_id is None else Lineage(state_id, state_timeline),
        publication=publication,
        progress=Progress(Lsn.parse(lsn), None if open_lsn is None else Lsn.parse(open_lsn), open_changes),
        swept=swept,
    )


# What was captured before the slot began is another span of the journal: between the two nobody read.
_BEGIN: LiteralString = """
with ended as (
    update cdc.journal_span s set to_lsn = p.lsn, ended_at = now(),
        to_time = greatest(s.from_time, p.committed_at), to_chunk = greatest(
        s.after_chunk, (select max(j.id) from cdc.journal j where j.slot = s.slot))
    from cdc.position p
    where s.slot = %(slot)s and p.slot = s.slot and s.ended_at is null
),
begun as (
    insert into cdc.journal_span (slot, system_id, timeline, after_chunk, from_lsn, from_time)
    select %(slot)s, %(system)s, %(timeline)s, coalesce(max(id), 0), %(lsn)s::pg_lsn, now()
    from cdc.journal where slot = %(slot)s
)
insert into cdc.position as p (slot, system_id, timeline, lsn, state_system_id, state_timeline, publication)
values (%(slot)s, %(system)s, %(timeline)s, %(lsn)s::pg_lsn, %(state_system)s, %(state_timeline)s, %(publication)s)
on conflict (slot) do update set system_id = excluded.system_id, timeline = excluded.timeline,
    lsn = excluded.lsn, open_lsn = null, open_changes = 0, swept_at = null, captured_at = now(),
    state_system_id = excluded.state_system_id, state_timeline = excluded.state_timeline,
    publication = coalesce(excluded.publication, p.publication)
"""


async def begin(conn: AsyncConnection[Any], slot: str, footing: Footing, lsn: Lsn) -> None:
    """Store where a new slot begins; everything in the views is yet to be compared."""
    await conn.execute(_BEGIN, {"slot": slot, "lsn": str(lsn), **_params(footing)})


async def begin_after(conn: AsyncConnection[Any], slot: str, footing: Footing, gap: NewGap) -> None:
    """Store where a new slot begins behind a gap, with the gap, in one transaction.

    Args:
        conn: with the slot's lock.
        slot: its name.
        footing: where the new position holds.
        gap: with the place where reading goes on. One that needed a decision is on record already.
    """
    assert gap.to_lsn is not None  # noqa: S101 - the slot was made
    async with conn.transaction():
        await begin(conn, slot, footing, gap.to_lsn)
        await (gaps.record if gap.cause.is_automatic else gaps.settle_decided)(conn, slot, gap)


async def go_on(conn: AsyncConnection[Any], slot: str, footing: Footing, found: Sequence[NewGap]) -> None:
    """Store where the position holds now, and what went by unheard although the stream joins up.

    Args:
        conn: with the slot's lock.
        slot: its name.
        footing: where the position holds.
        found: gaps; with one of them everything is yet to be compared.
    """
    async with conn.transaction():
        await gaps.withdraw_undecided(conn, slot)
        for gap in found:
            await gaps.record(conn, slot, gap)
        await conn.execute(
            """
            update cdc.position set system_id = %(system)s, timeline = %(timeline)s,
                state_system_id = %(state_system)s, state_timeline = %(state_timeline)s,
                publication = coalesce(%(publication)s, publication),
                swept_at = case when %(unheard)s then null else swept_at end
            where slot = %(slot)s
            """,
            {"slot": slot, "unheard": bool(found), **_params(footing)},
        )
        # The journal goes on as well: what it holds lies before the fork, and so on both lines.
        await conn.execute(
            "update cdc.journal_span set system_id = %(system)s, timeline = %(timeline)s"
            " where slot = %(slot)s and ended_at is null",
            {"slot": slot, **_params(footing)},
        )


_FOOTING_SQL: LiteralString = f"""
select p.system_id, p.timeline, p.state_system_id is null
    or (p.state_system_id, p.state_timeline) is not distinct from (here.system_id, here.timeline)
from cdc.position p, ({LINEAGE_SQL}) as here (system_id, timeline)
where not exists (  -- a pipeline that rings from Realtime now has left its slot behind
    select from cdc.doorbell d where d.pipeline = p.slot and d.updated_at > p.captured_at)
"""


async def check_footing(source: AsyncConnection[Any], state: AsyncConnection[Any]) -> None:
    """See to it that neither database is another one than the one that capture has joined up with.

    What a view says is the truth only there, and the ledger is as young as the CRM only there. Capture notices and puts
    it right; a worker that was quicker would deliver from the wrong database in between.

    Args:
        source: the connection that the truth is read on.
        state: any state connection.

    Raises:
        SourceUnavailable: if one is another cluster, on another timeline, or a standby.
    """
    rows = await (await state.execute(_FOOTING_SQL)).fetchall()
    if not rows:
        return  # nothing was captured yet
    here = await read_lineage(source)
    if not any(here == Lineage(system_id, timeline) and same_state for system_id, timeline, same_state in rows):
        raise SourceUnavailable(
            "a database is another one than capture has joined up with: failed over, restored, or the wrong one",
            fix="start `cdc run`, which joins up or says what to decide; `cdc slot` shows it",
        )


def _params(footing: Footing) -> dict[str, str | int | None]:
    return {
        "system": footing.source.system_id,
        "timeline": footing.source.timeline,
        "state_system": footing.state.system_id,
        "state_timeline": footing.state.timeline,
        "publication": footing.publication,
    }
