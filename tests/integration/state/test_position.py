"""Nobody reads the truth on another footing than the one that capture has joined up with."""

from __future__ import annotations

import pytest

from cdc.errors import SourceUnavailable
from cdc.lsn import Lsn
from cdc.state import position
from cdc.state.database import migrate
from cdc.state.lineage import Lineage, read_lineage
from tests.conftest import Connect
from tests.support.postgres import Database


async def test_the_footing_that_capture_has_joined_up_with_is_the_only_one(
    database: Database, connect: Connect
) -> None:
    await migrate(database.dsn)
    source, state = await connect(), await connect()
    await position.check_footing(source, state)  # nothing was captured yet
    here = await read_lineage(state)
    await position.begin(state, "ours", position.Footing(here, here, None), Lsn(1))
    await position.check_footing(source, state)
    elsewhere = Lineage("1", 1)
    for footing in (position.Footing(elsewhere, here, None), position.Footing(here, elsewhere, None)):
        await position.begin(state, "ours", footing, Lsn(1))
        with pytest.raises(SourceUnavailable, match="another one than capture has joined up with"):
            await position.check_footing(source, state)


async def test_a_slot_that_was_left_for_realtime_says_nothing_any_more(database: Database, connect: Connect) -> None:
    await migrate(database.dsn)
    source, state = await connect(), await connect()
    elsewhere = Lineage("1", 1)
    await position.begin(state, "ours", position.Footing(elsewhere, elsewhere, None), Lsn(1))
    ring = "insert into cdc.doorbell (pipeline, state, updated_at) values ('ours', 'live', now() + interval '1 s')"
    await state.execute(ring)
    await position.check_footing(source, state)
    await state.execute("update cdc.doorbell set updated_at = now() - interval '1 hour'")
    with pytest.raises(SourceUnavailable):
        await position.check_footing(source, state)
