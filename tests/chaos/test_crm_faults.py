"""The CRM at its worst: it loses answers, refuses, dawdles, and goes away altogether."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.conftest import MakeSite
from tests.support.oracle import verify
from tests.support.pipeline import Site
from tests.support.waiting import until
from tests.support.workload import Workload

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

_WRITES = ["insert", "upsert", "update", "delete"]
_READS = ["coql", "related"]
_FAULTS: list[dict[str, Any]] = [
    {"action": "apply_then_lose", "kind": _WRITES, "times": 5, "probability": 0.2},
    {"action": "lose", "kind": [*_WRITES, *_READS], "times": 4, "probability": 0.15},
    {"action": "status", "status": 500, "kind": [*_WRITES, *_READS], "times": 3, "probability": 0.15},
    {"action": "status", "status": 503, "kind": _WRITES, "times": 2, "probability": 0.15},
    {"action": "status", "status": 429, "kind": _WRITES, "times": 3, "probability": 0.15},
    {"action": "html_502", "kind": _WRITES, "times": 2, "probability": 0.15},
    {"action": "short_answer", "kind": ["insert", "upsert"], "times": 2, "probability": 0.15},
    {"action": "reorder_answer", "kind": "upsert", "times": 1, "probability": 0.15},
    {"action": "delay", "kind": _WRITES, "times": 10, "seconds": 0.6, "probability": 0.3},
    {"action": "apply_then_hang", "kind": ["insert", "upsert"], "times": 1, "probability": 0.15},
    {"action": "hang", "kind": _WRITES, "times": 1, "probability": 0.15},
    {"action": "invalidate_access_tokens", "kind": _WRITES, "times": 2, "probability": 0.15},
]


@pytest.mark.parametrize("transport", ["stream", "poll"])
async def test_random_faults_leave_no_trace(make_site: MakeSite, transport: str, seed: int) -> None:
    site = await make_site(transport)
    workload = Workload(site.database, seed)
    await site.crm.break_with(*({**rule, "seed": workload.seed + n} for n, rule in enumerate(_FAULTS)))
    running = await site.start("run")
    await running.until_said("delivery_started")

    async with workload.running(pause=0.05):
        await until(lambda: _struck(site), 90, what="enough has gone wrong", interval=0.2)
    await running.stop()
    await site.crm.mend()
    site.let_pauses_end()
    await site.settle(within=90)

    await verify(site, workload.chronicle)


async def test_a_crm_that_is_away_costs_the_slot_nothing(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    running = await site.start("run")
    await running.until_said("delivery_started")
    await site.crm.break_with({"action": "lose"})

    await workload.run(100)
    await site.until_captured()
    assert await site.crm.history("Contacts") == []
    assert await _pause(site) == ("zoho", "UNAVAILABLE")
    await site.crm.mend()
    await site.until_delivered()
    await running.stop()

    await verify(site, workload.chronicle)


async def test_a_crm_that_was_away_at_the_start_is_waited_for(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    await site.crm.break_with({"action": "html_502"})
    running = await site.start("run")
    await running.until_said("crm_unavailable")

    await workload.run(40)
    await site.until_captured()
    await site.crm.mend()
    await site.until_delivered()
    await running.stop()

    await verify(site, workload.chronicle)


async def test_a_poison_record_parks_alone_and_comes_through_once_it_is_mended(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    poison = "00000000-0000-4000-8000-000000000001"
    await site.crm.break_with(
        {
            "action": "refuse",
            "where": {"External_ID": poison, "Last_Name": "Poison"},
            "code": "INVALID_DATA",
            "details": {"api_name": "Last_Name"},
        }
    )
    running = await site.start("run")
    await running.until_said("capture_started")
    site.database.execute("insert into auth.users (id) values (%s)", [poison])
    site.database.execute("insert into public.users (id, last_name, role) values (%s, 'Poison', 'parent')", [poison])

    await workload.run(60)
    await running.stop()
    report = await site.settle(code=3)
    status = await site.status()
    listed = await site.command("failures", "show", "contacts", poison)
    assert report["parked"] == status["parked"] == 1
    assert "INVALID_VALUE" in listed
    assert "Last_Name" in listed
    [(wanted,)] = site.database.execute("select count(*) from cdc.contacts")
    assert len(await site.crm.records("Contacts")) == wanted - 1, "its neighbours were held up"

    site.database.execute("update public.users set last_name = 'Remedy' where id = %s", [poison])
    await site.settle()
    await verify(site, workload.chronicle)


async def test_without_credits_everything_waits_and_nothing_is_lost(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    running = await site.start("run")
    await running.until_said("delivery_started")
    await site.crm.break_with({"action": "credits_gone", "kind": [*_WRITES, *_READS]})

    await workload.run(60)
    await running.until_said("paused", reason="CREDITS_EXHAUSTED")
    await site.until_captured()
    before = await site.crm.last_call()
    status = await site.status()
    assert status["exit_code"] == 3
    assert [(p["scope"], p["reason"]) for p in status["pauses"]] == [("zoho", "CREDITS_EXHAUSTED")]
    assert status["dirty"] > 0
    assert await site.crm.history("Contacts") == []
    assert await site.crm.last_call() == before, "it asked for more although there is nothing left"

    await site.crm.mend()
    site.let_pauses_end()
    await site.until_delivered()
    await running.stop()
    await verify(site, workload.chronicle)


async def test_the_reserve_of_credits_is_left_alone(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    site.database.execute("insert into cdc.credit_usage values (date_trunc('hour', now()), 'upsert', 1, 1000000)")
    running = await site.start("run")
    await running.until_said("lanes_within_budget", lanes=[])

    await workload.run(30)
    await site.until_captured()
    assert await site.crm.history("Contacts") == []
    site.database.execute("delete from cdc.credit_usage where credits = 1000000")
    await site.until_delivered()
    await running.stop()

    await verify(site, workload.chronicle)


async def _struck(site: Site) -> bool:
    return sum(rule["struck"] for rule in await site.crm.faults()) >= 8


async def _pause(site: Site) -> tuple[str, str]:
    def found() -> list[tuple[str, str]]:
        return site.database.execute("select scope, reason from cdc.control")  # type: ignore[return-value]

    [pause] = await until(found, what="delivery is paused")
    return pause
