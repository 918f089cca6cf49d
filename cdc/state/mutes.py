"""What people do about alerts: mute one for a while, or say that they see to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection


async def mute(conn: AsyncConnection[Any], pipeline: str, name: str, seconds: float, who: str) -> datetime:
    """Tell nobody of an alert for a while; gives the time when that ends."""
    cursor = await conn.execute(
        "insert into cdc.alert_rule as r (pipeline, name, muted_until, muted_by)"
        " values (%s, %s, now() + make_interval(secs => %s), %s)"
        " on conflict (pipeline, name) do update set muted_until = excluded.muted_until, muted_by = excluded.muted_by"
        " returning muted_until",
        [pipeline, name, seconds, who],
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - an upsert without a condition
    until: datetime = row[0]
    return until


async def unmute(conn: AsyncConnection[Any], pipeline: str, name: str) -> bool:
    """Tell of it again. Says whether it was muted."""
    cursor = await conn.execute(
        "update cdc.alert_rule set muted_until = null, muted_by = null"
        " where pipeline = %s and name = %s and muted_until > now()",
        [pipeline, name],
    )
    return cursor.rowcount > 0


async def acknowledge(conn: AsyncConnection[Any], pipeline: str, name: str, who: str) -> bool:
    """Note that somebody sees to an open alert: no more reminders. Says whether it is open."""
    cursor = await conn.execute(
        "update cdc.alert set acked_at = now(), acked_by = %s"
        " where pipeline = %s and name = %s and resolved_at is null",
        [who, pipeline, name],
    )
    return cursor.rowcount > 0
