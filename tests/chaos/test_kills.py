"""kill -9, at random moments and many times, while the application writes: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from tests.chaos.conftest import MakeSite
from tests.support.oracle import verify
from tests.support.pipeline import Child, Site
from tests.support.workload import Workload

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

_MOMENTS = ("", "capture_started", "delivery_started", "zoho_called", "batch", "batch")
"""What a process is let come to before its last moments: now and then not even to the start."""
_MOMENTS_OF_A_WORKER = tuple(moment for moment in _MOMENTS if moment != "capture_started")
_SLOW_CRM = {"action": "delay", "kind": ["insert", "upsert", "delete"], "seconds": 0.25, "probability": 0.7}


async def _live_and_die(child: Child, chance: random.Random, moments: Sequence[str] = _MOMENTS) -> None:
    """Let a process come to one of the moments, and kill it 50 to 500 ms later."""
    moment = chance.choice(moments)
    if moment:
        await child.until_said(moment)
    await asyncio.sleep(chance.uniform(0.05, 0.5))
    await child.kill()


def _in_flight(site: Site) -> int:
    """How many creates nobody knows the end of."""
    [(number,)] = site.database.execute("select count(*) from cdc.ledger where state = 'sending'")
    return int(number)


@pytest.mark.parametrize(
    ("transport", "kills"),
    [("stream", 8), ("poll", 4), pytest.param("stream", 200, marks=[pytest.mark.long, pytest.mark.timeout(1500)])],
)
async def test_a_pipeline_that_is_killed_again_and_again(
    make_site: MakeSite, transport: str, kills: int, seed: int
) -> None:
    site = await make_site(transport)
    workload = Workload(site.database, seed)
    chance = random.Random(workload.seed)  # a repeatable chance, no secret
    await site.crm.break_with({**_SLOW_CRM, "seed": workload.seed})
    torn = 0

    async with workload.running(pause=0.05):
        for _ in range(kills):
            await _live_and_die(await site.start("run"), chance)
            torn += _in_flight(site) > 0
    await site.crm.mend()
    await site.settle()

    assert torn, "no kill struck while a record was on its way"
    await verify(site, workload.chronicle)


async def test_workers_that_are_killed_beside_each_other(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    chance = random.Random(workload.seed)  # a repeatable chance, no secret
    await site.crm.break_with({**_SLOW_CRM, "seed": workload.seed})
    running = await site.start("run")
    await running.until_said("delivery_started")

    async def work(lives: int) -> None:
        for _ in range(lives):
            await _live_and_die(await site.start("worker"), chance, _MOMENTS_OF_A_WORKER)

    async with workload.running(pause=0.04), asyncio.TaskGroup() as group:
        group.create_task(work(7))
        group.create_task(work(7))
    await site.crm.mend()
    await running.stop()
    await site.settle()

    await verify(site, workload.chronicle)
