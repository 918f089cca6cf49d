"""The database behind the address becomes another one: promoted, restored, rebuilt. All on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.state.database import migrate
from cdc.state.lineage import LINEAGE_SQL
from tests.support.capture import Source
from tests.support.postgres import Database, fresh_database
from tests.support.standby import Copy, primary
from tests.support.waiting import until


@asynccontextmanager
async def captured(server: EmbeddedPostgres, folder: Path, state: Database) -> AsyncIterator[Source]:
    """A source with its state elsewhere, of which one change was captured."""
    with fresh_database(server.dsn) as database:
        source = await Source.make(database, folder)
        await migrate(state.dsn)
        source.database.execute("drop schema cdc cascade; create schema cdc")
        async with source.capturing("stream", state_dsn=state.dsn):
            await drained(source, state, "marker 1")
        state.execute("update cdc.position set swept_at = now()")
        yield source


async def drained(source: Source, state: Database, marker: str) -> None:
    source.database.execute("insert into people (id) values (%s)", [marker])
    query = "select 1 from cdc.outbox where feed = 'people' and key = %s"
    await until(lambda: state.execute(query, [marker]), 30, what=f"{marker} in the outbox")


def gaps(state: Database) -> list[str]:
    return [cause for (cause,) in state.execute("select cause from cdc.gap order by id")]


def elsewhere(source: Source, copy: Copy) -> Source:
    """The same application on the copy."""
    return replace(source, database=copy.database(source.database))


@pytest.fixture
async def state(database: Database) -> Database:
    return database


async def test_a_promoted_standby_without_our_slot_is_a_gap(tmp_path: Path, state: Database) -> None:
    with primary() as server:
        async with captured(server, tmp_path, state) as source:
            with Copy.standby(server) as copy:
                await copy.caught_up(server)
                source.database.execute("insert into people values ('unread', '')")
                await copy.caught_up(server)
                server.halt(immediate=True)
                copy.promote()
                promoted = elsewhere(source, copy)
                async with promoted.capturing("stream", state_dsn=state.dsn) as capture:
                    await drained(promoted, state, "marker 2")
                    assert capture.sweep_due.is_set()
                assert gaps(state) == ["FAILED_OVER"]
                assert state.execute("select timeline, ledger_doubtful from cdc.gap") == [(2, False)]
                server.resume()


async def test_a_promoted_standby_that_kept_our_slot_goes_on_without_a_gap(tmp_path: Path, state: Database) -> None:
    with primary() as server, fresh_database(server.dsn) as database:
        source = await Source.make(database, tmp_path, failover=True)
        await migrate(state.dsn)
        source.database.execute("drop schema cdc cascade; create schema cdc")
        with Copy.standby(server, syncs_slots=True) as copy:
            async with source.capturing("stream", state_dsn=state.dsn):
                await drained(source, state, "marker 1")
            state.execute("update cdc.position set swept_at = now()")
            source.database.execute("insert into people values ('carried over', '')")
            await copy.has_slot(source.name)
            await copy.caught_up(server)
            server.halt(immediate=True)
            copy.promote()
            promoted = elsewhere(source, copy)
            async with promoted.capturing("stream", state_dsn=state.dsn) as capture:
                await drained(promoted, state, "marker 2")
                assert not capture.sweep_due.is_set()
            assert gaps(state) == []
            assert state.execute("select timeline, swept_at is not null from cdc.position") == [(2, True)]
            journaled = replace(promoted, database=state).entries()
            assert journaled == [("I", "people", ("carried over",))]
            server.resume()


async def test_a_standby_promoted_behind_our_position_waits_for_a_person(tmp_path: Path, state: Database) -> None:
    with primary() as server:
        async with captured(server, tmp_path, state) as source:
            with Copy.standby(server) as copy:
                await copy.caught_up(server)
                copy.server.halt()  # it falls behind
                async with source.capturing("stream", state_dsn=state.dsn):
                    await drained(source, state, "marker 2")
                server.halt(immediate=True)
                copy.server.resume()
                copy.promote()
                behind = elsewhere(source, copy)
                # Its WAL ends beyond our position all the same: only the fork tells.
                behind.database.execute(
                    "insert into noise (body) select repeat('x', 1000) from generate_series(1, 20000)"
                )
                async with behind.capturing("stream", state_dsn=state.dsn) as capture:
                    await until(lambda: capture.stats.state == "blocked", 20, what="capture to wait for a person")
                assert gaps(state) == ["FORKED_BEFORE"]
                server.resume()


async def test_a_restored_backup_waits_for_a_person(tmp_path: Path, state: Database) -> None:
    with primary() as server:
        async with captured(server, tmp_path, state) as source:
            with Copy.backup(server) as copy:
                async with source.capturing("stream", state_dsn=state.dsn):
                    source.database.execute(
                        "insert into noise (body) select repeat('x', 1000) from generate_series(1, 20000)"
                    )
                    await drained(source, state, "marker 2")
                restored = elsewhere(source, copy)
                async with restored.capturing("stream", state_dsn=state.dsn) as capture:
                    await until(lambda: capture.stats.state == "blocked", 20, what="capture to wait for a person")
                    assert gaps(state) == ["SERVER_BEHIND"]
                    assert restored.database.execute("select count(*) from pg_replication_slots") == [(0,)]
                    state.execute("update cdc.gap set decided_at = now()")
                    await until(lambda: capture.stats.state == "capturing", 20, what="capture to go on")
                    await drained(restored, state, "marker 3")
                assert state.execute("select ledger_doubtful from cdc.gap") == [(False,)]


async def test_a_new_cluster_with_the_same_data_waits_for_a_person(tmp_path: Path, state: Database) -> None:
    with primary() as server, primary() as other:
        async with captured(server, tmp_path, state) as source:
            with fresh_database(other.dsn) as database:
                moved = await Source.make(database, tmp_path)
                moved = replace(moved, name=source.name)
                await moved.set_up()
                async with moved.capturing("stream", state_dsn=state.dsn) as capture:
                    await until(lambda: capture.stats.state == "blocked", 20, what="capture to wait for a person")
                    state.execute("update cdc.gap set decided_at = now()")
                    await until(lambda: capture.stats.state == "capturing", 20, what="capture to go on")
                    await drained(moved, state, "marker 2")
                assert gaps(state) == ["ANOTHER_CLUSTER"]


async def test_a_standby_is_waited_for_until_it_is_promoted(tmp_path: Path, state: Database) -> None:
    with primary() as server:
        async with captured(server, tmp_path, state) as source:
            with Copy.standby(server) as copy:
                await copy.caught_up(server)
                standby = elsewhere(source, copy)
                async with standby.capturing("stream", state_dsn=state.dsn) as capture:
                    await until(lambda: capture.stats.state == "reconnecting", 20, what="capture to wait")
                    server.halt(immediate=True)
                    copy.promote()
                    await until(lambda: capture.stats.state == "capturing", 40, what="capture to go on")
                    await drained(standby, state, "marker 2")
                server.resume()


async def test_a_state_that_was_restored_with_the_database_leaves_the_ledger_in_doubt(tmp_path: Path) -> None:
    """Position and ledger are as old as the database then; only the timeline tells."""
    with primary() as server, fresh_database(server.dsn) as database:
        source = await Source.make(database, tmp_path)
        async with source.capturing("stream"):
            await source.drained("marker 1")
        database.execute("update cdc.position set swept_at = now()")
        with Copy.stopped_in_time(server) as copy:
            async with source.capturing("stream"):
                await source.drained("marker 2")  # after the moment to which it is restored
            server.halt(immediate=True)
            copy.promote()
            restored = elsewhere(source, copy)
            async with restored.capturing("stream") as capture:
                await restored.drained("marker 3")
                assert capture.sweep_due.is_set()
            assert restored.gaps() == ["FAILED_OVER"]
            assert restored.database.execute("select ledger_doubtful from cdc.gap") == [(True,)]
            assert restored.database.execute("select scope, reason from cdc.control") == [("*", "LEDGER_DOUBTFUL")]
            server.resume()


def test_a_timeline_is_known_from_the_moment_of_the_promotion() -> None:
    """pg_control names it only after a checkpoint."""
    with primary({"checkpoint_timeout": "1h"}) as server, Copy.standby(server) as copy:
        copy.promote()
        with psycopg.connect(copy.server.dsn, autocommit=True) as conn:
            assert conn.execute(LINEAGE_SQL).fetchall()[0][1] == 2
