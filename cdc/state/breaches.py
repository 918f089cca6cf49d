"""Breaches on record: stretches in which the publication didn't carry all that is watched.

A breach is a gap without an end until the publication is whole again; then a sweep closes it as any other.
"""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection

from cdc.state.causes import GapCause

# Each look leaves a sample. What went missing did so after the last one before this.
_LAST_LOOK: LiteralString = """
    least(p.lsn, (select s.end_lsn from cdc.slot_sample s where s.slot = p.slot order by s.at desc offset 1 limit 1))
"""


async def open_breach(conn: AsyncConnection[Any], slot: str, detail: str) -> bool:
    """Put on record that not all of what is watched is published, until it is mended.

    Args:
        conn: to the state.
        slot: its name.
        detail: what is missing.

    Returns:
        True if that is news.
    """
    params = {"slot": slot, "cause": GapCause.PUBLICATION_INCOMPLETE.name, "detail": detail}
    cursor = await conn.execute(
        f"""
        with known as (
            update cdc.gap set detail = %(detail)s
            where slot = %(slot)s and cause = %(cause)s and to_lsn is null and repaired_at is null returning 1
        )
        insert into cdc.gap (slot, cause, detail, from_lsn, system_id, timeline)
        select slot, %(cause)s, %(detail)s, {_LAST_LOOK}, system_id, timeline
        from cdc.position p where slot = %(slot)s and not exists (select from known)
        """,
        params,
    )
    return cursor.rowcount > 0


async def close_breach(conn: AsyncConnection[Any], slot: str, fingerprint: str | None) -> bool:
    """Note that all of what is watched is published again, or was changed unseen; a sweep is owed then.

    Args:
        conn: to the state, in autocommit.
        slot: its name.
        fingerprint: the publication's; goes on record as whole.

    Returns:
        True if a sweep is owed.
    """
    params = {"slot": slot, "incomplete": GapCause.PUBLICATION_INCOMPLETE.name, "fingerprint": fingerprint,
              "changed": GapCause.PUBLICATION_CHANGED.name}  # fmt: skip
    async with conn.transaction():
        closed = await conn.execute(
            """
            update cdc.gap g set to_lsn = p.lsn from cdc.position p
            where p.slot = %(slot)s and g.slot = p.slot and g.cause = %(incomplete)s and g.to_lsn is null
              and g.repaired_at is null
            """,
            params,
        )
        changed = (
            closed
            if closed.rowcount
            else await conn.execute(
                f"""
            insert into cdc.gap (slot, cause, from_lsn, to_lsn, system_id, timeline)
            select slot, %(changed)s, {_LAST_LOOK}, lsn, system_id, timeline
            from cdc.position p where slot = %(slot)s and publication <> %(fingerprint)s
            """,
                params,
            )
        )
        await conn.execute(
            """
            update cdc.position set publication = coalesce(%(fingerprint)s, publication),
                swept_at = case when %(owed)s then null else swept_at end
            where slot = %(slot)s and (publication is distinct from %(fingerprint)s or %(owed)s)
            """,
            {**params, "owed": changed.rowcount > 0},
        )
    return changed.rowcount > 0
