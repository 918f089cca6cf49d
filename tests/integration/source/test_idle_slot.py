"""An idle database's slot follows the WAL that others write, so it holds back next to none. On every server at hand.

The bounds are those that matter: what is acknowledged follows within seconds, and the WAL that is kept stays below two
segments, whatever is written: other tables, another database, nothing but segment switches (archive_timeout).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.source.preflight import TransportName
from cdc.source.session import IDLE_ADVANCE_BYTES
from tests.integration.source.test_lost_slots import each_server, each_transport
from tests.support.capture import Source
from tests.support.postgres import Database, fresh_database
from tests.support.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

SEGMENT = 16 * 1024 * 1024
FILL = "insert into noise (body) select repeat('x', 1000) from generate_series(1, 1000)"


def other_tables(source: Source, _: Database) -> None:
    for _turn in range(24):
        source.database.execute(FILL)


def another_database(_: Source, other: Database) -> None:
    other.execute("create table if not exists noise (id bigint generated always as identity, body text)")
    for _turn in range(24):
        other.execute(FILL)


def segment_switches(source: Source, _: Database) -> None:
    """As archive_timeout makes them: one small record, and a segment that is left empty."""
    for _turn in range(3):
        source.database.execute("insert into noise (body) values ('')")
        source.database.execute("select pg_switch_wal()")


@each_server
@each_transport
@pytest.mark.parametrize("traffic", [other_tables, another_database, segment_switches], ids=lambda f: f.__name__)
async def test_the_slot_follows(
    tmp_path: Path, bin_dir: Path, transport: TransportName, traffic: Callable[[Source, Database], None]
) -> None:
    with (
        EmbeddedPostgres.start(bin_dir=bin_dir) as server,
        fresh_database(server.dsn) as database,
        fresh_database(server.dsn) as other,
    ):
        source = await Source.make(database, tmp_path)
        async with source.capturing(transport, poll_seconds=0.1):
            await source.drained("marker 1")
            begun = source.confirmed()
            traffic(source, other)
            [(end,)] = database.execute("select pg_current_wal_lsn()::text")
            behind = "select %s::pg_lsn - confirmed_flush_lsn from pg_replication_slots where slot_name = %s"
            await until(
                lambda: database.execute(behind, [end, source.name])[0][0] <= 2 * IDLE_ADVANCE_BYTES, 30,
                what="what is acknowledged to follow",
            )  # fmt: skip
            assert source.confirmed() - begun > SEGMENT
            # What is kept follows with the running-transactions records: some seconds after the last activity.
            kept = "select pg_current_wal_lsn() - restart_lsn from pg_replication_slots where slot_name = %s"
            await until(
                lambda: database.execute(kept, [source.name])[0][0] < 2 * SEGMENT, 150,
                what="the WAL that is kept to be given back", interval=0.5,
            )  # fmt: skip
        assert source.entries() == []
        assert source.gaps() == []
