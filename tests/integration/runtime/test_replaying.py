"""`cdc replay` as a process that is killed, stopped, and started beside another one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.capture import Source
from tests.support.pipeline import ENCRYPTION_KEY, ROOT
from tests.support.postgres import Database
from tests.support.waiting import until

FIRST, SECOND = 2_000, 1_000
"""Keys in the two batches."""
REWRITTEN = 30
"""How often the first ones are written again: so often that they fill more than a batch of changes."""


class Replays:
    """Runs the command on a source whose journal holds two batches."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.start = source.database.execute("select from_lsn::text from cdc.journal_span")[0][0]

    async def run(self, *arguments: str) -> asyncio.subprocess.Process:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CDC_", "ZOHO_"))},
            "DATABASE_URL": self.source.database.dsn,
            "CDC_ENCRYPTION_KEY": ENCRYPTION_KEY,
            "CDC_PROFILE": str(self.source.profile.folder),
            "CDC_SLOT": self.source.name,
        }
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cdc", "replay", *arguments, "--json", cwd=ROOT, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def ended(self, process: asyncio.subprocess.Process) -> tuple[int, Any, str]:
        """Wait for its end: exit code, what it printed, what it said."""
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, json.loads(out) if out else None, err.decode()

    def row(self) -> tuple[int, int, str, int]:
        """Of the newest replay: cursor, last chunk, state, keys marked."""
        [found] = self.source.database.execute(
            "select cursor_chunk, to_chunk, state, marked from cdc.replay order by id desc limit 1"
        )
        return found  # type: ignore[return-value]

    def marked(self) -> int:
        return int(self.source.database.execute("select count(*) from cdc.outbox where lane = 'bulk'")[0][0])

    @asynccontextmanager
    async def blocked_at(self, key: str) -> AsyncIterator[None]:
        """Hold a key's outbox row, so that the replay stands still before it; let go at the end of the block."""
        with self.source.database.connect() as conn, conn.transaction():
            conn.execute("select from cdc.outbox where feed = 'people' and key = %s for update", [key])
            yield

    async def until_blocked(self) -> None:
        query = (
            "select 1 from pg_stat_activity where datname = current_database() and application_name = 'cdc cli'"
            " and wait_event_type = 'Lock'"
        )
        await until(lambda: self.source.database.execute(query), 60, what="the replay waits for a row")

    async def until_gone(self) -> None:
        query = "select 1 from pg_stat_activity where datname = current_database() and application_name = 'cdc cli'"
        await until(
            lambda: not self.source.database.execute(query), 60, what="the killed replay's connections are gone"
        )


@pytest.fixture
async def replays(database: Database, tmp_path: Path) -> Replays:
    source = await Source.make(database, tmp_path)
    async with source.capturing("stream"):
        database.execute("insert into people select 'a' || n from generate_series(1, %s) n", [FIRST])
        for _ in range(REWRITTEN):
            database.execute("update people set name = 'x' where id like 'a%'")
        await source.drained("z marker 1", within=60)
        database.execute("insert into people select 'b' || n from generate_series(1, %s) n", [SECOND])
        await source.drained("z marker 2", within=60)
    database.execute("delete from cdc.outbox")
    # Two keys are dirty already, one in each batch: the rows that the tests hold.
    database.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at) select 'people', k, 'bulk', now(), now()"
        " from unnest(array['a1', 'b1']) k"
    )
    return Replays(source)


async def test_killed_in_its_middle_it_goes_on_from_there(replays: Replays) -> None:
    async with replays.blocked_at("b1"):
        process = await replays.run("--from-lsn", replays.start, "--force")
        await replays.until_blocked()
        cursor, last, state, marked = replays.row()
        process.kill()
        await process.communicate()
    await replays.until_gone()
    assert (cursor < last, state) == (True, "unfinished")
    assert FIRST <= marked < FIRST + SECOND, "the first batch alone is marked"

    code, said, talk = await replays.ended(await replays.run("--resume"))

    assert code == 0, talk
    assert said["finished"]
    assert said["changes"] < FIRST * REWRITTEN / 2, "it read again what it had marked"
    assert replays.marked() == FIRST + SECOND + 2, "keys and the markers"
    assert replays.source.database.execute("select count(*) from cdc.outbox where not forced") == [(0,)]
    assert replays.row()[2] == "finished"
    code, _, talk = await replays.ended(await replays.run("--resume"))
    assert code == 2
    assert "no replay was broken off" in talk


async def test_stopped_it_ends_its_batch_and_says_how_to_go_on(replays: Replays) -> None:
    async with replays.blocked_at("a1"):
        process = await replays.run("--from-lsn", replays.start)
        await replays.until_blocked()
        other = await replays.ended(await replays.run("--resume"))
        process.send_signal(signal.SIGINT)
    code, said, _ = await replays.ended(process)

    assert (other[0], "another process is at replay" in other[2]) == (2, True)
    assert (code, said["finished"]) == (3, False)
    assert FIRST <= replays.marked() < FIRST + SECOND

    code, said, _ = await replays.ended(await replays.run("--resume"))
    assert (code, said["finished"]) == (0, True)
    assert replays.marked() == FIRST + SECOND + 2
