"""Replays beside everything else: they change nothing that is right, and set right what isn't."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from tests.chaos.conftest import MakeSite
from tests.support.oracle import verify
from tests.support.pipeline import Site
from tests.support.workload import Workload

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

_WRITES = ("insert", "upsert", "update", "delete")


async def _start(site: Site) -> str:
    """The first LSN that the journal has."""
    told = json.loads(await site.command("journal", "--json"))
    return str(told["spans"][-1]["from_lsn"])


async def _written(site: Site) -> int:
    """How many records were sent so far."""
    return sum(call["records"] for call in await site.crm.calls() if call["kind"] in _WRITES)


async def _state(site: Site) -> list[object]:
    """All that the CRM holds, its times of modification aside."""
    records = [r for module in ("Contacts", "Tasks", "Notes") for r in await site.crm.records(module)]
    return [{name: value for name, value in record.items() if name != "Modified_Time"} for record in records]


@pytest.mark.long
async def test_a_window_that_is_delivered_already(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    running = await site.start("run")
    await running.until_said("capture_started")
    await workload.run(80)
    await running.stop()
    await site.settle()
    before, written, lsn = await _state(site), await _written(site), await _start(site)

    said = json.loads(await site.command("replay", "--from-lsn", lsn, "--json"))
    assert said["marked"] > 50
    await site.settle()

    assert await _written(site) == written, "what was equal was sent again"
    assert await _state(site) == before
    await site.command("replay", "--from-lsn", lsn, "--force")
    await site.settle()
    assert await _written(site) > written
    assert await _state(site) == before
    await verify(site, workload.chronicle)

    # What replays are for: the ledger believes something that is no longer so.
    site.database.execute("update cdc.ledger set field_hashes = '{}', row_hash = null where feed = 'contacts'")
    site.database.execute("delete from cdc.ledger where feed = 'quest_completions'")
    await site.command("replay", "--from-lsn", lsn)
    await site.settle()
    await verify(site, workload.chronicle)


@pytest.mark.long
async def test_replays_beside_a_busy_application_and_workers(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    chance = random.Random(workload.seed)  # a repeatable chance, no secret
    running = await site.start("run")
    await running.until_said("delivery_started")
    worker = await site.start("worker")
    lsn = await _start(site)

    async with workload.running(pause=0.05):
        await site.command("replay", "--from-lsn", lsn)
        killed = await site.start("replay", "--from-lsn", lsn)
        await asyncio.sleep(chance.uniform(0.5, 2.0))  # somewhere in its life
        await killed.kill()
        await site.command("replay", "--from-lsn", lsn, "--force")
    await worker.stop()
    await running.stop()
    await site.settle(within=120)

    await verify(site, workload.chronicle)
