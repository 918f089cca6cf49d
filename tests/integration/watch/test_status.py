"""A status is read from real tables, and costs the same few queries however much there is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdc.connection import connect
from cdc.state.synclog import LogLine, Status, write
from cdc.watch.condition import State, judge
from cdc.watch.status import read_status
from tests.support.postgres import Database

LIMIT = 50_250


@pytest.fixture
async def conn(database: Database) -> Any:
    database.apply_state()
    conn = await connect(database.dsn, purpose="test")
    yield conn
    await conn.close()


def line(status: Status, minutes: int = 0) -> LogLine:
    dirty_at = datetime.now(UTC) - timedelta(minutes=minutes)
    return LogLine(user_id="u1", feed="contacts", action="update", status=status, record_id="u1", dirty_at=dirty_at)


async def test_before_anything_was_set_up(conn: Any) -> None:
    status = await read_status(conn, conn, "nothing_yet", credit_limit=LIMIT)

    assert (status.position, status.has_slot, status.activity.success_share) == (None, False, None)
    assert judge(status).state is State.STARTING


async def test_operations_and_credits_of_the_day_are_counted(conn: Any) -> None:
    await write(conn, [line(Status.SUCCESS, 2), line(Status.SUCCESS, 4), line(Status.FAILED), line(Status.RETRYING)])
    await write(conn, [line(Status.FAILED)])
    await conn.execute("update cdc.zoho_sync_log set created_at = now() - interval '2 hours' where status = 'retrying'")
    await conn.execute(
        "insert into cdc.zoho_sync_log (sync_type, action, status, record_id, created_at)"
        " values ('contacts', 'update', 'failed', 'u2', now() - interval '5 hours'),"
        " ('contacts', 'update', 'failed', 'u2', now() - interval '25 hours')"
    )
    await conn.execute(
        "insert into cdc.credit_usage values (now() - interval '3 hours', 'upsert', 2, 20), (now(), 'coql', 1, 3),"
        " (now() - interval '30 hours', 'upsert', 9, 90)"
    )

    status = await read_status(conn, conn, "p", credit_limit=LIMIT)

    made = status.activity
    assert (made.succeeded, made.failed, made.retrying, made.failed_hour) == (2, 3, 1, 2)
    assert made.success_share == pytest.approx(0.4)
    assert made.latency_p50_ms == pytest.approx(180_000, rel=0.1)
    assert sum(i.succeeded for i in made.intervals) == 2
    assert sum(i.failed for i in made.intervals) == 3
    assert (status.credits.used, status.credits.last_hour, status.credits.left) == (23, 3, LIMIT - 23)
    assert [credits for _, credits in status.credits.quarters] == [20, 3]
    json.dumps(status.as_json())


async def test_a_source_that_cannot_be_asked_is_said(conn: Any) -> None:
    status = await read_status(None, conn, "p", credit_limit=LIMIT)

    assert status.slot is None
    assert judge(status).why == "the source database can't be reached"
    json.dumps(status.as_json())
