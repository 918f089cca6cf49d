"""SIGSTOP: a process that is neither dead nor alive holds up nobody, and does no harm when it comes back."""

from __future__ import annotations

import asyncio
import random
import signal
import time

import pytest

from cdc.state.capture import SILENT_SECONDS
from tests.chaos.conftest import MakeSite
from tests.support.oracle import verify
from tests.support.pipeline import LEASE_SECONDS, SLOT, Child, Site
from tests.support.waiting import until
from tests.support.workload import Workload

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

_SLOW_CRM = {"action": "delay", "kind": ["insert", "upsert", "delete"], "seconds": 0.25, "probability": 0.7}


def _position(site: Site) -> str:
    [(lsn,)] = site.database.execute("select lsn::text from cdc.position where slot = %s", [SLOT])
    return str(lsn)


async def _stand_by(site: Site) -> Child:
    standby = await site.start("run")
    await standby.until_said("capture_standing_by")
    return standby


@pytest.mark.parametrize("transport", ["stream", pytest.param("poll", marks=pytest.mark.long)])
async def test_a_capture_that_is_stopped_loses_its_turn_and_does_no_harm_when_it_goes_on(
    make_site: MakeSite, transport: str
) -> None:
    site = await make_site(transport)
    workload = Workload(site.database, 41)
    first = await site.start("run")
    await first.until_said("capture_started")
    second = await _stand_by(site)
    async with workload.running(pause=0.05):
        await first.until_said("batch")
        first.signal(signal.SIGSTOP)
        await second.until_said("capture_started", within=SILENT_SECONDS + 20)
        before = _position(site)
        await until(lambda: _position(site) != before, 30, what="the second captures")
        first.signal(signal.SIGCONT)
        await until(lambda: _says_it_lost(first), 30, what="the first notices")
        await first.until_said("capture_standing_by")
    await site.until_captured()
    await first.stop()
    await second.stop()
    await site.settle()
    await verify(site, workload.chronicle)


def _says_it_lost(child: Child) -> bool:
    return child.said("capture_interrupted")


async def test_a_standby_takes_over_from_the_dead_and_from_those_that_stop(make_site: MakeSite) -> None:
    site = await make_site()
    workload = Workload(site.database, 42)
    first = await site.start("run")
    await first.until_said("capture_started")
    second = await _stand_by(site)
    async with workload.running(pause=0.05):
        await first.kill()
        await second.until_said("capture_started", within=15)
        third = await _stand_by(site)
        second.signal(signal.SIGTERM)
        await third.until_said("capture_started", within=15)
        assert await second.ended() == 0
    await third.stop()
    await site.settle()
    await verify(site, workload.chronicle)


@pytest.mark.long
async def test_two_that_run_side_by_side_never_end_each_other(make_site: MakeSite) -> None:
    site = await make_site()
    first = await site.start("run")
    await first.until_said("capture_started")
    second = await _stand_by(site)
    idle = time.monotonic() + SILENT_SECONDS + 3  # nothing is written: silence of the application is no silence of ours
    await until(lambda: time.monotonic() > idle, SILENT_SECONDS + 10)
    assert not second.said("capture_started")
    assert not first.said("capture_interrupted")


async def _stop_and_continue(children: list[Child], chance: random.Random, stop: asyncio.Event) -> int:
    """Stop one after another at random moments, some past their lease, and continue them. Returns how often."""
    times = 0
    while not stop.is_set():
        child = chance.choice(children)
        await asyncio.sleep(chance.uniform(0.02, 0.3))
        child.signal(signal.SIGSTOP)
        try:
            long = chance.random() < 0.4
            await asyncio.sleep(chance.uniform(LEASE_SECONDS, LEASE_SECONDS + 2) if long else chance.uniform(0.05, 1))
        finally:
            child.signal(signal.SIGCONT)
        times += 1
    return times


async def _workers_that_are_stopped(make_site: MakeSite, seed: int, seconds: float) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    chance = random.Random(workload.seed)  # a repeatable chance, no secret
    await site.crm.break_with({**_SLOW_CRM, "seed": workload.seed})
    running = await site.start("run")
    await running.until_said("delivery_started")
    workers = [await site.start("worker") for _ in range(2)]
    for worker in workers:
        await worker.until_said("delivery_started")
    stop = asyncio.Event()
    async with workload.running(pause=0.03):
        stopping = [asyncio.create_task(_stop_and_continue([worker], chance, stop)) for worker in workers]
        await asyncio.sleep(seconds)
        stop.set()
        times = sum(await asyncio.gather(*stopping))
    assert times > 3
    await site.crm.mend()
    for child in (*workers, running):
        await child.stop()
    await site.settle()
    await verify(site, workload.chronicle)


async def test_workers_that_are_stopped_past_their_lease_and_continued(make_site: MakeSite, seed: int) -> None:
    await _workers_that_are_stopped(make_site, seed, seconds=9)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("again", range(4))
async def test_workers_that_are_stopped_again_and_again(make_site: MakeSite, again: int, seed: int) -> None:
    await _workers_that_are_stopped(make_site, seed + again, seconds=75)
