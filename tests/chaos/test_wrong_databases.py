"""The database behind the pipeline is restored, or another one: nothing wrong leaves, nothing is made twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cdc.embedded.postgres import EmbeddedPostgres
from tests.support.pipeline import Crm, Site
from tests.support.postgres import Database, fresh_database
from tests.support.somebody import make_somebody
from tests.support.standby import Copy, primary
from tests.support.waiting import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


@asynccontextmanager
async def own_site(folder: Path) -> AsyncIterator[tuple[EmbeddedPostgres, Site]]:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(primary())
        database = stack.enter_context(fresh_database(server.dsn))
        crm = await stack.enter_async_context(Crm.open())
        site = Site(database, crm, folder)
        stack.push_async_callback(site.close)
        database.apply_profile("core")
        await site.command("setup")
        yield server, site


async def contents(crm: Crm) -> dict[str, int]:
    return {module: len(await crm.records(module)) for module in ("Contacts", "Tasks", "Notes")}


@pytest.mark.long
async def test_a_ledger_that_was_restored_with_its_database_makes_nothing_twice(tmp_path: Path) -> None:
    """It knows nothing of what was delivered since, and a note in the CRM has no identity that would show it."""
    async with own_site(tmp_path) as (server, site):
        await site.settle()
        make_somebody(site.database)
        with Copy.stopped_in_time(server) as copy:
            await site.settle()
            delivered = await contents(site.crm)
            assert delivered == {"Contacts": 1, "Tasks": 1, "Notes": 1}
            server.halt(immediate=True)
            copy.promote()
            restored = replace(site, database=copy.database(site.database))
            assert restored.database.execute("select count(*) from cdc.ledger") == [(0,)]

            running = await restored.start("run")
            await running.until_said("gap_closed", 60)
            await restored.until_delivered()
            await running.stop()

            assert await contents(site.crm) == delivered
            assert restored.database.execute("select state, count(*) from cdc.ledger group by 1") == [("sent", 3)]
            assert restored.database.execute("select * from cdc.control") == []
            server.resume()


async def test_a_wrong_database_is_neither_read_nor_delivered_from_until_a_person_decides(
    tmp_path: Path, database: Database
) -> None:
    with primary() as other:
        async with own_site(tmp_path) as (_, first):
            site = replace(first, settings={"CDC_STATE_DSN": database.dsn})
            site.database.execute("drop schema cdc cascade")
            await site.command("setup")
            make_somebody(site.database)
            await site.settle()
            before = await contents(site.crm)
            worker = await site.start("worker")
            await worker.until_said("delivery_started")

            wrong = Database(site.database.name, other.dsn.replace("dbname=postgres", f"dbname={site.database.name}"))
            Database("postgres", other.dsn).execute(f"create database {wrong.name}")
            wrong.apply_profile("core")
            elsewhere = replace(site, database=wrong)
            waiting = await elsewhere.start("run")
            await waiting.until_said("capture_blocked", 40)
            held = "select reason from cdc.control where scope = '*'"
            assert database.execute(held) == [("GAP_UNDECIDED",)]
            assert wrong.execute("select count(*) from pg_publication") == [(0,)], "nothing was set up there"
            status = await elsewhere.status()
            assert status["exit_code"] == 3
            assert status["gaps"][0]["cause"] == "ANOTHER_CLUSTER"
            assert "contacts: 0 to create, 0 to change, 1 to withdraw" in await elsewhere.command(
                "slot", "repair", code=2
            )
            assert waiting.running
            assert await contents(site.crm) == before

            await elsewhere.command("slot", "repair", "--yes")
            await waiting.until_said("gap_closed", 60)
            await until(lambda: database.execute(held) == [], 20, what="delivery to go on")
            shown = await elsewhere.command("slot", code=0)
            assert "contacts 1 gone" in shown
            await waiting.stop()
            await worker.stop()


@pytest.mark.long
async def test_run_until_idle_ends_where_a_person_must_decide(tmp_path: Path) -> None:
    async with own_site(tmp_path) as (_, site):
        await site.settle()
        site.database.execute("update cdc.position set system_id = '7'")
        await site.settle(code=3)
        assert "ANOTHER_CLUSTER" in await site.command("slot", code=3)
