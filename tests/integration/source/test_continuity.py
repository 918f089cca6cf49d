"""A stream that doesn't join up with our position is never stepped over in silence."""

from __future__ import annotations

import pytest
from psycopg.errors import ObjectInUse

from cdc.lsn import Lsn
from cdc.source.preflight import TransportName
from cdc.state.causes import GapCause
from tests.support.capture import Source
from tests.support.waiting import until

DROP = "select pg_drop_replication_slot(%(slot)s)"
MAKE = "select pg_create_logical_replication_slot(%(slot)s, 'pgoutput')"
ADVANCE = "select pg_replication_slot_advance(%(slot)s, pg_current_wal_flush_lsn())"
HELD = "select scope, reason, detail from cdc.control"
LATER = "update cdc.position set lsn = pg_current_wal_insert_lsn() + 1000000000"


async def captured_once(source: Source, transport: TransportName) -> None:
    async with source.capturing(transport):
        await source.drained("marker 1")


@pytest.mark.parametrize(
    ("misdeeds", "cause"),
    [
        ([DROP], GapCause.SLOT_DROPPED),
        ([DROP, MAKE], GapCause.SLOT_RECREATED),
        ([ADVANCE], GapCause.SLOT_ADVANCED),
    ],
)
async def test_a_gap_is_recorded_and_a_sweep_is_due(
    source: Source, transport: TransportName, misdeeds: list[str], cause: GapCause
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
    assert source.gaps() == [cause.name]
    ((from_lsn, to_lsn, repaired_at),) = source.database.execute(
        "select from_lsn::text, to_lsn::text, repaired_at from cdc.gap"
    )
    assert Lsn.parse(from_lsn) == claimed >= before
    assert Lsn.parse(to_lsn) > before
    assert repaired_at is None
    assert source.database.execute("select swept_at from cdc.position") == [(None,)]
    assert ("I", "people", ("unread",)) not in source.entries()


@pytest.mark.parametrize(
    ("misdeeds", "cause"),
    [
        (["update cdc.position set system_id = '7'"], GapCause.ANOTHER_CLUSTER),
        ([LATER], GapCause.SERVER_BEHIND),
        ([DROP, "update cdc.position set timeline = 99"], GapCause.FORKED_BEFORE),
        ([DROP, "select pg_create_logical_replication_slot(%(slot)s, 'test_decoding')"], GapCause.SLOT_TAKEN),
    ],
)
async def test_what_may_be_the_wrong_database_waits_for_a_person(
    source: Source, transport: TransportName, misdeeds: list[str], cause: GapCause
) -> None:
    await captured_once(source, transport)
    source.database.execute("insert into people values ('unread', '')")
    for misdeed in misdeeds:
        source.database.execute(misdeed.replace("%(slot)s", f"'{source.name}'"))
    slot = "select slot_name, plugin, restart_lsn, confirmed_flush_lsn from pg_replication_slots where slot_name = %s"
    before = source.database.execute(slot, [source.name])

    async with source.capturing(transport) as capture:
        await until(lambda: capture.stats.state == "blocked", what="capture to wait for a person")
        assert source.gaps() == [cause.name]
        assert source.database.execute("select needs_decision, to_lsn, repaired_at from cdc.gap") == [
            (True, None, None)
        ]
        assert source.database.execute(HELD) == [("*", "GAP_UNDECIDED", cause.name)]
        assert source.database.execute(slot, [source.name]) == before, "nothing was touched"

        source.database.execute("update cdc.gap set decided_at = now()")
        await until(lambda: capture.stats.state == "capturing", what="capture to go on")
        await source.drained("marker 2")
        assert capture.sweep_due.is_set()
    assert source.gaps() == [cause.name]
    assert source.database.execute("select to_lsn is not null, repaired_at from cdc.gap") == [(True, None)]
    assert source.database.execute(HELD) == []


async def test_a_decision_is_for_one_server_and_goes_with_it(source: Source, transport: TransportName) -> None:
    await captured_once(source, transport)
    source.database.execute("update cdc.position set system_id = '7'")
    async with source.capturing(transport) as capture:
        await until(lambda: capture.stats.state == "blocked", what="capture to wait for a person")
    # Decided, but then another server is found: that decision was about something else.
    source.database.execute("update cdc.gap set decided_at = now(), timeline = 99")
    async with source.capturing(transport) as capture:
        await until(lambda: capture.stats.state == "blocked", what="capture to wait again")
        assert source.database.execute("select decided_at is null from cdc.gap where repaired_at is null") == [(True,)]
        # The right one is back: nothing is left to decide, and nothing was lost.
        identity = source.database.execute("select system_identifier::text from pg_control_system()")[0][0]
        source.database.execute("update cdc.position set system_id = %s", [identity])
        await until(lambda: capture.stats.state == "capturing", what="capture to go on")
    assert source.database.execute("select count(*) from cdc.gap where repaired_at is null") == [(0,)]
    assert source.database.execute(HELD) == []


async def test_a_slot_made_again_from_a_copy_that_stood_behind_us_has_lost_nothing(
    source: Source, transport: TransportName
) -> None:
    source.database.execute("select pg_copy_logical_replication_slot(%s, %s)", [source.name, f"{source.name}_copy"])
    await captured_once(source, transport)
    source.database.execute("insert into people values ('unread', '')")
    source.database.execute(DROP.replace("%(slot)s", f"'{source.name}'"))
    source.database.execute("select pg_copy_logical_replication_slot(%s, %s)", [f"{source.name}_copy", source.name])
    async with source.capturing(transport):
        await source.drained("marker 2")
    assert source.gaps() == []
    assert source.entries() == [("I", "people", ("unread",))]


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
    assert source.gaps() == ["SLOT_DROPPED"]


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
