"""Whether a stream joins up with our position: the whole table of cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc.lsn import Lsn
from cdc.routing.groups import Progress
from cdc.source.continuity import Server, find_gap
from cdc.source.slots import SlotView
from cdc.state.causes import GapCause
from cdc.state.lineage import Fork, Lineage
from cdc.state.position import Position
from tests.unit.source.test_slots import SLOT

HERE = Lsn.parse("0/1000")
LINE = Lineage("7001", 1)
POSITION = Position(lineage=LINE, state_lineage=LINE, publication="x", progress=Progress(HERE), swept=True)
SERVER = Server(LINE, Lsn.parse("0/2000"), "app")


def moved(*forks: tuple[int, str], timeline: int = 2) -> Server:
    """The same cluster on another timeline."""
    return replace(SERVER, lineage=Lineage("7001", timeline), history=tuple(Fork(n, Lsn.parse(at)) for n, at in forks))


@pytest.mark.parametrize(
    ("server", "slot"),
    [
        (SERVER, SLOT),
        (replace(SERVER, end=HERE), SLOT),
        (SERVER, replace(SLOT, confirmed="0/FFF")),  # Postgres 15 after a restart: it only ever lags
        (SERVER, replace(SLOT, confirmed="0/800", restart="0/700")),  # made again from a copy that stood behind us
        (SERVER, replace(SLOT, wal_status="extended")),
        (SERVER, replace(SLOT, wal_status="unreserved")),  # in danger, not lost
        (moved((1, "0/1000")), SLOT),  # failed over, and nothing that we read is missing there
        (moved((1, "0/1800")), replace(SLOT, synced=True)),
        (moved((1, "0/1100"), (2, "0/1200"), timeline=3), SLOT),  # twice since
    ],
)
def test_it_joins_up(server: Server, slot: SlotView) -> None:
    assert find_gap(POSITION, server, slot) is None


@pytest.mark.parametrize(
    ("server", "slot", "cause"),
    [
        (replace(SERVER, lineage=Lineage("7002", 1)), SLOT, GapCause.ANOTHER_CLUSTER),
        (replace(SERVER, lineage=Lineage("7002", 1), end=Lsn(HERE - 1)), None, GapCause.ANOTHER_CLUSTER),
        (replace(SERVER, end=Lsn(HERE - 1)), SLOT, GapCause.SERVER_BEHIND),
        (replace(moved((1, "0/1800")), end=Lsn(HERE - 1)), SLOT, GapCause.SERVER_BEHIND),
        (moved((1, "0/FFF")), SLOT, GapCause.FORKED_BEFORE),
        (moved((1, "0/800"), (2, "0/1800"), timeline=3), SLOT, GapCause.FORKED_BEFORE),
        (moved((3, "0/1800"), timeline=4), SLOT, GapCause.FORKED_BEFORE),  # never was on our timeline
        (moved(timeline=1 + 1), None, GapCause.FORKED_BEFORE),
        (replace(moved(), history=None), SLOT, GapCause.HISTORY_UNKNOWN),
        (moved((1, "0/1800")), None, GapCause.FAILED_OVER),
        (moved((1, "0/1800")), replace(SLOT, confirmed="0/1001"), GapCause.SLOT_ADVANCED),
        (SERVER, None, GapCause.SLOT_DROPPED),
        (SERVER, replace(SLOT, plugin="test_decoding"), GapCause.SLOT_TAKEN),
        (SERVER, replace(SLOT, database="other"), GapCause.SLOT_TAKEN),
        (SERVER, replace(SLOT, wal_status="lost"), GapCause.WAL_REMOVED),
        (SERVER, replace(SLOT, wal_status="lost", invalidation="wal_removed"), GapCause.WAL_REMOVED),
        (SERVER, replace(SLOT, wal_status="lost", invalidation="idle_timeout"), GapCause.IDLE_TIMEOUT),
        (SERVER, replace(SLOT, wal_status="lost", invalidation="rows_removed"), GapCause.SLOT_INVALIDATED),
        (SERVER, replace(SLOT, confirmed=None), GapCause.WAL_REMOVED),
        (SERVER, replace(SLOT, confirmed="0/1001", restart="0/FFF"), GapCause.SLOT_ADVANCED),
        (SERVER, replace(SLOT, confirmed="0/1001", restart="0/1000"), GapCause.SLOT_RECREATED),
    ],
)
def test_a_gap_is_named(server: Server, slot: SlotView | None, cause: GapCause) -> None:
    assert find_gap(POSITION, server, slot) is cause


def test_a_transaction_that_is_read_in_part_counts_as_read() -> None:
    position = replace(POSITION, progress=Progress(HERE, Lsn.parse("0/1500"), 10))
    assert find_gap(position, moved((1, "0/1400")), SLOT) is GapCause.FORKED_BEFORE
    assert find_gap(position, replace(SERVER, end=Lsn.parse("0/1400")), SLOT) is GapCause.SERVER_BEHIND
    assert find_gap(position, moved((1, "0/1500")), SLOT) is None


def test_what_may_be_the_wrong_database_is_for_a_person_to_decide() -> None:
    assert {cause for cause in GapCause if not cause.is_automatic} == {
        GapCause.SLOT_TAKEN,
        GapCause.ANOTHER_CLUSTER,
        GapCause.SERVER_BEHIND,
        GapCause.FORKED_BEFORE,
        GapCause.HISTORY_UNKNOWN,
    }
