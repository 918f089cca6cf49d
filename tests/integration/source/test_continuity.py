"""A stream that doesn't join up with our position is never stepped over in silence."""

from __future__ import annotations

import pytest
from psycopg.errors import ObjectInUse

from cdc.lsn import Lsn
from cdc.source.preflight import TransportName
from tests.support.capture import Source
from tests.support.waiting import until

DROP = "select pg_drop_replication_slot(%(slot)s)"
MAKE = "select pg_create_logical_replication_slot(%(slot)s, 'pgoutput')"
ADVANCE = "select pg_replication_slot_advance(%(slot)s, pg_current_wal_flush_lsn())"
LATER = "update cdc.position set lsn = pg_current_wal_insert_lsn() + 1000000000"


async def captured_once(source: Source, transport: TransportName) -> None:
    async with source.capturing(transport):
        await source.drained("marker 1")


@pytest.mark.parametrize(
    ("misdeeds", "cause"),
    [
        ([DROP], "the slot was dropped"),
        ([DROP, MAKE], "the slot was advanced or made anew by somebody else"),
        (
            [DROP, "select pg_create_logical_replication_slot(%(slot)s, 'test_decoding')"],
            "the slot was advanced or made anew by somebody else",
        ),
        ([ADVANCE], "the slot was advanced or made anew by somebody else"),
        (
            ["update cdc.position set system_id = '7'"],
            "the database is another cluster than before (upgraded, moved or restored)",
        ),
        ([LATER], "the database is older than our position (restored from a backup)"),
        ([DROP, "update cdc.position set timeline = 99"], "the database failed over to a server without our slot"),
    ],
)
async def test_a_gap_is_recorded_and_a_sweep_is_due(
    source: Source, transport: TransportName, misdeeds: list[str], cause: str
) -> None:
    await captured_once(source, transport)
    before = source.position()
    source.database.execute("update cdc.position set swept_at = now()")
    source.database.execute("insert into people values ('unread', '')")
    for misdeed in misdeeds:
        source.database.execute(misdeed.replace("%(slot)s", f"'{source.name}'"))
    claimed = source.position()
    async with source.capturing(transport) as capture:
        await source.drained("marker 2")
        assert capture.sweep_due.is_set()
        assert source.database.execute("select plugin from pg_replication_slots where slot_name = %s", [source.name])
    assert source.gaps() == [cause]
    ((from_lsn, to_lsn, repaired_at),) = source.database.execute(
        "select from_lsn::text, to_lsn::text, repaired_at from cdc.gap"
    )
    assert Lsn.parse(from_lsn) == claimed >= before
    assert Lsn.parse(to_lsn) > before
    assert repaired_at is None
    assert source.database.execute("select swept_at from cdc.position") == [(None,)]
    assert ("I", "people", ("unread",)) not in source.entries()


async def test_a_slot_dropped_under_a_running_capture_is_a_gap_too(source: Source, transport: TransportName) -> None:
    async with source.capturing(transport) as capture:
        await source.drained("marker 1")
        source.database.execute("update cdc.position set swept_at = now()")
        capture.sweep_due.clear()
        with source.database.connect() as somebody:

            def dropped() -> bool:
                source.end_backends("stream")
                try:
                    somebody.execute(DROP, {"slot": source.name})
                except ObjectInUse:  # the walsender is still ending, or a peek has it
                    return False
                return True

            await until(dropped, what="a moment in which nobody has the slot")
        await until(source.gaps, what="the gap on record")
        await source.drained("marker 2")
        assert capture.sweep_due.is_set()
    assert source.gaps() == ["the slot was dropped"]


async def test_without_a_fault_there_is_no_gap(source: Source, transport: TransportName) -> None:
    for number in range(3):
        async with source.capturing(transport):
            await source.drained(f"marker {number}")
            source.database.execute("insert into people values (%s, '')", [f"p{number}"])
    async with source.capturing(transport):
        await source.drained("marker 9")
    assert source.gaps() == []
    assert source.entries() == [("I", "people", (f"p{number}",)) for number in range(3)]


async def test_the_first_start_owes_a_sweep_until_one_was_made(source: Source, transport: TransportName) -> None:
    async with source.capturing(transport) as capture:
        assert capture.sweep_due.is_set()
    async with source.capturing(transport) as capture:
        assert capture.sweep_due.is_set()
    source.database.execute("update cdc.position set swept_at = now()")
    async with source.capturing(transport) as capture:
        assert not capture.sweep_due.is_set()
