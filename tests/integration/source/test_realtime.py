"""Realtime as a doorbell: what rings, and that nothing is lost when it doesn't. The client is Supabase's own."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from cdc.connection import connect
from cdc.errors import ConfigError
from cdc.source.realtime_bell import Bell
from cdc.source.realtime_key import RealtimeKey
from cdc.state.doorbell import refuse_without_journal
from tests.support.doorbell import WITHIN, House
from tests.support.phoenix import KEY, Faults, Phoenix
from tests.support.postgres import Database
from tests.support.waiting import until

# The client asks websockets for what has another name there by now; as an error that would end its listener.
pytestmark = pytest.mark.filterwarnings("ignore:ConnectionClosed.* is deprecated:DeprecationWarning")


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(database, tmp_path) as made:
        yield made


async def test_a_change_rings_and_reaches_the_outbox_in_its_lane(house: House) -> None:
    async with house.ringing() as boy:
        await boy.until_heard()
        house.database.execute("insert into visits (id, owner, at) values (1, 'somebody', 3)")
        assert await boy.until_dirty("somebody") == "rollup"
        await until(lambda: boy.state()["heard_at"], what="the canary")
        assert boy.state()["state"] == "live"
        assert boy.realtime.lost == []


async def test_a_replay_is_refused_since_a_bell_has_no_lsn(house: House) -> None:
    pipeline = house.database.name
    async with house.ringing() as boy:
        await boy.until_heard()
    assert house.database.execute("select count(*) from cdc.journal") == [(0,)]
    conn = await connect(house.database.dsn, purpose="test")
    async with conn:
        with pytest.raises(ConfigError, match="no journal to replay from"):
            await refuse_without_journal(conn, pipeline)
        await conn.execute(  # a slot is read again since
            "insert into cdc.position (slot, system_id, timeline, lsn) values (%s, '1', 1, '0/1')", [pipeline]
        )
        await refuse_without_journal(conn, pipeline)
        await refuse_without_journal(conn, "another")


async def test_both_owners_of_a_row_that_moved_and_of_one_that_is_gone_are_dirty(house: House) -> None:
    house.database.execute("insert into items (id, owner) values (1, 'old'), (2, 'leaver')")
    house.database.execute("insert into visits (id, owner) values (1, 'before')")
    async with house.ringing() as boy:
        await boy.until_heard()
        house.database.execute("update items set owner = 'new' where id = 1")
        house.database.execute("update visits set owner = 'after' where id = 1")
        house.database.execute("delete from items where id = 2")
        lanes = [await boy.until_dirty(key) for key in ("old", "new", "before", "after", "leaver")]
    assert lanes == ["rollup"] * 5


async def test_what_was_written_while_nobody_listened_is_found_by_the_sweep_at_the_join(house: House) -> None:
    house.database.execute("insert into people (id) values ('early')")
    async with house.ringing() as boy:
        assert await boy.until_dirty("early") == "bulk"


async def test_a_truncate_that_is_never_sent_is_found_by_the_timer(house: House) -> None:
    house.database.execute("insert into people (id) values ('p')")
    house.database.execute("insert into cdc.ledger (feed, record_id, key, state) values ('items', '9', '9', 'sent')")
    profile = house.profile.feeds["items"].model_copy(update={"gone": "delete"})
    house.profile = house.profile.model_copy(update={"feeds": {**house.profile.feeds, "items": profile}})
    house.database.execute("insert into items (id) values (9)")
    async with house.ringing(every_seconds=0.3) as boy:
        await boy.until_heard()
        house.database.execute("delete from cdc.outbox where feed = 'items'; truncate items")
        assert await boy.until_dirty("9", "items") == "bulk"


Fault = Callable[[Phoenix], Awaitable[None]]


async def _set(phoenix: Phoenix, **changes: object) -> None:
    for name, value in changes.items():
        setattr(phoenix.faults, name, value)


_FAULTS: dict[str, tuple[Fault, str | None]] = {
    # name: (what happens, why the connection is given up; None if it is kept)
    "1000": (lambda p: p.restart(1000), "channel_error"),
    "1012": (lambda p: p.restart(1012), "channel_error"),
    "abort": (lambda p: p.restart(0), "channel_error"),
    "phx_close": (lambda p: p.close_channels(), "closed"),
    "system error": (lambda p: p.system_error("Token has expired"), "channel_error"),
    "half-open": (lambda p: _set(p, silent=True), "deaf"),
    "slot lost": (lambda p: p.lose_slot(), "deaf"),
    "frame too large": (lambda p: _set(p, oversize=1), "channel_error"),
    "ready again": (lambda p: p.ready_again(), None),
    "401 event": (lambda p: p.error_event("Error 401: Unauthorized"), None),
    "not JSON": (lambda p: p.send_text("<html>"), None),
}


@pytest.mark.parametrize("name", _FAULTS)
async def test_after_each_fault_what_was_missed_is_found_and_the_bell_rings_again(house: House, name: str) -> None:
    fault, cause = _FAULTS[name]
    async with house.ringing() as boy:
        await boy.until_heard()
        await boy.until_swept()
        sweeps = boy.sweeper.sweeps

        house.phoenix.faults.drop = 1.0  # so that nothing but a sweep can find the next one
        missed = boy.write()
        await until(lambda: house.phoenix.counts["dropped people"], what="the change to be dropped")
        house.phoenix.faults.drop = 0.0
        await fault(house.phoenix)

        if cause is not None:
            await boy.until_lost(cause)
        house.phoenix.faults.silent = False
        assert await boy.until_dirty(missed) == "bulk"
        await boy.until_heard()
        await until(lambda: boy.sweeper.sweeps > sweeps, WITHIN, what="the sweep to end")
        if cause is None:  # deaf it may have been, on a busy machine: its canaries were dropped as well
            assert set(boy.realtime.lost) <= {"deaf"}


@pytest.mark.parametrize(
    ("answer", "cause"),
    [("error", "channel_error"), ("zero_ids", "deaf"), ("no_changes", "deaf"), ("mismatch", "channel_error")],
)
async def test_a_join_that_leads_to_nothing_is_tried_again(house: House, answer: str, cause: str) -> None:
    house.phoenix.faults.join = answer
    async with house.ringing() as boy:
        await boy.until_lost(cause)
        house.phoenix.faults.join = "ok"
        await boy.until_heard()


async def test_a_join_without_an_answer_is_given_up_and_holds_up_no_stop(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc.source.realtime_session._JOIN_SECONDS", 1)
    house.phoenix.faults.join = "silence"
    async with house.ringing() as boy:
        await boy.until_lost("timed_out")
        monkeypatch.setattr("cdc.source.realtime_session._JOIN_SECONDS", 3_600)
        joins = house.phoenix.counts["joins"]
        await until(lambda: house.phoenix.counts["joins"] > joins, WITHIN, what="the next join")


async def test_subscribed_is_not_taken_for_receiving(house: House) -> None:
    house.phoenix.faults.withhold_ready = True
    async with house.ringing() as boy:
        await boy.until_lost("not_ready")
        assert house.phoenix.counts["joins"] >= 1
        assert boy.state()["joined_at"] is None
        house.phoenix.faults.withhold_ready = False
        await boy.until_heard()


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_refused_handshake_is_tried_for_ever_and_sweeps_go_on(house: House, status: int) -> None:
    house.phoenix.faults.refuse = status
    async with house.ringing(every_seconds=0.2) as boy:
        await until(lambda: boy.realtime.lost.count("refused") > 1, WITHIN, what="two refusals")
        assert await boy.until_dirty(boy.write()) == "bulk"
        house.phoenix.faults.refuse = None
        await boy.until_heard()


async def test_more_refusals_than_the_client_itself_would_bear(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc.source.realtime._BACKOFF", wait_fixed(0.1))
    async with house.ringing() as boy:
        await boy.until_heard()
        house.phoenix.faults.refuse = 503
        await house.phoenix.restart()
        await until(lambda: boy.realtime.lost.count("refused") > 5, WITHIN, what="six refusals")
        house.phoenix.faults.refuse = None
        await boy.until_heard()


async def test_a_callback_that_meets_what_it_cannot_read_goes_on_hearing(house: House) -> None:
    async with house.ringing() as boy:
        await boy.until_heard()
        await boy.until_swept()
        sweeps = boy.sweeper.sweeps
        for kind, record in (("UPSERT", {"id": "x"}), ("INSERT", {"id": 1.5}), ("INSERT", None)):
            await house.phoenix.send_event(
                {"schema": "public", "table": "people", "type": kind, "commit_timestamp": "now", "columns": [],
                 "errors": None, "record": record}
            )  # fmt: skip
        await until(lambda: boy.sweeper.sweeps > sweeps, WITHIN, what="the sweep that this asks for")
        await boy.until_heard()
        assert boy.realtime.lost == []


async def test_a_listener_that_died_in_silence_is_noticed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    bugs = [RuntimeError("a bug in a callback")]

    def take(bell: Bell, payload: Mapping[str, Any]) -> None:
        if bugs and payload["data"]["table"] == "people":
            raise bugs.pop()
        on_change(bell, payload)

    on_change = Bell.on_change
    monkeypatch.setattr(Bell, "on_change", take)
    async with house.ringing(canary_seconds=60) as boy:
        await until(lambda: boy.realtime.stats.state == "capturing", what="the join")
        missed = boy.write()
        await boy.until_lost("listener_dead")
        assert await boy.until_dirty(missed) == "bulk"
        await boy.until_heard()


async def test_a_row_beyond_the_limit_rings_for_what_is_left_of_it_and_asks_for_a_sweep(house: House) -> None:
    async with house.ringing() as boy:
        await boy.until_heard()
        await boy.until_swept()
        sweeps = boy.sweeper.sweeps
        house.phoenix.faults.too_large = 1
        assert await boy.until_dirty(boy.write()) in {"live", "bulk"}
        await until(lambda: boy.sweeper.sweeps > sweeps, WITHIN, what="the sweep")
        assert boy.realtime.lost == []


async def test_with_row_level_security_what_is_not_sent_is_found(house: House) -> None:
    house.phoenix.faults = Faults(secured=frozenset({"people", "items"}))
    house.database.execute("insert into items (id, owner) values (1, 'owner')")
    async with house.ringing() as boy:
        await boy.until_heard()
        await boy.until_swept()
        sweeps = boy.sweeper.sweeps
        house.database.execute("delete from items where id = 1")  # says its key, and not whose it was
        await until(lambda: boy.sweeper.sweeps > sweeps, WITHIN, what="the sweep for a delete without an owner")


async def test_only_one_process_rings_and_the_other_takes_over(house: House) -> None:
    async with house.ringing() as first:
        await first.until_heard()
        async with house.ringing() as second:
            await until(lambda: second.realtime.stats.state == "standby", what="the second stands by")
            assert not second.realtime.is_active
            house.database.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s",
                [f"cdc capture {house.database.name}"],
            )
            await until(lambda: first.realtime.is_active ^ second.realtime.is_active, what="one of them rings")
            await first.until_heard()


async def test_a_lost_database_connection_is_made_again(house: House) -> None:
    async with house.ringing() as boy:
        await boy.until_heard()
        house.database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like %s", ["cdc capture %"]
        )
        await boy.until_heard()
        await until(lambda: boy.realtime.sessions > 1, what="a second session")


async def test_nothing_secret_and_no_value_gets_into_the_log(
    house: House, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    house.database.execute("insert into people (id, name) values ('x', 'Grace Hopper')")
    async with house.ringing() as boy:
        await boy.until_heard()
        house.database.execute("update people set name = 'Ada Lovelace' where id = 'x'")
        await house.phoenix.send_text('{"topic": "Ada Lovelace"}')
        house.phoenix.faults.refuse = 401
        await house.phoenix.restart()
        await boy.until_lost("refused")
    out, err = capfd.readouterr()
    said = out + err + "".join(f"{record.getMessage()}" for record in caplog.records if "server" not in record.name)
    assert "realtime_lost" in said
    for hidden in (KEY, "Ada", "Hopper"):
        assert hidden not in said


async def test_a_token_is_renewed_from_its_file_before_it_runs_out(house: House, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(token(seconds=3))
    house.phoenix.key = token(seconds=3)
    async with house.ringing(key=RealtimeKey(file=file)) as boy:
        await boy.until_heard()
        file.write_text(token(seconds=3_000))
        await until(lambda: house.phoenix.counts["tokens"], WITHIN, what="the server gets the new token")
        assert boy.realtime.lost == []


def token(*, seconds: int) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(time.time()) + seconds}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2ln"
