"""The table of jobs: what is switched on, and what the small ones do on a real database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs

from cdc.logging import configure_logging
from cdc.routing.feeds import load_profile
from cdc.runtime.connections import Connections
from cdc.runtime.heartbeat import beat
from cdc.runtime.jobs import Parts, build_jobs, plans
from cdc.runtime.schedule import Scheduler
from cdc.settings import Settings
from cdc.state import loglevel
from cdc.state.database import open_pool
from tests.support.postgres import Database
from tests.support.waiting import until

SETTINGS = Settings(_env_file=None)


@pytest.fixture
async def connections(database: Database) -> AsyncIterator[Connections]:
    database.apply_profile("core", sample=True)
    database.apply_state()
    async with open_pool(database.dsn, purpose="test", size=4) as pool:
        yield Connections(pool, pool, cast(Any, None), cast(Any, None), b"k" * 32)


def scheduler(connections: Connections) -> Scheduler:
    parts = Parts(cast(Any, None), SETTINGS, load_profile("core"), connections)
    return Scheduler(connections.state, build_jobs(parts), "test")


def test_settings_say_what_is_done_and_when() -> None:
    assert {name: str(plan) for name, plan in plans(SETTINGS).items()} == {
        "sweep": "daily at 02:00 UTC", "healthcheck": "every 15 min", "retention": "every 10 min",
    }  # fmt: skip
    off = SETTINGS.model_copy(update={"cdc_sweep_at": "off", "cdc_healthcheck_minutes": 0})
    assert set(plans(off)) == {"retention"}
    with_crm = SETTINGS.model_copy(update={"zoho_client_id": "1000.ID"})
    assert str(plans(with_crm)["reconcile"]) == "daily at 03:00 UTC"
    assert "sweep" not in plans(SETTINGS.model_copy(update={"cdc_transport": "realtime"}))


async def test_the_health_check_says_what_is_wrong_and_puts_it_on_record(
    connections: Connections, database: Database
) -> None:
    database.execute("insert into cdc.position (slot, system_id, timeline, lsn) values ('optio_cdc', '1', 1, '0/1')")
    with capture_logs() as logs:
        ending = await scheduler(connections).run_now("healthcheck")
    assert ending is not None
    assert (ending.outcome, ending.detail["state"]) == ("done", "slot_lost")
    assert database.execute("select detail from cdc.job_run") == [(dict(ending.detail),)]
    [said] = [entry for entry in logs if entry["event"] == "health"]
    assert (said["log_level"], said["state"]) == ("warning", "slot_lost")


async def test_retention_removes_what_is_past_its_time_and_nothing_else(
    connections: Connections, database: Database
) -> None:
    insert = (
        "insert into cdc.zoho_sync_log (sync_type, action, status, record_id, created_at)"
        " select 'contacts', 'create', 'success', n::text, now() - make_interval(days => n) from unnest(array[1, 91]) n"
    )
    database.execute(insert)
    for ago in ("2 days", "1 hour"):
        database.execute(f"insert into cdc.pause values ('{ago}', now() - interval '{ago}', 'me')")
    ending = await scheduler(connections).run_now("retention")
    assert ending is not None
    assert ending.detail == {"rows": 2}
    assert database.execute("select record_id from cdc.zoho_sync_log") == [("1",)]
    assert database.execute("select scope from cdc.pause") == [("1 hour",)]


async def test_a_level_that_a_person_sets_reaches_a_running_process_and_goes_again(
    connections: Connections, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging("json")
    monkeypatch.setattr("cdc.runtime.heartbeat.BEAT_SECONDS", 0.05)
    stop = asyncio.Event()
    beating = asyncio.create_task(beat(connections.state, "w", "delivery", stop))
    try:
        await until(lambda: database.execute("select 1 from cdc.worker"), what="the first beat")
        for level, wanted in (("debug", logging.DEBUG), ("error", logging.ERROR)):
            async with connections.state.connection() as conn:
                await loglevel.set_level(conn, level, actor="me", seconds=60)
            await until(lambda wanted=wanted: level_now() == wanted, what=level)
        database.execute("update cdc.log_level set until = now()")
        await until(lambda: level_now() == logging.INFO, what="the process's own level")
        assert logging.getLogger("httpx").getEffectiveLevel() >= logging.WARNING
    finally:
        stop.set()
        await beating


def level_now() -> int:
    """The lowest level that is written."""
    wrapper = structlog.get_config()["wrapper_class"]
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
    return next(level for level in levels if wrapper is structlog.make_filtering_bound_logger(level))
