"""The alerts that are open, as the dashboard shows them: with what people said about each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An open alert. `muted_until` and `acked_by` are None where nobody said so."""

    name: str
    severity: str
    value: float | None
    detail: str
    opened_at: datetime
    acked_by: str | None
    muted_until: datetime | None


_SQL: LiteralString = """
select a.name, a.severity, a.value, a.detail, a.opened_at, a.acked_by,
       case when r.muted_until > now() then r.muted_until end as muted_until
from cdc.alert a
left join cdc.alert_rule r on r.pipeline = a.pipeline and r.name = a.name
where a.pipeline = %s and a.closed_at is null and a.resolved_at is null
order by array_position('{critical,warning,info}'::text[], a.severity), a.opened_at
"""


async def open_alerts(conn: AsyncConnection[Any], pipeline: str) -> Sequence[OpenAlert]:
    """List them in one statement, the gravest first."""
    async with conn.cursor(row_factory=class_row(OpenAlert)) as cursor:
        await cursor.execute(_SQL, [pipeline])
        return await cursor.fetchall()
