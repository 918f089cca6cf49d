"""`cdc doctor` as an operator runs it: before set-up, after it, and beside a pipeline that it doesn't disturb."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cdc.wire.journal import decompress
from tests.support.pipeline import ENCRYPTION_KEY, Crm, Site
from tests.support.postgres import Database
from tests.support.waiting import until


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[Site]:
    async with Crm.open() as crm:
        made = Site(database, crm, tmp_path)
        made.settings["CDC_ALERT_SLACK_URL"] = "https://hooks.slack.example/services/T/B/x"
        yield made
        await made.close()


async def examined(site: Site, code: int) -> dict[str, Any]:
    said = await site.command("doctor", "--json", code=code)
    for secret in (ENCRYPTION_KEY, site.crm.access.client_secret, site.crm.access.refresh_token):
        assert secret not in said
    return {finding["check"]: finding for finding in json.loads(said)["findings"]}


async def one_contact(site: Site, name: str, address: str) -> None:
    """Let a parent join, and wait for the contact."""
    site.database.execute("insert into auth.users select gen_random_uuid() as id")
    site.database.execute(
        "insert into public.users (id, last_name, email, role) select id, %s, %s, 'parent' from auth.users",
        [name, address],
    )

    async def is_there() -> bool:
        return [contact["Last_Name"] for contact in await site.crm.records("Contacts")] == [name]

    await until(is_there, 60, what="it goes on capturing and delivering")


def everything_in(database: Database, schema: str) -> str:
    """Every row of every table of a schema, as text; compressed bodies are opened."""
    tables = database.execute("select tablename::text from pg_tables where schemaname = %s", [schema])
    kept = [str(database.execute(f"select to_jsonb(t) from {schema}.{table} t")) for (table,) in tables]
    kept += [str(decompress(body)) for (body,) in database.execute("select body from cdc.journal")]
    return "\n".join(kept)


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
    await one_contact(site, "Zebrowska", "zdz@example.org")
    kept = everything_in(site.database, "cdc")
    assert "public.users" in kept, "the journal's chunks are among it"
    for value in ("Zebrowska", "zdz@example.org"):
        assert value not in kept, "our tables hold keys and keyed hashes"
        assert value not in running.log.read_text(encoding="utf-8")
    assert not running.said("capture_interrupted")
    assert not running.said("capture_standing_by")
    assert site.database.execute("select count(*) from cdc.control") == [(0,)]
    await running.stop()
