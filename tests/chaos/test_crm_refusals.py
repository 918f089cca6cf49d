"""The CRM answers, and not as one would like: slowly, in part, too often, about records that others have touched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cdc.source.stream import SENDER_TIMEOUT_SECONDS
from tests.chaos.conftest import MakeSite
from tests.support.oracle import verify
from tests.support.pipeline import Site
from tests.support.somebody import PERSON, make_somebody, somebody_else
from tests.support.waiting import until
from tests.support.workload import Workload

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

_WRITES = ["insert", "upsert", "update", "delete"]


@pytest.mark.long
async def test_a_slow_crm_does_not_slow_the_stream(make_site: MakeSite, seed: int) -> None:
    """The server would end a stream that is silent for so long as one call takes here."""
    site = await make_site(CDC_LEASE_SECONDS="60")
    workload = Workload(site.database, seed)
    running = await site.start("run")
    await running.until_said("delivery_started")
    await site.crm.break_with({"action": "slow", "kind": _WRITES, "seconds": SENDER_TIMEOUT_SECONDS + 5})

    async with workload.running(pause=0.02):
        await until(lambda: _answered_slowly(site), 60, what="a slow call is answered", interval=0.2)
        await site.crm.mend()
    await site.until_captured()
    await site.until_delivered(within=90)
    await running.stop()

    assert not running.said("capture_interrupted"), running.tail()
    await verify(site, workload.chronicle)


async def _answered_slowly(site: Site) -> bool:
    return any(call["faults"] and call["status"] for call in await site.crm.calls(kind="upsert"))


@pytest.mark.long
async def test_after_a_retry_after_nobody_asks_before_its_time(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    await site.crm.break_with(
        {"action": "status", "status": 429, "headers": {"Retry-After": "6"}, "kind": "upsert", "times": 1}
    )
    running = await site.start("run")
    await running.until_said("delivery_started")
    async with workload.running(pause=0.02):
        await running.until_said("paused")
        await running.until_said("resumed")
    await site.until_delivered()
    await running.stop()

    calls = [call for call in await site.crm.calls() if call["kind"] in _WRITES]
    [refused] = [n for n, call in enumerate(calls) if call["status"] == 429]
    started = {call["number"]: call["at"] for call in calls}
    assert started[calls[refused + 1]["number"]] - calls[refused]["at"] >= 6
    await verify(site, workload.chronicle)


@pytest.mark.long
async def test_a_crm_whose_calls_at_once_are_all_taken_by_others(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    running = await site.start("run")
    await running.until_said("delivery_started")
    await site.crm.break_with({"action": "delay", "method": "GET", "path": "/crm/v8/Contacts", "seconds": 4.0})

    async with somebody_else(site.crm) as hand, asyncio.TaskGroup() as others:
        limit = (await site.crm.limits())["concurrency"]["limit"]
        for _ in range(limit):
            others.create_task(hand("GET", "Contacts?fields=id"))
        await until(lambda: _taken(site, limit), 20, what="all calls to be taken")
        await workload.run(20)
        await running.until_said("paused", reason="CONCURRENCY_LIMIT")
    await site.until_delivered(within=90)
    await running.stop()

    await verify(site, workload.chronicle)


async def _taken(site: Site, limit: int) -> bool:
    return bool((await site.crm.limits())["concurrency"]["highest"] >= limit)


@pytest.mark.long
async def test_answers_that_differ_from_record_to_record(make_site: MakeSite, seed: int) -> None:
    """Each is settled on its own: what was taken isn't sent again, what was refused parks or waits, by its code."""
    site = await make_site()
    workload = Workload(site.database, seed)
    rules: list[dict[str, Any]] = [
        {"action": "refuse", "code": "INVALID_DATA", "details": {"api_name": "Last_Name"}, "probability": 0.1},
        {"action": "refuse", "code": "RECORD_LOCKED", "probability": 0.1},
        {"action": "refuse", "code": "INTERNAL_ERROR", "probability": 0.1},
        {"action": "reorder_answer", "kind": "upsert", "probability": 0.3},
        {"action": "short_answer", "kind": ["insert", "upsert"], "probability": 0.1},
    ]
    await site.crm.break_with(*({**rule, "seed": seed + n} for n, rule in enumerate(rules)))
    await workload.run(80)
    running = await site.start("run")
    await running.until_said("delivery_started")
    await until(lambda: _mixed(site), 60, what="answers that differ", interval=0.2)
    await running.stop()
    await site.crm.mend()
    site.let_pauses_end()

    site.database.execute("update cdc.outbox set due_at = now(), claimed_until = null where parked_at is null")
    parked = "select distinct reason from cdc.outbox where parked_at is not null"
    for (reason,) in site.database.execute(parked):
        await site.command("failures", "retry", "--reason", reason)
    await site.settle()
    await verify(site, workload.chronicle)


async def _mixed(site: Site) -> bool:
    partial = [call for call in await site.crm.calls() if call["outcome"] == "partial"]
    return len(partial) >= 2 and len({code for call in partial for code in call["codes"]}) >= 3


@pytest.mark.long
async def test_records_that_others_deleted_or_keep_locked(make_site: MakeSite) -> None:
    site = await make_site()
    chronicle = make_somebody(site.database)
    await site.settle()
    await verify(site, chronicle)
    [contact] = await site.crm.records("Contacts")

    async with somebody_else(site.crm) as hand:
        await hand("DELETE", f"Contacts/{contact['id']}")
    site.database.execute("update public.users set display_name = 'One 00000000 v3' where id = %s", [PERSON])
    await site.settle()
    await site.command("sweep")
    await site.settle()
    await verify(site, chronicle)

    await site.crm.break_with({"action": "refuse", "code": "RECORD_LOCKED", "module": "Contacts"})
    site.database.execute("update public.users set display_name = 'One 00000000 v4' where id = %s", [PERSON])
    running = await site.start("run")
    waits = "select 1 from cdc.outbox where reason = 'RECORD_LOCKED' and parked_at is null"
    await until(lambda: site.database.execute(waits), 40, what="it waits for the lock to go")
    await running.stop()
    await site.crm.mend()
    site.database.execute("update cdc.outbox set due_at = now() where reason = 'RECORD_LOCKED'")
    await site.settle()
    await verify(site, chronicle)


@pytest.mark.long
async def test_a_throttled_token_endpoint_is_not_pestered(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    throttled = {"error_description": "You have made too many requests continuously.", "error": "Access Denied"}
    await site.crm.break_with({"action": "status", "kind": "token", "status": 400, "body": throttled})
    running = await site.start("run")
    await running.until_said("crm_unavailable", reason="TOKEN_THROTTLED")
    await workload.run(20)
    await site.until_captured()
    asked = len(await site.crm.calls(kind="token"))
    status = await site.status()
    assert [(p["scope"], p["reason"]) for p in status["pauses"]] == [("zoho", "TOKEN_THROTTLED")]
    assert asked <= 2, "it was asked again and again"

    await running.stop()
    await site.crm.mend()
    site.let_pauses_end()
    site.database.execute("update cdc.zoho_tokens set minted_at = '{}'")  # ten minutes have passed
    await site.settle()
    await verify(site, workload.chronicle)
