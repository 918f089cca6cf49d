"""Clocks jump by hours, ours and the server's: order comes from positions in the WAL, and no timer runs wild."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.source.preflight import TransportName
from tests.chaos.conftest import MakeSite
from tests.support.capture import TRANSPORTS, Source
from tests.support.clock import wall_clock
from tests.support.oracle import verify
from tests.support.postgres import fresh_database
from tests.support.waiting import until
from tests.support.workload import Workload

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]
_JUMPS = (2.0, -2.0, 0.0)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_commit_times_that_jump_change_no_order(
    tmp_path: Path, transport: TransportName, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wall_clock() as clock:
        with monkeypatch.context() as environment:
            for name, value in clock.environment.items():
                environment.setenv(name, value)
            server = EmbeddedPostgres.start()
        with server, fresh_database(server.dsn) as database:
            source = await Source.make(database, tmp_path)
            async with source.capturing(transport):
                for number, hours in enumerate(_JUMPS):
                    clock.jump_to(hours)
                    for row in range(20):
                        database.execute("insert into items values (%s, 'ada')", [number * 100 + row])
                    await source.drained(f"marker {number}", within=60)
            times = [entry.commit_time for entry in source.journal()]
            assert times != sorted(times), "the server's clock didn't jump"
            wanted = [number * 100 + row for number in range(len(_JUMPS)) for row in range(20)]
            assert source.entries() == [("I", "items", ("ada", str(n))) for n in wanted]
            assert source.gaps() == []


@pytest.mark.long
async def test_a_pipeline_whose_clock_jumps(make_site: MakeSite, seed: int) -> None:
    site = await make_site()
    workload = Workload(site.database, seed)
    with wall_clock() as clock:
        site.settings |= clock.environment
        running = await site.start("run")
        await running.until_said("delivery_started")
        async with workload.running(pause=0.03):
            for hours in _JUMPS:
                before = len(running.events())
                clock.jump_to(hours)
                await until(
                    lambda: len([e for e in running.events()[before:] if e["event"] == "batch"]) > 5,  # noqa: B023
                    60,
                    what="some batches after the jump",
                )
        await site.until_captured()
        await site.until_delivered()
        await running.stop()
        stamps = [event["timestamp"] for event in running.events()]
        assert stamps != sorted(stamps), "the pipeline's clock didn't jump"
    for name in clock.environment:
        del site.settings[name]

    assert len(await site.crm.calls(kind="token")) <= 2 + len(_JUMPS), "tokens were asked for again and again"
    assert len([e for e in running.events() if e["event"] == "swept"]) <= 1 + len(_JUMPS)
    await site.settle()
    await verify(site, workload.chronicle)
