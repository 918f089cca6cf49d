"""Alerts with a real state database: one process evaluates, everybody is told once, and nobody is left untold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from cdc.runtime import alerting
from cdc.runtime.alerting import Alerting
from cdc.runtime.channels import Channel, NotSent
from cdc.runtime.channels.http import SignedWebhook
from cdc.runtime.lookout import Lookout
from cdc.state import alerts as memory
from cdc.state import mutes
from cdc.state.alerts import Severity, Verdict
from cdc.state.database import Pool, open_pool
from cdc.state.envelope import Keyring
from cdc.state.reconciles import ReconcileRun, record_run
from cdc.state.tokens import StoredTokens
from cdc.watch.alerts.rules import RULES
from cdc.watch.alerts.wording import Message
from cdc.watch.outlook import Picture
from sinks.tokens import TokenRecord
from tests.support.alerts import UNKNOWN, calls, picture, used
from tests.support.postgres import Database
from tests.support.receivers import http_server
from tests.support.status import activity
from tests.support.waiting import until

P = "optio_cdc"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = "bm90IGEgcmVhbCBrZXksIG9ubHkgb25lIGZvciB0ZXM="
BAD = {"activity": activity(failed_hour=11)}
WORSE = {"activity": activity(failed_hour=51)}
START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


@dataclass
class Heard:
    """A channel that remembers."""

    name: str = "ears"
    messages: list[Message] = field(default_factory=list)
    deaf: bool = False

    async def send(self, message: Message) -> None:
        if self.deaf:
            raise NotSent("deaf", again=False)
        self.messages.append(message)

    @property
    def told(self) -> list[str]:
        return [message.summary for message in self.messages]


@dataclass
class Scene:
    """A pipeline whose picture and time the test sets."""

    pool: Pool
    shown: Picture = field(default_factory=picture)
    minute: float = 0.0
    ears: Heard = field(default_factory=Heard)

    async def look(self) -> Picture:
        return self.shown

    def process(self, name: str = "a", channels: Sequence[Channel] | None = None, **more: Any) -> Alerting:
        return Alerting(
            self.pool, P, name, self.look, [self.ears] if channels is None else channels,
            clock=lambda: START + timedelta(minutes=self.minute), **more,
        )  # fmt: skip

    async def at(self, minute: float, process: Alerting, **changes: Any) -> None:
        self.minute, self.shown = minute, picture(**changes)
        assert await process.evaluate() is not None, "it is this process's turn"


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    database.apply_state()
    async with open_pool(database.dsn, purpose="test", size=6) as opened:
        yield opened


@pytest.fixture
def scene(pool: Pool) -> Scene:
    return Scene(pool)


async def test_the_life_of_an_alert(scene: Scene, database: Database) -> None:
    one = scene.process()
    await scene.at(0, one)
    await scene.at(1, one, **BAD)
    await scene.at(2, one, **BAD)
    await scene.at(3, one, **WORSE)
    await scene.at(30, one, **WORSE)
    await scene.at(3 + 24 * 60, one, **WORSE)
    await scene.at(4 + 25 * 60, one)

    assert scene.ears.told == [
        "CdcFailedSyncs opened", "CdcFailedSyncs escalated", "CdcFailedSyncs reminded", "CdcFailedSyncs resolved",
    ]  # fmt: skip
    [row] = database.execute("select name, severity, value, told, resolved_at, closed_at from cdc.alert")
    over = START + timedelta(hours=25, minutes=4)
    assert row == ("CdcFailedSyncs", "critical", 51.0, None, over, over)
    assert (
        len(database.execute("select id from cdc.alert_notice where sent and attempts = 1 and channel = 'ears'")) == 4
    )


async def test_what_every_rule_came_to_is_on_record(scene: Scene, pool: Pool) -> None:
    await scene.at(0, scene.process(), **BAD, calls=calls({}, (0,) * 7))
    async with pool.connection() as conn:
        states = await memory.rule_states(conn, P)

    assert set(states) == set(RULES)
    assert states["CdcFailedSyncs"].verdict is Verdict.OPEN
    assert states["CdcZohoErrors"].verdict is Verdict.UNKNOWN
    assert states["CdcZohoErrors"].words == "nobody called the CRM in the last ten minutes"
    assert states["CdcCreditsHigh"].verdict is Verdict.FINE


async def test_what_opens_together_is_told_in_one_message(scene: Scene) -> None:
    await scene.at(0, scene.process(), **BAD, credits=used(45_226), died=3)

    assert scene.ears.told == ["CdcCreditsHigh opened, CdcWorkerFlapping opened, CdcFailedSyncs opened"]


async def test_of_two_processes_one_evaluates_until_it_is_gone(scene: Scene, pool: Pool) -> None:
    one, other = scene.process("a"), scene.process("b")
    scene.shown = picture(**BAD)
    made = await asyncio.gather(one.evaluate(), other.evaluate())
    assert sorted(steps is None for steps in made) == [False, True]
    assert len(scene.ears.messages) == 1

    first, second = (one, other) if made[0] is not None else (other, one)
    assert await second.evaluate() is None
    async with pool.connection() as conn:
        await memory.give_turn(conn, P, first.holder)
    assert await second.evaluate() is not None
    assert await first.evaluate() is None
    assert len(scene.ears.messages) == 1, "what one told the other one knows"


async def test_a_turn_that_is_not_kept_up_passes_on(scene: Scene, database: Database) -> None:
    await scene.process("a").evaluate()
    assert await scene.process("b").evaluate() is None
    database.execute("update cdc.alert_turn set held_until = now() - interval '1 second'")
    assert await scene.process("b").evaluate() is not None


async def test_a_process_that_dies_before_it_wrote_down_what_it_told_tells_it_twice_and_no_more(
    scene: Scene, database: Database
) -> None:
    async with http_server() as inbox:
        arrived = asyncio.Event()
        inbox.on_request = arrived.set

        class Dying(SignedWebhook):
            async def send(self, message: Message) -> None:
                await super().send(message)
                await asyncio.Event().wait()

        scene.shown = picture(**BAD)
        dying = asyncio.create_task(scene.process("a", [Dying(inbox.url, SECRET)]).evaluate())
        await asyncio.wait_for(arrived.wait(), 10)
        dying.cancel()  # the request is out; nothing is written down
        await asyncio.gather(dying, return_exceptions=True)
        database.execute("update cdc.alert_turn set held_until = now() - interval '1 second'")

        following = scene.process("b", [SignedWebhook(inbox.url, SECRET)])
        for minute in range(1, 5):
            scene.minute = minute
            await following.evaluate()

    ids = [headers["webhook-id"] for *_, headers, _ in inbox.requests]
    assert len(ids) == 2
    assert len(set(ids)) == 1, "whoever gets it can tell that it is the same"


async def test_what_no_channel_took_is_told_as_soon_as_one_does(scene: Scene, database: Database) -> None:
    scene.ears.deaf = True
    one = scene.process()
    with capture_logs() as logs:
        await scene.at(0, one, **WORSE)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["alert_not_sent"]
    scene.ears.deaf = False
    await scene.at(1, one, **WORSE)

    assert scene.ears.told == ["CdcFailedSyncs opened"]
    assert database.execute("select sent, error from cdc.alert_notice order by id") == [(False, "deaf"), (True, None)]


async def test_one_channel_of_two_is_enough(scene: Scene, database: Database) -> None:
    deaf = Heard("deaf", deaf=True)
    one = scene.process(channels=[deaf, scene.ears])
    await scene.at(0, one, **WORSE)
    await scene.at(1, one, **WORSE)

    assert scene.ears.told == ["CdcFailedSyncs opened"]
    rows = database.execute("select channel, sent from cdc.alert_notice order by channel")
    assert rows == [("deaf", False), ("ears", True)]


async def test_without_channels_alerts_are_on_record_all_the_same(scene: Scene, pool: Pool) -> None:
    await scene.at(0, scene.process(channels=[]), **WORSE)
    async with pool.connection() as conn:
        [alert] = (await memory.live_alerts(conn, P)).values()

    assert (alert.name, alert.severity, alert.told) == ("CdcFailedSyncs", Severity.CRITICAL, Severity.CRITICAL)


async def test_people_mute_and_acknowledge(scene: Scene, pool: Pool) -> None:
    one = scene.process()
    async with pool.connection() as conn:
        until_ = await mutes.mute(conn, P, "CdcFailedSyncs", 7200, "ada@machine")
        scene.minute = (until_ - START).total_seconds() / 60 - 60  # the mute goes by the database's time
    start = scene.minute
    await scene.at(start, one, **WORSE)
    assert scene.ears.told == []

    async with pool.connection() as conn:
        assert await mutes.unmute(conn, P, "CdcFailedSyncs")
        assert not await mutes.unmute(conn, P, "CdcFailedSyncs")
        assert not await mutes.acknowledge(conn, P, "CdcDrift", "ada@machine")
    await scene.at(start + 1, one, **WORSE)
    async with pool.connection() as conn:
        assert await mutes.acknowledge(conn, P, "CdcFailedSyncs", "ada@machine")
    await scene.at(start + 26 * 60, one, **WORSE)
    assert scene.ears.told == ["CdcFailedSyncs opened"], "no reminder"
    await scene.at(start + 27 * 60, one)
    assert scene.ears.told[1:] == ["CdcFailedSyncs resolved"]


async def test_what_is_unknown_stays_open(scene: Scene, pool: Pool) -> None:
    one = scene.process()
    await scene.at(0, one, calls=calls({"ok": 1, "not_sent": 9}))
    _, nothing = next(case for case in UNKNOWN if case[0] == "CdcZohoErrors")
    scene.minute, scene.shown = 20, nothing
    await one.evaluate()
    async with pool.connection() as conn:
        assert (await memory.live_alerts(conn, P))["CdcZohoErrors"].is_open
        assert (await memory.rule_states(conn, P))["CdcZohoErrors"].verdict is Verdict.UNKNOWN


async def test_the_dead_man_is_told_each_minute_by_who_evaluates(scene: Scene) -> None:
    async with http_server() as inbox:
        one = scene.process(heartbeat=inbox.url + "/uuid")
        for minute in (0.0, 0.5, 1.0, 1.5):
            await scene.at(minute, one)
        await scene.at(3, one, workers=[])
        assert await scene.process("b", heartbeat=inbox.url + "/uuid").evaluate() is None

    assert inbox.paths == ["/uuid", "/uuid", "/uuid/fail"]


async def test_a_database_that_is_away_is_waited_for_and_the_dead_man_falls_silent(
    scene: Scene, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(alerting, "EVERY_SECONDS", 0.05)
    async with http_server() as inbox:
        one, stop = scene.process(heartbeat=inbox.url + "/uuid"), asyncio.Event()
        database.execute("alter table cdc.alert_rule rename to away")
        with capture_logs() as logs:
            running = asyncio.create_task(one.run(stop))
            await until(
                lambda: [e for e in logs if e["event"] == "alerts_not_evaluated"], what="the failure in the log"
            )
            assert inbox.requests == []
            database.execute("alter table cdc.away rename to alert_rule")
            await until(lambda: inbox.paths, what="the dead man's signal")
        stop.set()
        await running
    assert database.execute("select * from cdc.alert_turn") == [], "another process may go on at once"


async def test_a_channel_that_takes_its_time_does_not_hold_up_a_stop(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "FIRST_SECONDS", 0.0)
    stop, asked = asyncio.Event(), asyncio.Event()

    class Slow(Heard):
        async def send(self, message: Message) -> None:
            asked.set()
            await asyncio.Event().wait()

    scene.shown = picture(**BAD)
    running = asyncio.create_task(scene.process(channels=[Slow()]).run(stop))
    await asyncio.wait_for(asked.wait(), 20)
    stop.set()
    await asyncio.wait_for(running, 10)
    await scene.at(1, scene.process("b"), **BAD)
    assert scene.ears.told == ["CdcFailedSyncs opened"], "it stays due, for whoever comes next"


async def test_an_alert_of_which_there_is_no_rule_any_more_ends(scene: Scene, pool: Pool, database: Database) -> None:
    database.execute(
        "insert into cdc.alert (pipeline, name, severity, opened_at) values (%s, 'CdcOfOld', 'critical', now())", [P]
    )
    await scene.at(0, scene.process())
    async with pool.connection() as conn:
        assert await memory.live_alerts(conn, P) == {}
    assert scene.ears.told == []


async def test_what_is_looked_at_comes_from_both_databases(pool: Pool, database: Database) -> None:
    keyring = Keyring.parse(KEY)
    async with StoredTokens(pool, keyring).locked() as tokens:
        await tokens.save(TokenRecord(refresh_token="1000.refresh"))
    database.execute(
        "insert into cdc.zoho_sync_log (sync_type, action, status, record_id, created_at)"
        " select 'contacts', 'update', 'success', n::text, now() - interval '1 hour' * (n % 240)"
        " from generate_series(0, 2399) n"
    )
    seen = await Lookout(pool, pool, P, credit_limit=1_000, encryption_key=KEY).look()
    other = await Lookout(pool, pool, P, credit_limit=1_000, encryption_key="A" * 43 + "=").look()

    assert seen.outlook.free["slots"] >= 1
    assert (seen.outlook.key_fits, other.outlook.key_fits) == (True, False)
    volume = seen.outlook.volume
    assert volume is not None
    assert (volume.day, volume.days) == (240, 9)
    assert seen.status.slot is not None
    assert seen.outlook.reconciled is None


async def test_a_source_that_is_away_is_seen_and_stops_nothing(pool: Pool, database: Database) -> None:
    async with open_pool(database.dsn, purpose="source") as source:
        await source.close()
        seen = await Lookout(source, pool, P, credit_limit=1_000, encryption_key=KEY).look()
    assert (seen.status.slot, seen.outlook.free) == (None, {})


async def test_what_the_last_complete_comparison_found_is_read(pool: Pool) -> None:
    async with pool.connection() as conn:
        for complete, differing in ((True, 9), (True, 7), (False, 1)):
            await record_run(conn, ReconcileRun(
                slot=P, kind="report", requested_by="t", started_at=START, verdict="differs", complete=complete,
                barrier_lsn=None, compared=1_000, differing=differing, fixed=0, remaining=0,
                counts={"contacts": {"duplicate": 2, "stale": 5}, "tasks": {"duplicate": 1}}, crm_counts={},
                credits_before=0, credits_planned=0, credits_used=0, mapping="x",
            ))  # fmt: skip
    seen = (await Lookout(pool, pool, P, credit_limit=1_000, encryption_key=KEY).look()).outlook.reconciled

    assert seen is not None
    assert (seen.compared, seen.differing, seen.duplicates) == (1_000, 7, 3)
