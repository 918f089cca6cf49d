"""A backfill by bulk jobs, torn by kill -9: taken up again, never paid for twice, and nothing older after newer."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.chaos.conftest import MakeSite
from tests.support.oracle import verify
from tests.support.pipeline import Site
from tests.support.waiting import until
from tests.support.workload import Workload

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

_PEOPLE = 12
_BULK = {"CDC_BULK_FROM": "5", "CDC_BULK_ROWS": "100", "CDC_SWEEP_AT": "off"}


def _sign_up(site: Site) -> None:
    """People whom no change announces: they are there before the slot is read, and only a sweep finds them."""
    site.database.execute(
        "insert into auth.users (id) select md5('p' || n)::uuid from generate_series(1, %s) n", [_PEOPLE]
    )
    site.database.execute(
        "insert into public.users (id, last_name, role, display_name)"
        " select md5('p' || n)::uuid, 'No. ' || n, 'parent', 'Somebody' from generate_series(1, %s) n",
        [_PEOPLE],
    )


async def _sweep(site: Site) -> None:
    """Mark everything in the lane `bulk`, and take what capture marked away: it is a backfill that is looked at."""
    site.database.execute("delete from cdc.outbox")
    await site.command("sweep")


def _job(site: Site) -> tuple[str, int]:
    """State and number of the newest job."""
    rows = site.database.execute("select state, id from cdc.bulk_job order by id desc limit 1")
    return rows[0] if rows else ("none", 0)


async def _started(site: Site, kind: str) -> bool:
    return bool(await site.crm.calls(kind=kind))


@pytest.mark.parametrize(
    ("moment", "fault", "paid"),
    [
        pytest.param("uploading", {"action": "hang", "kind": "upload", "times": 1}, 1, marks=pytest.mark.long),
        ("after the job was created", {"action": "apply_then_hang", "kind": "bulk_write", "times": 1}, 2),
        pytest.param("polling", {"action": "hold_job", "kind": "bulk_write"}, 1, marks=pytest.mark.long),
        pytest.param(
            "before settling", {"action": "hang", "kind": "bulk_result", "times": 1}, 1, marks=pytest.mark.long
        ),
    ],
    ids=["uploading", "created", "polling", "settling"],
)
async def test_a_job_is_taken_up_again(make_site: MakeSite, moment: str, fault: dict[str, Any], paid: int) -> None:
    site = await make_site(**_BULK)
    _sign_up(site)
    await _sweep(site)
    await site.crm.break_with(fault)

    first = await site.start("worker")
    if moment == "polling":
        await until(lambda: _job(site)[0] == "running", 30, what="the job runs")
    else:
        await until(lambda: _started(site, fault["kind"]), 30, what=f"a worker is {moment}")
    await first.kill()
    await site.crm.mend()
    second = await site.start("worker")
    await site.until_delivered()
    await second.stop()

    assert len(await site.crm.calls(kind="bulk_write")) == paid
    assert await site.crm.calls(kind="upsert") == []
    assert _job(site) == ("done", 2 if moment == "uploading" else 1)
    contacts = await site.crm.records("Contacts")
    assert len(contacts) == len({one["External_ID"] for one in contacts}) == _PEOPLE
    [(known,)] = site.database.execute("select count(*) from cdc.ledger where state = 'sent' and row_hash is not null")
    assert known == _PEOPLE


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("again", [1, 2])
async def test_a_backfill_races_the_application_and_is_killed_in_its_middle(
    make_site: MakeSite, again: int, seed: int
) -> None:
    site = await make_site(**{**_BULK, "CDC_BULK_ROWS": "20"})
    workload = Workload(site.database, seed + again)
    chance = random.Random(workload.seed)  # a repeatable chance, no secret
    taken_up = 0

    async with workload.running(pause=0.05):
        await until(lambda: _people(site) >= 10, 30, what="there are people to backfill")
        for _ in range(3):
            await site.crm.break_with({"action": "hold_job", "kind": "bulk_write"})
            running = await site.start("run")
            await running.until_said("delivery_started")
            await site.command("sweep", "--force")
            await until(lambda: _job(site)[0] in {"uploaded", "starting", "running"}, 60, what="a job is under way")
            await asyncio.sleep(chance.uniform(0.0, 0.4))
            await running.kill()
            _, number = _job(site)
            await site.crm.mend()
            again = await site.start("run")
            await until(lambda n=number: _ended(site, n), 60, what="the job is taken up and ends")
            taken_up += site.database.execute("select starts from cdc.bulk_job where id = %s", [number])[0][0] == 1
            await again.kill()
    await site.settle()

    assert taken_up, "no job was taken up after its start was answered"
    await verify(site, workload.chronicle)


def _people(site: Site) -> int:
    [(number,)] = site.database.execute("select count(*) from cdc.contacts")
    return int(number)


def _ended(site: Site, number: int) -> bool:
    [(ended,)] = site.database.execute("select ended_at is not null from cdc.bulk_job where id = %s", [number])
    return bool(ended)
