"""The refresh token is revoked: delivery waits and says why, capture goes on, nothing is lost."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import MakeSite
from tests.support.oracle import verify
from tests.support.pipeline import Site
from tests.support.workload import Workload

pytestmark = pytest.mark.chaos

_REVOKED = {"action": "status", "kind": "token", "status": 200, "body": {"error": "invalid_code"}}


async def _says_why(site: Site) -> None:
    status = await site.status()
    assert status["exit_code"] == 3
    assert [(p["scope"], p["reason"]) for p in status["pauses"]] == [("zoho", "TOKEN_INVALID")]
    assert status["dirty"] > 0
    assert status["lag_bytes"] < 1_000_000


async def test_a_token_that_is_no_good_at_the_start(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    await site.crm.break_with(_REVOKED)
    running = await site.start("run")
    await running.until_said("crm_unavailable", reason="TOKEN_INVALID")

    await workload.run(40)
    await site.until_captured()
    await _says_why(site)
    assert not running.said("delivery_started")

    await site.crm.mend()
    await site.until_delivered()
    await running.stop()
    await verify(site, workload.chronicle)


async def test_a_token_that_is_revoked_under_way_and_replaced(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    running = await site.start("run")
    await running.until_said("delivery_started")
    await site.crm.break_with({"action": "revoke_token", "kind": "upsert", "skip": 2, "times": 1})

    async with workload.running(pause=0.02):
        await running.until_said("paused", reason="TOKEN_INVALID")
    await site.until_captured()
    await _says_why(site)
    await running.stop()
    site.settings["ZOHO_REFRESH_TOKEN"] = await site.crm.new_refresh_token()
    site.let_pauses_end()
    running = await site.start("run")
    await running.until_said("capture_started")
    await site.until_delivered()
    await running.stop()

    await verify(site, workload.chronicle)


async def test_a_pause_that_nobody_needs_any_longer_ends_without_anything_to_send(make_site: MakeSite) -> None:
    site = await make_site()
    await site.crm.break_with(_REVOKED)
    running = await site.start("run")
    await running.until_said("crm_unavailable")

    await site.crm.mend()
    await running.until_said("delivery_started")

    status = await site.status()
    assert status["pauses"] == []
    assert status["exit_code"] == 0
    await running.stop()
