"""What a scan found, on the database's disk for as long as the comparison takes: sorted there, never in memory.

Temporary tables of one session: not logged, not replicated, seen by nobody else, and gone with the session.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, LiteralString, Self

from psycopg import AsyncConnection, errors

from cdc.errors import StateError
from sinks.scan import Scanned

_FETCH: Final = 1_000

_MAKE: LiteralString = """
create temporary table cdc_scan (
    crm_id text primary key, record_id text collate "C", likeness text, modified_at text, fields json not null);
create temporary table cdc_seen (likeness text not null, record_id text not null)
"""
_DROP: LiteralString = "drop table if exists pg_temp.cdc_scan, pg_temp.cdc_seen"


class Staging:
    """The staged scan of one feed.

    Args:
        conn: to the state, with nothing else on it.
    """

    def __init__(self, conn: AsyncConnection[Any]) -> None:
        self._conn = conn
        self.rows = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, conn: AsyncConnection[Any]) -> AsyncIterator[Self]:
        """Make the tables, and drop them at the end of the block; a broken connection drops them by itself.

        Raises:
            StateError: if the role may not.
        """
        try:
            for statement in (_DROP, *_MAKE.split(";")):
                await conn.execute(statement)
        except errors.InsufficientPrivilege:
            raise StateError(
                "the state database lets us make no temporary tables, and a scan is sorted in one",
                fix="grant temporary on database <name> to <role>",
            ) from None
        try:
            yield cls(conn)
        finally:
            if not conn.broken:
                await conn.execute(_DROP)

    async def add(self, page: Sequence[Scanned]) -> None:
        """Put a page there."""
        query: LiteralString = "copy pg_temp.cdc_scan (crm_id, record_id, likeness, modified_at, fields) from stdin"
        async with self._conn.cursor() as cursor, cursor.copy(query) as copy:
            for one in page:
                fields = json.dumps(dict(one.fields))  # ASCII, whatever somebody typed
                await copy.write_row((one.crm_id, _text(one.record_id), _text(one.likeness), one.modified_at, fields))
        self.rows += len(page)

    async def by_record(self) -> AsyncIterator[tuple[str, list[Scanned]]]:
        """Give record id and records, ordered by record id; in a transaction. Those without one are left out."""
        query = (
            "select crm_id, record_id, likeness, modified_at, fields from pg_temp.cdc_scan"
            " where record_id is not null order by record_id, crm_id::numeric"
        )
        current: str | None = None
        gathered: list[Scanned] = []
        async with self._conn.cursor("cdc_scan") as cursor:
            await cursor.execute(query)
            while rows := await cursor.fetchmany(_FETCH):
                for crm_id, record_id, likeness, modified_at, fields in rows:
                    if record_id != current and current is not None:
                        yield current, gathered
                        gathered = []
                    current = record_id
                    gathered.append(
                        Scanned(
                            crm_id=crm_id,
                            record_id=record_id,
                            likeness=likeness,
                            modified_at=modified_at,
                            fields=fields,
                        )
                    )
        if current is not None:
            yield current, gathered

    async def by_crm_id(self, crm_ids: Collection[str]) -> dict[str, str | None]:
        """Tell which record ids some of the CRM's records bear; those that weren't found are left out."""
        cursor = await self._conn.execute(
            "select crm_id, record_id from pg_temp.cdc_scan where crm_id = any(%s)", [list(crm_ids)]
        )
        return dict(await cursor.fetchall())

    async def has_strangers(self) -> bool:
        """Tell whether there are records without our id that a person could be known by."""
        cursor = await self._conn.execute(
            "select exists (select from pg_temp.cdc_scan where record_id is null and likeness is not null)"
        )
        row = await cursor.fetchone()
        return bool(row and row[0])

    async def saw(self, people: Sequence[tuple[str, str]]) -> None:
        """Note likeness and record id of rows of the view, for `strangers`."""
        query: LiteralString = "copy pg_temp.cdc_seen (likeness, record_id) from stdin"
        async with self._conn.cursor() as cursor, cursor.copy(query) as copy:
            for likeness, record_id in people:
                await copy.write_row((likeness, record_id))

    async def strangers(self, limit: int) -> list[tuple[list[str], list[str], list[str]]]:
        """Give records without our id that are known by the same as a row of the view.

        Returns:
            For each likeness: ids of those records; record ids of the rows; CRM ids of the records that bear them.
        """
        cursor = await self._conn.execute(
            """
            select array_agg(distinct s.crm_id), array_agg(distinct p.record_id),
                   coalesce(array_agg(distinct l.crm_id) filter (where l.crm_id is not null), '{}')
            from pg_temp.cdc_scan s
            join pg_temp.cdc_seen p using (likeness)
            left join pg_temp.cdc_scan l on l.record_id = p.record_id
            where s.record_id is null
            group by s.likeness order by 1 limit %s
            """,
            [limit],
        )
        return await cursor.fetchall()

    async def fields_of(self, crm_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """Give the fields of some records, by the CRM's id."""
        cursor = await self._conn.execute(
            "select crm_id, fields from pg_temp.cdc_scan where crm_id = any(%s)", [list(crm_ids)]
        )
        return dict(await cursor.fetchall())


def _text(value: str | None) -> str | None:
    """Give a text that the database can hold: what a person pastes may hold half a character, or none."""
    return None if value is None else value.encode("utf-8", "replace").decode().replace("\0", "�")
