"""Which cluster a connection leads to, and which line of its history.

A restored or promoted database has the same system identifier and another timeline; a new cluster with the same data
has another identifier. LSNs are comparable only within one line. A volume snapshot that is put back has neither
changed: from inside nothing tells it from a database that was never away.

Sources: PostgreSQL documentation, "Timelines" in "Continuous Archiving and Point-in-Time Recovery"; PostgreSQL source,
timeline.c (readTimeLineHistory).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection

from cdc.lsn import Lsn

# pg_control names a timeline only after the first checkpoint on it; the name of the WAL file that is written now has it
# from the moment of the promotion.
_TIMELINE: LiteralString = "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer"
LINEAGE_SQL: LiteralString = (
    f"select system_identifier::text, case when pg_is_in_recovery() then null else {_TIMELINE} end"
    " from pg_control_system()"
)


@dataclass(frozen=True, slots=True)
class Lineage:
    """A cluster and one line of its history. `timeline` is None for a standby, which has no line of its own."""

    system_id: str
    timeline: int | None

    def __str__(self) -> str:
        return f"cluster {self.system_id}, timeline {'of a standby' if self.timeline is None else self.timeline}"


async def read_lineage(conn: AsyncConnection[Any]) -> Lineage:
    """Ask where a connection leads, in ordinary SQL; 10 microseconds of the server's time."""
    row = await (await conn.execute(LINEAGE_SQL)).fetchone()
    assert row is not None  # noqa: S101 - a function in FROM always gives a row
    return Lineage(*row)


@dataclass(frozen=True, slots=True)
class Fork:
    """Where a history left a timeline."""

    timeline: int
    lsn: Lsn


def parse_history(text: str) -> tuple[Fork, ...]:
    """Read a timeline history file: a line for each timeline that was left, `<timeline> <LSN> <reason>`.

    Raises:
        ValueError: if a line is anything else.
    """
    lines: Iterable[list[str]] = (line.partition("#")[0].split(maxsplit=2) for line in text.splitlines())
    return tuple(Fork(int(words[0]), Lsn.parse(words[1])) for words in lines if words)


def left_at(history: Iterable[Fork], timeline: int | None) -> Lsn | None:
    """Tell where a history left a timeline; None if it never was on it."""
    return next((fork.lsn for fork in history if fork.timeline == timeline), None)
