"""Whether a stream joins up with our position: the whole table of cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc.lsn import Lsn
from cdc.source.slots import Checkpoint, SlotView, SystemIdentity, find_gap

HERE = Lsn.parse("0/1000")
POSITION = Checkpoint("7001", 1, HERE)
SYSTEM = SystemIdentity("7001", 1)
SLOT = SlotView(
    slot_name="s",
    plugin="pgoutput",
    database="app",
    active_pid=None,
    wal_status="reserved",
    safe_wal_size=None,
    restart="0/F00",
    confirmed="0/1000",
    current="0/2000",
)
CURRENT = Lsn.parse("0/2000")


@pytest.mark.parametrize(
    ("system", "slot", "current"),
    [
        (SYSTEM, SLOT, CURRENT),
        (SYSTEM, SLOT, HERE),
        (SYSTEM, replace(SLOT, confirmed="0/FFF"), CURRENT),  # Postgres 15 after a restart: it only ever lags
        (SYSTEM, replace(SLOT, wal_status="extended"), CURRENT),
        (SYSTEM, replace(SLOT, wal_status="unreserved"), CURRENT),  # in danger, not lost
    ],
)
def test_it_joins_up(system: SystemIdentity, slot: SlotView, current: Lsn) -> None:
    assert find_gap(POSITION, system, slot, current) is None


@pytest.mark.parametrize(
    ("system", "slot", "current", "cause"),
    [
        (SystemIdentity("7002", 1), SLOT, CURRENT, "another cluster"),
        (SYSTEM, SLOT, Lsn(HERE - 1), "restored from a backup"),
        (SystemIdentity("7001", 2), None, CURRENT, "failed over"),
        (SystemIdentity("7001", 2), SLOT, CURRENT, "between the fork and our position"),  # the slot came with it
        (SYSTEM, None, CURRENT, "dropped"),
        (SYSTEM, replace(SLOT, wal_status="lost"), CURRENT, "max_slot_wal_keep_size"),
        (SYSTEM, replace(SLOT, confirmed=None), CURRENT, "invalidated"),
        (SYSTEM, replace(SLOT, confirmed="0/1001"), CURRENT, "advanced or made anew"),
    ],
)
def test_a_gap_is_named(system: SystemIdentity, slot: SlotView | None, current: Lsn, cause: str) -> None:
    found = find_gap(POSITION, system, slot, current)
    assert found is not None
    assert cause in found


def test_lag_is_what_lies_between_the_acknowledged_and_the_end() -> None:
    assert SLOT.lag_bytes == 0x1000
    assert replace(SLOT, confirmed=None).lag_bytes == 0
    assert replace(SLOT, confirmed="0/3000").lag_bytes == 0
