"""The state database takes no writes, is full, or holds damaged bytes: nothing is acknowledged, nothing is lost."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from cdc.errors import DecodeError
from cdc.source.preflight import TransportName
from tests.chaos.conftest import MakeSite
from tests.support.capture import TRANSPORTS, Source
from tests.support.oracle import verify
from tests.support.postgres import Database
from tests.support.waiting import until
from tests.support.workload import Workload

pytestmark = pytest.mark.chaos

# What the server answers when its disk is full; whoever sent the statement sees no difference.
_FULL = """
create function cdc.no_space() returns trigger language plpgsql as $$
begin raise exception 'could not extend file: No space left on device' using errcode = 'disk_full'; end $$;
create trigger full_disk before insert on cdc.journal for each statement execute function cdc.no_space();
"""
_FREED = "drop trigger full_disk on cdc.journal; drop function cdc.no_space()"


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


async def _read_only(source: Source, on: bool) -> None:
    with source.database.connect(options="-c default_transaction_read_only=off") as person:
        person.execute(f"alter database {source.name} set default_transaction_read_only = {on}")
    source.end_backends("capture")  # sessions that are open keep what they began with


async def _full(source: Source, on: bool) -> None:
    source.database.execute(_FULL if on else _FREED)


@pytest.mark.parametrize("trouble", [_read_only, _full], ids=["read-only", "full"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_state_that_takes_no_writes_is_waited_for(
    source: Source, transport: TransportName, trouble: object
) -> None:
    assert callable(trouble)
    app = source.database.connect(options="-c default_transaction_read_only=off")
    with app:
        async with source.capturing(transport) as capture:
            await source.drained("marker 1")
            await until(lambda: source.confirmed() >= source.position(), 20, what="the slot to be acknowledged")
            await trouble(source, True)
            durable = source.position()
            for number in range(20):
                app.execute("insert into items values (%s, 'ada')", [number])
            await until(lambda: capture.stats.state == "reconnecting", 20, what="capture to be refused")
            assert source.position() == durable
            assert source.confirmed() <= durable, "the slot was told of what isn't stored"
            await trouble(source, False)
            await source.drained("marker 2", within=60)
    assert source.entries() == [("I", "items", ("ada", str(n))) for n in range(20)]
    assert source.gaps() == []


async def test_a_damaged_chunk_of_the_journal_is_noticed(source: Source) -> None:
    async with source.capturing("stream"):
        source.database.execute("insert into items select n, 'ada' from generate_series(1, 500) n")
        await source.drained("marker")
    [(chunk, size)] = source.database.execute("select id, length(body) from cdc.journal order by changes desc limit 1")
    whole, places, noticed = source.entries(), range(0, size, max(1, size // 40)), 0
    assert len(whole) == 500
    for place in places:
        flip = "update cdc.journal set body = set_byte(body, %s, get_byte(body, %s) # 16) where id = %s"
        source.database.execute(flip, [place, place, chunk])
        found = None
        with contextlib.suppress(DecodeError):
            found = source.entries()
        noticed += found is None
        assert found in (None, whole), "a bit that the format leaves unused, one of a frame's header"
        source.database.execute(flip, [place, place, chunk])
    assert noticed >= len(places) - 1
    assert source.entries() == whole


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_pipeline_whose_database_is_read_only_for_a_while(make_site: MakeSite, seed: int) -> None:
    """As Supabase does it to a project whose disk is full."""
    site = await make_site()
    workload = Workload(site.database, seed)
    running = await site.start("run")
    await running.until_said("delivery_started")
    await workload.run(30)
    name = site.database.name

    site.database.execute(f"alter database {name} set default_transaction_read_only = on")
    ours = (
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and application_name like 'cdc %%'"
    )
    site.database.execute(ours, [name])
    await running.until_said("capture_interrupted")
    with site.database.connect(options="-c default_transaction_read_only=off") as person:
        person.execute(f"alter database {name} reset default_transaction_read_only")
    site.database.execute(ours, [name])

    afterwards = Workload(site.database, seed + 1)
    afterwards.chronicle = workload.chronicle
    await afterwards.run(30)
    await site.until_captured(within=60)
    await site.until_delivered(within=90)
    await running.stop()
    await verify(site, workload.chronicle)
