"""The first plan's day: about 11,000 row changes of 1,000 people, and what they cost in credits.

A day's clock runs 600 times as fast: 24 hours in 144 seconds, with the lanes' times shortened alike, so that as much
gathers as on a real day. Writes come as the app makes them, one commit each.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection

from tests.bench.backlog import Backlog, server_with_users
from tests.bench.running import running_pipeline

PEOPLE = 1_000
SPEED = 600.0
DAY_SECONDS = 86_400.0

Write = Callable[[AsyncConnection[Any], random.Random], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Day:
    """What the day cost."""

    changes: int
    credits: int
    calls: int
    unchanged_credits: int

    @property
    def share(self) -> float:
        """Credits per call that one call for each change would have taken."""
        return self.credits / self.changes


def first_plans_day() -> Day:
    """Play the day and count."""
    with server_with_users(PEOPLE) as backlog:
        backlog.execute("alter table public.user_skill_xp enable trigger user")
        backlog.execute(
            "insert into public.quests (title, source) select 'Quest ' || n, 'optio' from generate_series(1, 50) n"
        )
        return asyncio.run(_day(backlog))


async def _day(backlog: Backlog) -> Day:
    lanes = {"cdc_rollup_seconds": 300 / SPEED, "cdc_daily_seconds": DAY_SECONDS / SPEED}
    async with running_pipeline(backlog, **lanes) as running:
        assert running.pipeline.capture is not None
        stats = running.pipeline.capture.stats
        changes, backfill = stats.changes, len(await running.calls())
        await _play(backlog.dsn)
        await running.pipeline.wait_until_idle(flush=True)
        played, day = stats.changes - changes, await running.calls()
        await _rewrite_unchanged(backlog.dsn)
        await running.pipeline.wait_until_idle(flush=True)
        everything = await running.calls()
    return Day(played, _credits(day[backfill:]), len(day) - backfill, _credits(everything[len(day) :]))


def _credits(calls: Sequence[Mapping[str, Any]]) -> int:
    return sum(call["price"] for call in calls)


async def _rewrite_unchanged(dsn: str) -> None:
    """Touch a thousand people without changing anything."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("update public.users set first_name = first_name")
        await conn.execute("update public.user_skill_xp set updated_at = now()")


# The seed's day: how often, and what the app writes each time, one commit for each statement.
async def _login(conn: AsyncConnection[Any], chance: random.Random) -> None:
    person = _person(chance)
    await conn.execute(f"update public.user_skill_xp set updated_at = now() where user_id = {person}")
    await _touch(conn, person)


async def _token_refresh(conn: AsyncConnection[Any], chance: random.Random) -> None:
    await _touch(conn, _person(chance))


async def _profile_edit(conn: AsyncConnection[Any], chance: random.Random) -> None:
    name = f"Name{chance.randrange(10_000)}"
    await conn.execute(f"update public.users set display_name = %s where id = {_person(chance)}", [name])


async def _pick_up(conn: AsyncConnection[Any], chance: random.Random) -> None:
    person = _person(chance)
    await conn.execute(
        "insert into public.user_quests (user_id, quest_id) "
        f"select {person}, id from public.quests order by md5(id::text || %s) limit 1",
        [str(chance.random())],
    )
    await conn.execute(
        "update public.user_quests set personalization_completed = true where id = "
        f"(select id from public.user_quests where user_id = {person} order by started_at desc limit 1)"
    )


async def _task_done(conn: AsyncConnection[Any], chance: random.Random) -> None:
    person = _person(chance)
    await conn.execute(
        "insert into public.quest_task_completions (user_id, quest_id, task_id, completed_at) "
        f"select {person}, id, gen_random_uuid(), now() from public.quests limit 1"
    )
    await conn.execute(
        f"update public.user_skill_xp set xp_amount = xp_amount + 100 where user_id = {person} and pillar = 'stem'"
    )
    await conn.execute(f"update public.users set total_xp = total_xp + 100 where id = {person}")


async def _quest_done(conn: AsyncConnection[Any], chance: random.Random) -> None:
    await conn.execute(
        "update public.user_quests set completed_at = now(), is_active = false where id = "
        "(select id from public.user_quests where completed_at is null order by md5(id::text || %s) limit 1)",
        [str(chance.random())],
    )


async def _sign_up(conn: AsyncConnection[Any], chance: random.Random) -> None:
    new = f"md5('new' || {chance.randrange(1 << 30)})::uuid"
    await conn.execute(f"insert into auth.users (id) values ({new})")
    await conn.execute(
        f"insert into public.users (id, first_name, last_name, role) values ({new}, 'New', 'Person', 'parent')"
    )
    await conn.execute(
        "insert into public.user_skill_xp (user_id, pillar, xp_amount) "
        f"select {new}, p, 0 from unnest(array['stem', 'art', 'civics', 'wellness', 'communication']) p"
    )


_EVENTS: tuple[tuple[int, Write], ...] = (
    (10, _sign_up),
    (200, _login),
    (800, _token_refresh),
    (30, _profile_edit),
    (400, _pick_up),
    (1_300, _task_done),
    (330, _quest_done),
)


def _person(chance: random.Random) -> str:
    return f"md5('user' || {1 + chance.randrange(PEOPLE)})::uuid"


async def _touch(conn: AsyncConnection[Any], person: str) -> None:
    await conn.execute(f"update public.users set last_active = now() where id = {person}")


async def _play(dsn: str) -> None:
    """Spread the events over the day: 70 % between 08:00 and 16:00, the rest over the other waking hours."""
    chance = random.Random(2026)
    events = [(_moment(chance), n, write) for count, write in _EVENTS for n in range(count)]
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        for moment, _, write in sorted(events, key=lambda event: event[0]):
            await asyncio.sleep(max(0.0, begin + moment / SPEED - loop.time()))
            await write(conn, chance)


def _moment(chance: random.Random) -> float:
    hours = (8.0, 16.0) if chance.random() < 0.7 else (16.0, 23.0)
    return chance.uniform(*hours) * 3_600
