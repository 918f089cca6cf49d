"""When a run is at its end, told from a real outbox and real views."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from cdc.routing.feeds import Profile, load_profile
from cdc.runtime.idle import is_settled
from cdc.state import pauses
from tests.conftest import Connect
from tests.support.postgres import Database


@pytest.fixture
def profile() -> Profile:
    return load_profile("core")


@pytest.fixture
async def conn(database: Database, connect: Connect) -> psycopg.AsyncConnection[Any]:
    database.apply_profile("core", sample=True)
    database.apply_state()
    return await connect()


async def dirty(conn: psycopg.AsyncConnection[Any], feed: str, key: str, **columns: object) -> None:
    names = "".join(f", {name}" for name in columns)
    values = "".join(f", %({name})s" for name in columns)
    await conn.execute(
        f"insert into cdc.outbox (feed, key, lane, due_at, dirty_at{names})"  # type: ignore[arg-type]
        f" values (%(feed)s, %(key)s, 'live', now(), now(){values})",
        {"feed": feed, "key": key, **columns},
    )


async def pause(conn: psycopg.AsyncConnection[Any], scope: str, reason: str, *, seconds: int = 60) -> None:
    await conn.execute(
        "insert into cdc.control (scope, paused_until, reason) values (%s, now() + make_interval(secs => %s), %s)",
        [scope, seconds, reason],
    )


async def completion(conn: psycopg.AsyncConnection[Any]) -> tuple[str, str]:
    row = await (
        await conn.execute("select enrolment_id::text, user_id::text from cdc.quest_completions limit 1")
    ).fetchone()
    assert row is not None
    return row[0], row[1]


async def test_an_empty_outbox_is_settled_and_a_dirty_key_is_not(
    conn: psycopg.AsyncConnection[Any], profile: Profile
) -> None:
    assert await is_settled(conn, conn, profile)
    await dirty(conn, "contacts", "a")
    assert not await is_settled(conn, conn, profile)


async def test_parked_keys_do_not_count(conn: psycopg.AsyncConnection[Any], profile: Profile) -> None:
    await dirty(conn, "contacts", "a", parked_at="now", reason="INVALID_VALUE")
    assert await is_settled(conn, conn, profile)


@pytest.mark.parametrize(
    ("scope", "reason", "settled"),
    [
        ("zoho", "TOKEN_INVALID", True),
        ("contacts", "SCOPE_MISSING", True),
        ("quest_completions", "SCOPE_MISSING", False),
        ("zoho", "UNAVAILABLE", False),
        ("zoho", "CREDITS_EXHAUSTED", False),
    ],
)
async def test_a_pause_that_only_a_person_can_end_is_not_waited_for(
    conn: psycopg.AsyncConnection[Any], profile: Profile, scope: str, reason: str, settled: bool
) -> None:
    await dirty(conn, "contacts", "a")
    await pause(conn, scope, reason)
    assert await is_settled(conn, conn, profile) is settled


async def test_a_pause_whose_time_is_over_is_about_to_be_tried_and_is_waited_for(
    conn: psycopg.AsyncConnection[Any], profile: Profile
) -> None:
    await dirty(conn, "contacts", "a")
    await pause(conn, "zoho", "TOKEN_INVALID", seconds=0)
    assert not await is_settled(conn, conn, profile)


@pytest.mark.parametrize("scope", ["*", "contacts", "bulk lane"])
async def test_a_person_s_pause_is_not_waited_for(
    conn: psycopg.AsyncConnection[Any], profile: Profile, scope: str
) -> None:
    await dirty(conn, "contacts", "a")
    if scope == "bulk lane":
        await conn.execute("update cdc.outbox set lane = 'bulk'")
    assert not await is_settled(conn, conn, profile)
    await pauses.pause(conn, scope, actor="me")
    assert await is_settled(conn, conn, profile)


async def test_what_is_under_way_is_waited_for_even_behind_a_pause(
    conn: psycopg.AsyncConnection[Any], profile: Profile
) -> None:
    await pause(conn, "zoho", "TOKEN_INVALID")
    await dirty(conn, "contacts", "a", claimed_until="infinity")
    assert not await is_settled(conn, conn, profile)


async def test_nothing_is_waited_for_if_nothing_is_delivered(
    conn: psycopg.AsyncConnection[Any], profile: Profile
) -> None:
    await dirty(conn, "contacts", "a")
    assert await is_settled(conn, conn, profile, delivers=False)


async def test_urgent_only_looks_at_the_lane_live(conn: psycopg.AsyncConnection[Any], profile: Profile) -> None:
    await dirty(conn, "contacts", "a")
    await conn.execute("update cdc.outbox set lane = 'rollup'")
    assert await is_settled(conn, conn, profile, urgent_only=True)
    assert not await is_settled(conn, conn, profile)


async def test_an_event_waits_in_vain_only_for_a_parked_contact(
    conn: psycopg.AsyncConnection[Any], profile: Profile
) -> None:
    enrolment, user = await completion(conn)
    await dirty(conn, "quest_completions", enrolment, reason="PARENT_NOT_DELIVERED")
    assert not await is_settled(conn, conn, profile), "the contact may be on its way"

    await dirty(conn, "contacts", user, parked_at="now", reason="INVALID_VALUE")
    assert await is_settled(conn, conn, profile)

    await conn.execute("delete from public.user_quests where id = %s", [enrolment])
    assert not await is_settled(conn, conn, profile), "it has left its view and will be settled"
