"""A real PgBouncer between us and Postgres: which ways of running it will do, and what is said of the others."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from cdc.errors import PreflightError, SourceUnavailable
from cdc.routing.feeds import Profile
from cdc.source.poolers import check_sessions
from cdc.source.preflight import check_source
from tests.support.capture import SCHEMA, write_profile
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import Database

_CARRIES_REPLICATION = (1, 23)  # since then PgBouncer passes replication connections on


@pytest.fixture
def profile(database: Database, tmp_path: Path) -> Profile:
    database.execute(SCHEMA)
    return write_profile(tmp_path / "shop")


async def test_no_pooler_at_all_is_fine(database: Database) -> None:
    await check_sessions(database.dsn)


async def test_session_mode_will_do(database: Database, profile: Profile) -> None:
    with pgbouncer(database.dsn, pool_mode="session") as pooler:
        await check_sessions(pooler.dsn)
        ready = await check_source(pooler.dsn, profile, slot=database.name, wanted="auto")
        assert ready.transport == ("stream" if pooler.version >= _CARRIES_REPLICATION else "poll"), ready.why
        if ready.transport == "poll":
            with pytest.raises(SourceUnavailable, match="unsupported startup parameter: replication"):
                await check_source(pooler.dsn, profile, slot=database.name, wanted="stream")


async def test_a_pooler_that_is_told_to_ignore_what_it_does_not_know(database: Database, profile: Profile) -> None:
    with pgbouncer(database.dsn, pool_mode="session", ignore_startup_parameters="replication") as pooler:
        if pooler.version >= _CARRIES_REPLICATION:
            return  # it knows it
        assert (await check_source(pooler.dsn, profile, slot=database.name, wanted="auto")).transport == "poll"
        with pytest.raises(PreflightError, match="a pooler stands between us and Postgres"):
            await check_source(pooler.dsn, profile, slot=database.name, wanted="stream")


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("order", [0, 1], ids=["last first", "round robin"])
@pytest.mark.parametrize("size", [1, 2, 5])
async def test_transaction_mode_is_found_out_however_it_hands_sessions_round(
    database: Database, order: int, size: int, busy: bool
) -> None:
    settings: dict[str, Any] = {"pool_mode": "transaction", "server_round_robin": order, "default_pool_size": size}
    with pgbouncer(database.dsn, **settings) as pooler, ExitStack() as others:
        quiet = Database(database.name, pooler.dsn)
        for _ in range(size):  # as many sessions as there may be, and all of them free
            others.enter_context(quiet.connect(prepare_threshold=None))
        if busy:
            others.enter_context(_Crowd(quiet))
        with pytest.raises(PreflightError, match="DATABASE_URL leads to a pooler in transaction mode") as caught:
            await check_sessions(pooler.dsn)
    assert "CDC_TRANSPORT=poll" in str(caught.value)


async def test_statement_mode_is_found_out_as_well(database: Database) -> None:
    with pgbouncer(database.dsn, pool_mode="statement") as pooler, pytest.raises(PreflightError, match="transaction"):
        await check_sessions(pooler.dsn, "CDC_STATE_DSN")


@pytest.mark.parametrize("wanted", ["auto", "stream", "poll"])
async def test_transaction_mode_is_refused_for_every_transport(
    database: Database, profile: Profile, wanted: Any
) -> None:
    with (
        pgbouncer(database.dsn, pool_mode="transaction") as pooler,
        pytest.raises(PreflightError, match="transaction mode") as caught,
    ):
        await check_source(pooler.dsn, profile, slot=database.name, wanted=wanted)
    assert caught.value.exit_code == 2


async def test_sessions_that_are_handed_on_as_they_were_left_are_refused(database: Database) -> None:
    with (
        pgbouncer(database.dsn, pool_mode="session", server_reset_query="") as pooler,
        pytest.raises(PreflightError, match="a lock of a process that is gone would stay") as caught,
    ):
        await check_sessions(pooler.dsn)
    assert "server_reset_query = DISCARD ALL" in str(caught.value)


async def test_a_pool_with_room_for_one_session_only_is_named(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc.connection.CONNECT_SECONDS", 1)
    with (
        pgbouncer(database.dsn, pool_mode="session", default_pool_size=1) as pooler,
        pytest.raises(SourceUnavailable, match="gave no session within") as caught,
    ):
        await check_sessions(pooler.dsn)
    assert "raise its pool size" in str(caught.value)


async def test_a_pooler_that_lets_nobody_in_any_more_is_named(database: Database) -> None:
    with (
        pgbouncer(database.dsn, pool_mode="session", max_client_conn=1) as pooler,
        Database(database.name, pooler.dsn).connect(),
        pytest.raises(SourceUnavailable) as caught,
    ):
        await check_sessions(pooler.dsn)
    assert "no more connections allowed" in caught.value.message


async def test_a_database_that_the_pooler_cannot_reach_is_worth_another_try(database: Database) -> None:
    nowhere = make_conninfo(database.dsn, host="127.0.0.1", port=1)
    with (
        pgbouncer(nowhere, pool_mode="session", server_login_retry=1, query_wait_timeout=2) as pooler,
        pytest.raises(SourceUnavailable) as caught,
    ):
        await check_sessions(pooler.dsn)
    assert caught.value.fix


class _Crowd:
    """Somebody who asks one thing after another through the same pool."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        with self._database.connect(prepare_threshold=None) as conn:
            while not self._stop.is_set():
                conn.execute("select 1")
                time.sleep(0.0005)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
