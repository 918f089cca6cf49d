"""Whether capture moves, as the watchdog asks."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from cdc.source.preflight import TransportName
from tests.support.capture import TRANSPORTS, Source
from tests.support.postgres import Database
from tests.support.waiting import until

STILL_SECONDS = 1.5


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> TransportName:
    return cast(TransportName, request.param)


async def test_capture_that_can_store_nothing_stands_still_and_one_that_has_nothing_to_do_does_not(
    database: Database, tmp_path: Path, transport: TransportName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc.source.stream_session.STATUS_SECONDS", 0.2)  # how long a turn with nothing to do lasts
    source = await Source.make(database, tmp_path)
    async with source.capturing(transport) as capture:
        await source.drained("marker 1")
        turns = set[float]()

        def has_turned_often() -> bool:
            assert capture._current is not None
            assert capture.still_seconds < STILL_SECONDS
            turns.add(capture._current.turned_at)
            return len(turns) > 5

        await until(has_turned_often, 20, what="turns with nothing to do")
        with source.database.connect() as other:
            other.execute("begin")
            other.execute("lock table cdc.outbox")
            source.database.execute("insert into people (id) values ('ada')")
            await until(lambda: capture.still_seconds > STILL_SECONDS, 20, what="it is noticed that nothing is stored")
            other.execute("rollback")
        await until(lambda: capture.still_seconds < STILL_SECONDS, 20, what="it goes on")
    assert capture.still_seconds == 0.0, "what has ended doesn't hang"
