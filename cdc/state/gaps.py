"""Gaps on record: stretches of WAL that were never read, who decides on them, and what a sweep found in them.

While one waits for a decision, or leaves the ledger in doubt, delivery of every feed is held.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

from cdc.lsn import Lsn
from cdc.state.causes import GapCause
from cdc.state.control import EVERYTHING
from cdc.state.lineage import Lineage
from cdc.state.outbox import NOTIFY_SQL

Found = Mapping[str, Mapping[str, int]]
"""By feed: how many records were `missing`, `changed` and `gone` when everything was compared."""


GAP_UNDECIDED: Final = "GAP_UNDECIDED"
LEDGER_DOUBTFUL: Final = GapCause.LEDGER_DOUBTFUL.name
HOLD_REASONS: Final = (GAP_UNDECIDED, LEDGER_DOUBTFUL)
"""Why everything is held, in `cdc.control`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGap:
    """A gap as it is found.

    Attributes:
        from_lsn: our position.
        to_lsn: where reading goes on; None while that isn't known.
        detail: positions and names that show the cause; no values.
        lineage: of the server that was found.
        ledger_doubtful: creates must be looked for before they are sent, and updates can't be left out.
    """

    cause: GapCause
    from_lsn: Lsn
    to_lsn: Lsn | None
    detail: str
    lineage: Lineage
    ledger_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap on record. `cause` is a name of `GapCause`; text of an older version may stand there too."""

    id: int
    cause: str
    detail: str
    from_lsn: str
    to_lsn: str | None
    detected_at: datetime
    decided_at: datetime | None
    repaired_at: datetime | None
    needs_decision: bool
    ledger_doubtful: bool
    found: dict[str, dict[str, int]] | None

    @property
    def is_undecided(self) -> bool:
        """True while capture and delivery wait for a person."""
        return self.needs_decision and self.decided_at is None and self.repaired_at is None

    @property
    def meaning(self) -> str:
        """What happened, in a sentence."""
        known = GapCause.__members__.get(self.cause)
        return self.cause if known is None else known.meaning

    @property
    def hint(self) -> str | None:
        """What to do."""
        known = GapCause.__members__.get(self.cause)
        return None if known is None else known.hint


_COLUMNS: LiteralString = (
    "id, cause, detail, from_lsn::text, to_lsn::text, detected_at, decided_at, repaired_at, needs_decision, "
    "ledger_doubtful, found"
)


async def read_gaps(conn: AsyncConnection[Any], slot: str, limit: int = 10) -> list[Gap]:
    """Give a slot's gaps, newest first."""
    cursor = conn.cursor(row_factory=class_row(Gap))
    await cursor.execute(f"select {_COLUMNS} from cdc.gap where slot = %s order by id desc limit %s", [slot, limit])
    return await cursor.fetchall()


async def record(conn: AsyncConnection[Any], slot: str, gap: NewGap) -> None:
    """Put a gap on record that is repaired without a question."""
    await conn.execute(
        """
        insert into cdc.gap (slot, cause, detail, from_lsn, to_lsn, system_id, timeline, ledger_doubtful)
        values (%s, %s, %s, %s::pg_lsn, %s::pg_lsn, %s, %s, %s)
        """,
        [
            slot, gap.cause.name, gap.detail, str(gap.from_lsn), None if gap.to_lsn is None else str(gap.to_lsn),
            gap.lineage.system_id, gap.lineage.timeline, gap.ledger_doubtful,
        ],
    )  # fmt: skip
    if gap.ledger_doubtful:
        await hold(conn, LEDGER_DOUBTFUL, "until everything was compared")


async def await_decision(conn: AsyncConnection[Any], slot: str, gap: NewGap) -> bool:
    """Put a gap on record that a person must look at, once, and hold delivery; or find that it was decided.

    A decision holds for this cause and this very server. Whatever else is found asks again.

    Returns:
        True if it was decided.
    """
    found = gap.lineage
    facts = {"slot": slot, "cause": gap.cause.name, "system": found.system_id, "timeline": found.timeline}
    async with conn.transaction():
        await conn.execute(
            """
            update cdc.gap set repaired_at = now(), detail = detail || '; then another server was found'
            where slot = %(slot)s and needs_decision and to_lsn is null and repaired_at is null
              and (cause, system_id, timeline) is distinct from (%(cause)s, %(system)s, %(timeline)s)
            """,
            facts,
        )
        row = await (
            await conn.execute(
                """
                select decided_at is not null from cdc.gap
                where slot = %(slot)s and needs_decision and to_lsn is null and repaired_at is null
                """,
                facts,
            )
        ).fetchone()
        if row is not None and row[0]:
            return True
        if row is None:
            await conn.execute(
                """
                insert into cdc.gap (slot, cause, detail, from_lsn, system_id, timeline, ledger_doubtful,
                                     needs_decision)
                values (%(slot)s, %(cause)s, %(detail)s, %(from)s::pg_lsn, %(system)s, %(timeline)s, %(doubtful)s,
                        true)
                """,
                {**facts, "detail": gap.detail, "from": str(gap.from_lsn), "doubtful": gap.ledger_doubtful},
            )
        await hold(conn, GAP_UNDECIDED, gap.cause.name)
    return False


async def decide(conn: AsyncConnection[Any], slot: str) -> int:
    """Let the waiting repair go ahead, on a person's word. Returns how many gaps that concerned."""
    cursor = await conn.execute(
        "update cdc.gap set decided_at = now() where slot = %s and needs_decision and decided_at is null"
        " and repaired_at is null",
        [slot],
    )
    return cursor.rowcount


async def settle_decided(conn: AsyncConnection[Any], slot: str, gap: NewGap) -> None:
    """Note where reading goes on after a decided gap. Delivery is held until the sweep if the ledger is in doubt."""
    await conn.execute(
        "update cdc.gap set to_lsn = %s::pg_lsn where slot = %s and needs_decision and decided_at is not null"
        " and to_lsn is null and repaired_at is null",
        [None if gap.to_lsn is None else str(gap.to_lsn), slot],
    )
    await release(conn)
    if gap.ledger_doubtful:
        await hold(conn, LEDGER_DOUBTFUL, "until everything was compared")


async def withdraw_undecided(conn: AsyncConnection[Any], slot: str) -> None:
    """Close what waited for a decision and has gone away: the right server is back."""
    cursor = await conn.execute(
        "update cdc.gap set repaired_at = now(), detail = detail || '; it went away by itself'"
        " where slot = %s and needs_decision and to_lsn is null and repaired_at is null",
        [slot],
    )
    if cursor.rowcount:
        await release(conn, GAP_UNDECIDED)


async def hold(conn: AsyncConnection[Any], reason: str, detail: str) -> None:
    """Hold delivery of every feed until `release`; a pause by hand of everything stays as it is."""
    await conn.execute(
        """
        insert into cdc.control as c (scope, paused_until, reason, detail) values (%s, 'infinity', %s, %s)
        on conflict (scope) do update set reason = excluded.reason, detail = excluded.detail, updated_at = now()
        where c.reason = any(%s)
        """,
        [EVERYTHING, reason, detail, list(HOLD_REASONS)],
    )


async def release(conn: AsyncConnection[Any], *reasons: str) -> None:
    """Take such a hold back and wake the workers.

    Args:
        conn: any state connection.
        *reasons: only these; any of ours if none is given.
    """
    await conn.execute(
        "delete from cdc.control where scope = %s and reason = any(%s)", [EVERYTHING, list(reasons or HOLD_REASONS)]
    )
    await conn.execute(NOTIFY_SQL)


# -- the sweep that closes them ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Owed:
    """What a sweep that begins now will close.

    Attributes:
        last_gap: the newest gap; 0 if there is none.
        ledger_doubtful: one of the open ones leaves the ledger in doubt.
    """

    last_gap: int
    ledger_doubtful: bool


async def begin_sweep(conn: AsyncConnection[Any], slot: str) -> Owed:
    """Look at what a sweep beginning now will cover."""
    row = await (
        await conn.execute(
            """
            select coalesce(max(id), 0), coalesce(bool_or(ledger_doubtful and repaired_at is null), false)
            from cdc.gap where slot = %s
            """,
            [slot],
        )
    ).fetchone()
    return Owed(0, False) if row is None else Owed(int(row[0]), bool(row[1]))


async def mark_swept(conn: AsyncConnection[Any], slot: str, last_gap: int, found: Found) -> Sequence[int]:
    """Note that everything was compared since the slot began, and what that found.

    Args:
        conn: to the state, in autocommit.
        slot: its name.
        last_gap: as `begin_sweep` gave it. A gap that came up during the sweep stays open, and the slot unswept; so
            does one that has no end yet.
        found: goes on record with each gap that this closes.

    Returns:
        The ids of the gaps that it closed.
    """
    async with conn.transaction():
        cursor = await conn.execute(
            """
            update cdc.gap set repaired_at = now(), found = %s::jsonb
            where slot = %s and id <= %s and repaired_at is null and to_lsn is not null returning id
            """,
            [json.dumps(found), slot, last_gap],
        )
        closed = [int(row[0]) for row in await cursor.fetchall()]
        await conn.execute(
            """
            update cdc.position set swept_at = now() where slot = %(slot)s and not exists
                (select from cdc.gap where slot = %(slot)s and repaired_at is null and to_lsn is not null)
            """,
            {"slot": slot},
        )
        await conn.execute(
            """
            delete from cdc.control where scope = %s and reason = %s and not exists
                (select from cdc.gap where repaired_at is null and ledger_doubtful)
            """,
            [EVERYTHING, LEDGER_DOUBTFUL],
        )
        await conn.execute(NOTIFY_SQL)
    return closed
