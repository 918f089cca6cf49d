"""SIGTERM in the middle of work: an orderly end, nothing left claimed, nothing lost."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.chaos.conftest import MakeSite
from tests.support.oracle import verify
from tests.support.pipeline import Child, Site
from tests.support.proxy import proxy
from tests.support.waiting import until
from tests.support.workload import Workload

pytestmark = pytest.mark.chaos

_SLOW: dict[str, Any] = {"action": "delay", "kind": ["upsert", "insert"], "seconds": 1.0}
_HANGING: dict[str, Any] = {"action": "hang", "kind": ["upsert", "insert"]}


async def _in_the_middle(site: Site, workload: Workload, command: str = "run") -> Child:
    """Start a pipeline, let the application write, and wait until a call to the CRM is under way."""
    await workload.run(20)
    running = await site.start(command)
    await until(lambda: _is_calling(site), 30, what="a call to the CRM is under way")
    return running


async def _is_calling(site: Site) -> bool:
    return any(call["faults"] and call["status"] is None for call in await site.crm.calls(kind="upsert"))


def _claims(site: Site) -> int:
    [(claims,)] = site.database.execute(
        "select count(*) from cdc.outbox where claimed_by is not null and claimed_until > now()"
    )
    return int(claims)


async def _finish(site: Site, workload: Workload) -> None:
    await site.crm.mend()
    site.let_pauses_end()
    await site.settle()
    await verify(site, workload.chronicle)


@pytest.mark.parametrize("transport", ["stream", "poll"])
async def test_a_stop_waits_for_the_answer_and_leaves_nothing_claimed(
    make_site: MakeSite, transport: str, seed: int
) -> None:
    site = await make_site(transport)
    workload = Workload(site.database, seed)
    await site.crm.break_with(_SLOW)
    running = await _in_the_middle(site, workload)

    await running.stop()

    assert _claims(site) == 0
    assert site.database.execute("select count(*) from cdc.ledger where state = 'sending'") == [(0,)]
    assert await site.crm.records("Contacts"), "the answer was not waited for"
    await _finish(site, workload)


@pytest.mark.long
async def test_a_stop_does_not_wait_for_ever(make_site: MakeSite, seed: int) -> None:
    site = await make_site(CDC_DRAIN_SECONDS="0.5", CDC_LEASE_SECONDS="60")
    workload = Workload(site.database, seed)
    await site.crm.break_with(_HANGING)
    running = await _in_the_middle(site, workload)

    running.signal(signal.SIGTERM)

    assert await running.ended(within=10) == 0
    assert running.said("drain_cut_short")
    assert _claims(site) == 0
    await _finish(site, workload)


@pytest.mark.long
async def test_a_stop_while_the_databases_are_silent(make_site: MakeSite, seed: int) -> None:
    """Neither an answer nor an end of the connection: what hangs on it can't even be cancelled in an orderly way."""
    site = await make_site(CDC_DRAIN_SECONDS="0.5")
    workload = Workload(site.database, seed)
    async with proxy(site.database.dsn) as line:
        site.settings["DATABASE_URL"] = line.dsn
        running = await site.start("run")
        await running.until_said("swept")
        line.flowing.clear()
        await workload.run(20)
        running.signal(signal.SIGTERM)
        assert await running.ended(within=20) in {0, 1, 130}
    del site.settings["DATABASE_URL"]
    await _finish(site, workload)


async def test_a_second_signal_cuts_it_off(make_site: MakeSite, seed: int) -> None:
    site = await make_site(CDC_DRAIN_SECONDS="60", CDC_LEASE_SECONDS="15")
    workload = Workload(site.database, seed)
    await site.crm.break_with(_HANGING)
    running = await _in_the_middle(site, workload)

    running.signal(signal.SIGTERM)
    await until(lambda: not _slot_is_read(site), what="capture has stopped")
    assert running.running, "the call under way was not waited for"
    running.signal(signal.SIGTERM)

    assert await running.ended(within=10) == 130
    # What was just being claimed when it was cut off may stay claimed, until its lease has run out.
    await _finish(site, workload)


async def test_a_worker_stops_as_well(make_site: MakeSite, seed: int) -> None:
    site = await make_site(CDC_LEASE_SECONDS="60")
    workload = Workload(site.database, seed)
    first = await site.start("run")
    await first.until_said("swept")
    await first.stop()
    await site.crm.break_with(_SLOW)
    site.settings["ZOHO_SYNC_ENABLED"] = "false"
    capturing = await site.start("run")
    await capturing.until_said("capture_started")
    del site.settings["ZOHO_SYNC_ENABLED"]
    worker = await _in_the_middle(site, workload, "worker")

    await worker.stop()

    assert _claims(site) == 0
    await capturing.stop()
    await _finish(site, workload)


def _slot_is_read(site: Site) -> bool:
    [(active,)] = site.database.execute("select active from pg_replication_slots where slot_name = 'optio_cdc'")
    return bool(active)
