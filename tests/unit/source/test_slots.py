"""What a row of pg_replication_slots says."""

from __future__ import annotations

from dataclasses import replace

from cdc.source.slots import SlotView, create_slot_sql

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


def test_lag_is_what_lies_between_the_acknowledged_and_the_end() -> None:
    assert SLOT.lag_bytes == 0x1000
    assert replace(SLOT, confirmed=None).lag_bytes == 0
    assert replace(SLOT, confirmed="0/3000").lag_bytes == 0


def test_a_slot_is_made_for_failover_where_it_is_wanted() -> None:
    assert create_slot_sql("s", failover=False) == "select pg_create_logical_replication_slot('s', 'pgoutput')"
    assert create_slot_sql("s", failover=True).endswith("'pgoutput', failover => true)")
