"""Realtime as unreliable as it can be, under an application that writes: the CRM still converges.

The client is Supabase's own. The server hands out changes of a real temporary slot, so what is written while it
has none is lost for good, and what it drops nobody sends again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.chaos.conftest import MakeSite
from tests.support.oracle import verify
from tests.support.phoenix import KEY, Faults, Phoenix
from tests.support.pipeline import Child, Site
from tests.support.postgres import Database
from tests.support.waiting import until
from tests.support.workload import Workload

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

_SETTINGS = {"CDC_REALTIME_CANARY_SECONDS": "0.5", "CDC_REALTIME_SWEEP_SECONDS": "1"}

Blow = Callable[[Phoenix, random.Random], Awaitable[None]]


async def _blow(phoenix: Phoenix, chance: random.Random) -> None:
    """Do one thing that a server, a network or a deployment does."""
    name, blow = chance.choice(_BLOWS)
    phoenix.counts[name] += 1
    await blow(phoenix, chance)


async def _silence(phoenix: Phoenix, chance: random.Random) -> None:
    """Say nothing for a while; now and then longer than the canary bears."""
    phoenix.faults.silent = True
    await asyncio.sleep(chance.uniform(0.2, 2.0))
    phoenix.faults.silent = False


async def _refuse(phoenix: Phoenix, chance: random.Random) -> None:
    phoenix.faults.refuse = chance.choice([401, 429, 503])
    await phoenix.restart()
    await asyncio.sleep(chance.uniform(0.1, 1.0))
    phoenix.faults.refuse = None


async def _join_badly(phoenix: Phoenix, chance: random.Random) -> None:
    phoenix.faults.join = chance.choice(["error", "zero_ids", "no_changes", "mismatch"])
    await phoenix.close_channels()
    await asyncio.sleep(chance.uniform(0.3, 1.0))
    phoenix.faults.join = "ok"


async def _next(phoenix: Phoenix, chance: random.Random) -> None:
    phoenix.faults.oversize, phoenix.faults.too_large = chance.choice([(1, 0), (0, 3)])


_BLOWS: list[tuple[str, Blow]] = [
    ("restart", lambda p, c: p.restart(c.choice([0, 1000, 1001, 1011, 1012]))),
    ("close", lambda p, c: p.close_all(c.choice([0, 1000, 1011]))),
    ("phx_close", lambda p, _: p.close_channels()),
    ("system_error", lambda p, _: p.system_error("Too many messages per second")),
    ("slot_lost", lambda p, _: p.lose_slot()),
    ("ready_again", lambda p, _: p.ready_again()),
    ("error_event", lambda p, c: p.error_event(c.choice(["Error 401: Unauthorized", "Error 400: Bad Request"]))),
    ("unreadable", lambda p, _: p.send_text("{")),
    ("silence", _silence),
    ("refused", _refuse),
    ("bad_join", _join_badly),
    ("large", _next),
]


@asynccontextmanager
async def _phoenix(make_site: MakeSite, database: Database, seed: int) -> AsyncIterator[tuple[Phoenix, Site]]:
    async with Phoenix.open(database.dsn, seed) as phoenix:
        settings = {**_SETTINGS, "SUPABASE_URL": phoenix.url, "SUPABASE_SERVICE_ROLE_KEY": KEY}
        yield phoenix, await make_site("realtime", **settings)


async def _settled(site: Site, running: Child) -> None:
    """Let it be found what was lost: a sweep that began after the last write, and an empty outbox after it."""
    [(now,)] = site.database.execute("select now()")

    def is_settled() -> bool:
        assert running.running, running.tail()
        query = "select swept_at - make_interval(secs => sweep_ms / 1000.0) > %s from cdc.doorbell"
        return site.database.execute(query, [now]) == [(True,)] and not _waiting(site)

    await until(is_settled, 90, what="everything is swept and delivered", interval=0.2)


def _waiting(site: Site) -> int:
    [(number,)] = site.database.execute("select count(*) from cdc.outbox")
    return int(number)


async def test_bells_that_ring_twice_late_in_disorder_or_not_at_all(
    make_site: MakeSite, database: Database, seed: int
) -> None:
    async with _phoenix(make_site, database, seed=seed) as (phoenix, site):
        phoenix.faults = Faults(drop=0.3, duplicate=0.3, hold=0.2, shuffle=True)
        workload = Workload(database, 31)
        running = await site.start("run")
        await running.until_said("realtime_joined")

        await workload.run(60, pause=0.02)

        assert phoenix.counts["sent"] > 20
        assert phoenix.counts["dropped"] > 20
        await _settled(site, running)
        await running.stop()
        await verify(site, workload.chronicle)


@pytest.mark.long
async def test_a_server_that_is_struck_again_and_again(make_site: MakeSite, database: Database, seed: int) -> None:
    await _strike(make_site, database, seed=seed, blows=12)


@pytest.mark.long
@pytest.mark.parametrize("again", range(6))
async def test_a_server_that_is_struck_for_minutes(
    make_site: MakeSite, database: Database, again: int, seed: int
) -> None:
    await _strike(make_site, database, seed=seed + again, blows=60)


async def _strike(make_site: MakeSite, database: Database, *, seed: int, blows: int) -> None:
    async with _phoenix(make_site, database, seed) as (phoenix, site):
        workload = Workload(database, seed)
        chance = random.Random(workload.seed)
        phoenix.faults = Faults(drop=0.05, duplicate=0.1, hold=0.05, secured=frozenset({"user_quests", "users"}))
        running = await site.start("run")
        await running.until_said("realtime_joined")

        async with workload.running(pause=0.05):
            for _ in range(blows):
                await _blow(phoenix, chance)
                await asyncio.sleep(chance.uniform(0.0, 0.8))

        assert running.said("realtime_lost"), "no blow struck"
        await _settled(site, running)
        await running.stop()
        await verify(site, workload.chronicle)


@pytest.mark.long
async def test_processes_that_are_killed_hand_over(make_site: MakeSite, database: Database, seed: int) -> None:
    async with _phoenix(make_site, database, seed=seed) as (phoenix, site):
        workload = Workload(database, 33)
        first = await site.start("run")
        await first.until_said("realtime_joined")
        second = await site.start("run")
        await second.until_said("capture_standing_by")

        async with workload.running(pause=0.05):
            await until(lambda: phoenix.counts["sent"] > 30, 30, what="some changes are heard")
            await first.kill()
            await second.until_said("realtime_joined")

        await _settled(site, second)
        await second.stop()
        await site.settle()  # --until-idle needs no bell: it sweeps
        await site.command("replay", "--from-lsn", "0/1", code=2)
        await verify(site, workload.chronicle)


async def test_until_idle_delivers_everything_without_a_realtime_server(
    make_site: MakeSite, database: Database, seed: int
) -> None:
    async with _phoenix(make_site, database, seed=seed) as (phoenix, site):
        workload = Workload(database, 34)
        await workload.run(20)
        phoenix.faults.refuse = 503
        report = await site.settle()
        assert report["contacts"] > 0
        await verify(site, workload.chronicle)
        status = await site.status()
        assert status["doorbell"]["state"] in {"lost", "stopped", "joining"}
