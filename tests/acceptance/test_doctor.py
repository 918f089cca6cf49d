"""`cdc doctor` as an operator runs it: before set-up, after it, and beside a pipeline that it doesn't disturb."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.pipeline import ENCRYPTION_KEY, Crm, Site
from tests.support.postgres import Database
from tests.support.waiting import until


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[Site]:
    async with Crm.open() as crm:
        made = Site(database, crm, tmp_path)
        yield made
        await made.close()


async def examined(site: Site, code: int) -> dict[str, Any]:
    said = await site.command("doctor", "--json", code=code)
    for secret in (ENCRYPTION_KEY, site.crm.access.client_secret, site.crm.access.refresh_token):
        assert secret not in said
    return {finding["check"]: finding for finding in json.loads(said)["findings"]}


async def test_from_nothing_to_all_is_well(site: Site) -> None:
    site.database.apply_profile("core")
    site.database.execute("drop schema cdc cascade")
    before = await examined(site, code=3)
    assert before["source.slot"]["fix"] == "cdc setup"
    assert before["crm.fields"]["level"] == "ok"
    assert site.database.execute("select to_regnamespace('cdc') is null") == [(True,)], "it changes nothing"

    await site.command("setup")
    running = await site.start("run")
    await running.until_said("capture_started")
    await site.until_delivered()
    after = await examined(site, code=0)
    assert {f["level"] for f in after.values()} <= {"ok", "skipped"}
    site.database.execute("insert into auth.users select gen_random_uuid() as id")
    site.database.execute("insert into public.users (id, first_name, last_name) select id, 'A', 'B' from auth.users")
    journal = "select count(*) from cdc.journal"
    await until(lambda: site.database.execute(journal) != [(0,)], what="it goes on capturing")
    assert not running.said("capture_interrupted")
    assert not running.said("capture_standing_by")
    assert site.database.execute("select count(*) from cdc.control") == [(0,)]
    await running.stop()
