"""Marking changes that every query sees already: a row that needs no mark is left alone, and no other is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import pytest

from cdc.lsn import Lsn
from cdc.routing.feeds import Lane
from cdc.state.outbox import MARK_SEEN_SQL, Mark, mark_params
from tests.conftest import Connect
from tests.support.postgres import Database

NOW = datetime.now(UTC)
MARK = Mark(feed="f", key="k", lane=Lane.ROLLUP, due_in_seconds=60, dirty_at=NOW, first_lsn=Lsn(100), last_lsn=Lsn(100))
LATER = Mark(
    feed="f", key="k", lane=Lane.ROLLUP, due_in_seconds=60, dirty_at=NOW + timedelta(seconds=1), first_lsn=Lsn(200),
    last_lsn=Lsn(200),
)  # fmt: skip


async def _generations(connect: Connect, made_so: LiteralString, *marks: Mark) -> tuple[Any, Any]:
    """The row's generation before and after the last of two marks, with something done to the row in between."""
    conn = await connect()
    query = "select generation from cdc.outbox where feed = 'f' and key = 'k'"
    await conn.execute(MARK_SEEN_SQL, mark_params([marks[0]]))
    await conn.execute(f"update cdc.outbox set {made_so}")
    before = await (await conn.execute(query)).fetchone()
    await conn.execute(MARK_SEEN_SQL, mark_params([marks[1]]))
    return before, await (await conn.execute(query)).fetchone()


@pytest.mark.parametrize(
    "made_so",
    [
        "key = key",  # nothing
        "lane = 'live', due_at = now()",
        "forced = true",
        "due_at = due_at + interval '500 milliseconds'",  # the same window, told at another moment
    ],
)
async def test_a_row_that_waits_and_would_not_become_more_urgent_is_left_alone(
    database: Database, connect: Connect, made_so: LiteralString
) -> None:
    database.apply_state()
    before, after = await _generations(connect, made_so, MARK, LATER)
    assert before == after


@pytest.mark.parametrize(
    "made_so",
    [
        "claimed_by = 'w', claimed_until = now() + interval '1 minute'",
        "claimed_by = 'w', claimed_until = now() - interval '1 minute'",  # a lease that ran out
        "claimed_until = now() + interval '1 minute'",  # rests, since a call may still be carried out
        "parked_at = now(), reason = 'BAD'",
        "attempts = 1",
        "reason = 'THEIRS'",
        "lane = 'daily'",
        "lane = 'bulk'",
        "due_at = now() + interval '1 hour'",
        "first_lsn = null",
        "first_lsn = '0/1000'",
        "dirty_at = now() + interval '1 hour'",
    ],
)
async def test_every_other_row_gets_a_fresh_generation(
    database: Database, connect: Connect, made_so: LiteralString
) -> None:
    database.apply_state()
    before, after = await _generations(connect, made_so, MARK, LATER)
    assert before != after


async def test_a_forced_mark_reaches_a_row_that_is_not_forced(database: Database, connect: Connect) -> None:
    database.apply_state()
    forced = Mark(feed="f", key="k", lane=Lane.ROLLUP, due_in_seconds=60, dirty_at=NOW, first_lsn=Lsn(200), forced=True)
    before, after = await _generations(connect, "key = key", MARK, forced)
    assert before != after


async def test_a_claim_that_is_not_committed_yet_is_either_waited_for_or_reads_after_the_mark(
    database: Database, connect: Connect
) -> None:
    """The claim commits after the mark began, so the truth is read after it: no fresh generation is needed."""
    database.apply_state()
    worker, capture = await connect(), await connect()
    await capture.execute(MARK_SEEN_SQL, mark_params([MARK]))
    async with worker.transaction():
        await worker.execute("update cdc.outbox set claimed_by = 'w', claimed_until = now() + interval '1 minute'")
        await capture.execute(MARK_SEEN_SQL, mark_params([LATER]))  # doesn't wait
    row = await (await capture.execute("select claimed_by, last_lsn::text from cdc.outbox")).fetchone()
    assert row == ("w", "0/64")
