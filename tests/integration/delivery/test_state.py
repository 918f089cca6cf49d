"""Outbox, control, truth and failures, one by one, on a real database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from cdc.errors import ProfileError
from cdc.lsn import Lsn
from cdc.routing.feeds import Lane
from cdc.state import claims, control, failures, gaps, ledger, outbox, pauses
from cdc.state.broken import Broken, mark_broken
from cdc.state.claims import Claim, Claimed, ClaimRequest
from cdc.state.failures import Selection
from cdc.state.ledger import LedgerChange
from cdc.state.outbox import Mark
from cdc.state.settle import Fate, Settlement, Verdict, settle
from cdc.state.truth import Truth
from sinks.reasons import Reason
from tests.integration.delivery.conftest import App

Conn = psycopg.AsyncConnection[Any]
Connect = Callable[[], Awaitable[Conn]]

REQUEST = ClaimRequest(
    feed="people",
    worker="w1",
    scopes=(control.EVERYTHING, "memory", "people"),
    lanes=(Lane.LIVE, Lane.ROLLUP, Lane.DAILY, Lane.BULK),
    limit=10,
    lease_seconds=30,
)
NOW = datetime.now(UTC)


async def _claimed(conn: Conn, request: ClaimRequest = REQUEST) -> Claimed:
    claimed = await claims.claim(conn, request)
    assert claimed is not None
    return claimed


def _settlement(claimed: Claimed, claim: Claim, fate: Fate, **more: Any) -> Settlement:
    verdict = Verdict(key=claim.key, generation=claim.generation, fate=fate, **more)
    return Settlement(
        feed="people",
        worker="w1",
        claimed_at=claimed.at,
        claimed_until=claimed.until,
        verdicts=[verdict],
        ledger=LedgerChange(feed="people"),
    )


class TestMarking:
    async def test_of_two_marks_the_urgent_lane_and_the_earlier_time_win(self, app: App) -> None:
        await app.ring("people", 1, lane=Lane.LIVE, last_lsn=Lsn(5), first_lsn=Lsn(5))
        before = (await app.outbox("people"))["1"]
        await app.ring("people", 1, lane=Lane.ROLLUP, due_in_seconds=300, last_lsn=Lsn(9), first_lsn=Lsn(9))
        after = (await app.outbox("people"))["1"]
        assert (after["lane"], after["due_at"]) == ("live", before["due_at"])
        assert (after["first_lsn"], after["last_lsn"]) == ("0/5", "0/9")
        assert after["generation"] != before["generation"]

    async def test_later_changes_never_postpone_a_gathering_key(self, app: App) -> None:
        await app.ring("people", 1, lane=Lane.ROLLUP, due_in_seconds=60)
        before = (await app.outbox("people"))["1"]["due_at"]
        await app.ring("people", 1, lane=Lane.ROLLUP, due_in_seconds=60)
        assert (await app.outbox("people"))["1"]["due_at"] == before

    async def test_force_stays_until_it_is_delivered(self, app: App) -> None:
        await app.ring("people", 1, forced=True)
        await app.ring("people", 1)
        assert (await app.outbox("people"))["1"]["forced"]

    async def test_a_mark_frees_a_parked_key_and_takes_its_own_lane(self, app: App) -> None:
        await app.ring("people", 1)
        await app.execute("update cdc.outbox set parked_at = now(), reason = 'X', detail = 'y', attempts = 3")
        await app.ring("people", 1, lane=Lane.BULK)
        row = (await app.outbox("people"))["1"]
        assert (row["parked_at"], row["reason"], row["detail"], row["attempts"]) == (None, None, None, 0)
        assert row["lane"] == "bulk"


class TestClaiming:
    async def test_urgent_lanes_come_first_and_the_oldest_due_of_each(self, app: App, connect: Connect) -> None:
        await app.ring("people", 1, lane=Lane.BULK)
        await app.ring("people", 2, lane=Lane.ROLLUP)
        await app.ring("people", 3)
        await app.ring("people", 4)
        claimed = await _claimed(await connect(), replace(REQUEST, limit=3))
        assert [c.key for c in claimed.claims] == ["3", "4", "2"]

    async def test_nobody_gets_a_key_twice(self, app: App, connect: Connect) -> None:
        await app.ring("people", 1)
        conn = await connect()
        await _claimed(conn)
        assert await claims.claim(conn, replace(REQUEST, worker="w2")) is None

    async def test_keys_that_another_transaction_holds_are_passed_over(self, app: App, connect: Connect) -> None:
        await app.ring("people", 1, 2)
        one, other = await connect(), await connect()
        async with one.transaction():
            await one.execute("select from cdc.outbox where key = '1' for update")
            assert [c.key for c in (await _claimed(other)).claims] == ["2"]

    async def test_too_few_keys_are_left_alone(self, app: App, connect: Connect) -> None:
        await app.ring("people", 1, 2)
        conn = await connect()
        assert await claims.claim(conn, replace(REQUEST, at_least=3)) is None
        assert len((await _claimed(conn, replace(REQUEST, at_least=2))).claims) == 2

    async def test_a_paused_scope_gives_nothing_except_to_its_probe(self, app: App, connect: Connect) -> None:
        await app.ring("people", 1)
        conn = await connect()
        await control.pause(conn, "memory", 60, "UNAVAILABLE", "", seen=0)
        assert await claims.claim(conn, REQUEST) is None
        assert await claims.claim(conn, replace(REQUEST, probing=True)) is not None

    @pytest.mark.parametrize("scope", [control.EVERYTHING, "memory", "people"])
    async def test_what_a_person_pauses_gives_nothing_to_a_probe_either(
        self, app: App, connect: Connect, scope: str
    ) -> None:
        await app.ring("people", 1)
        conn = await connect()
        await pauses.pause(conn, scope, actor="me")
        assert await claims.claim(conn, REQUEST) is None
        assert await claims.claim(conn, replace(REQUEST, probing=True)) is None
        assert await pauses.resume(conn) == [scope]
        assert await claims.claim(conn, REQUEST) is not None

    async def test_a_person_s_pause_of_the_lane_bulk_stops_that_lane_alone(self, app: App, connect: Connect) -> None:
        await app.ring("people", 1)
        await app.ring("people", 2, lane=Lane.BULK)
        conn = await connect()
        await pauses.pause(conn, control.BULK_SCOPE, actor="me")
        assert [c.key for c in (await _claimed(conn)).claims] == ["1"]

    async def test_flushing_takes_what_gathers_and_leaves_what_failed(self, app: App, connect: Connect) -> None:
        await app.ring("people", 1, 2, lane=Lane.ROLLUP, due_in_seconds=300)
        await app.execute("update cdc.outbox set reason = 'RECORD_LOCKED' where key = '2'")
        conn = await connect()
        assert await outbox.make_due(conn) == 1
        assert (await claims.next_due(conn, REQUEST)).in_seconds == 0
        assert [c.key for c in (await _claimed(conn)).claims] == ["1"]

    async def test_next_due_is_the_earliest_of_all_lanes(self, app: App, connect: Connect) -> None:
        conn = await connect()
        assert (await claims.next_due(conn, REQUEST)).in_seconds is None
        await app.ring("people", 1, lane=Lane.ROLLUP, due_in_seconds=300)
        await app.ring("people", 2, lane=Lane.BULK, due_in_seconds=100)
        seconds = (await claims.next_due(conn, REQUEST)).in_seconds
        assert seconds is not None
        assert 90 < seconds <= 100

    async def test_a_pause_without_end_has_no_time_to_probe(self, app: App, connect: Connect) -> None:
        conn = await connect()
        await mark_broken(conn, {"people": Broken(Reason.VIEW_UNREADABLE, "")})
        due = await claims.next_due(conn, REQUEST)
        assert (due.paused, due.probe_in_seconds) == (True, None)

    async def test_a_person_s_pause_puts_off_what_is_due_until_its_end(self, app: App, connect: Connect) -> None:
        await app.ring("people", 1)
        conn = await connect()
        await pauses.pause(conn, "people", actor="me", seconds=100)
        due = await claims.next_due(conn, REQUEST)
        assert due.in_seconds is not None
        assert (due.paused, 90 < due.in_seconds <= 100) == (False, True)
        await pauses.pause(conn, "people", actor="me")
        assert (await claims.next_due(conn, REQUEST)).in_seconds is None
        await pauses.pause(conn, "people", actor="me", seconds=0)
        assert (await claims.next_due(conn, REQUEST)).in_seconds == 0
        assert await claims.claim(conn, REQUEST) is not None


class TestSettling:
    @pytest.mark.parametrize("fate", list(Fate))
    async def test_a_change_in_flight_survives_every_fate(self, app: App, connect: Connect, fate: Fate) -> None:
        await app.ring("people", 1)
        conn = await connect()
        claimed = await _claimed(conn)
        await app.ring("people", 1)
        assert await settle(conn, _settlement(claimed, claimed.claims[0], fate, due_in=500, attempts=4, reason="X"))
        row = (await app.outbox("people"))["1"]
        assert (row["claimed_by"], row["parked_at"], row["attempts"], row["reason"]) == (None, None, 0, None)
        assert (await claims.next_due(conn, REQUEST)).in_seconds == 0

    async def test_a_mark_of_another_feed_that_fails_leaves_nothing_settled(self, app: App, connect: Connect) -> None:
        await app.ring("people", 1)
        conn = await connect()
        claimed = await _claimed(conn)
        settlement = _settlement(claimed, claimed.claims[0], Fate.DONE)
        twice = [Mark(feed="awards", key="7", lane=Lane.LIVE, dirty_at=NOW)] * 2
        with pytest.raises(psycopg.errors.CardinalityViolation):
            await settle(conn, replace(settlement, marks=twice))
        assert "1" in await app.outbox("people")

    @pytest.mark.parametrize("spoilt", ["claimed_by = 'other'", "claimed_until = now() - interval '1 ms'"])
    async def test_without_the_lease_nothing_is_recorded(self, app: App, connect: Connect, spoilt: str) -> None:
        await app.ring("people", 1)
        conn = await connect()
        claimed = await _claimed(conn)
        await app.execute(f"update cdc.outbox set {spoilt}")
        before = await app.outbox("people")
        marks = [Mark(feed="awards", key="7", lane=Lane.LIVE, dirty_at=NOW)]
        assert not await settle(conn, replace(_settlement(claimed, claimed.claims[0], Fate.DONE), marks=marks))
        assert await app.outbox("people") == before
        assert await app.outbox("awards") == {}

    async def test_a_late_batch_can_not_settle_what_its_own_worker_claimed_again(
        self, app: App, connect: Connect
    ) -> None:
        await app.ring("people", 1)
        conn = await connect()
        late = await _claimed(conn)
        await app.execute("update cdc.outbox set claimed_until = now() - interval '1 ms', due_at = now()")
        claimed = await _claimed(conn)
        assert late.claims[0].generation == claimed.claims[0].generation
        assert not await settle(conn, _settlement(late, late.claims[0], Fate.DONE))
        assert await settle(conn, _settlement(claimed, claimed.claims[0], Fate.DONE))

    async def test_orphans_nobody_knew_of_are_marked_with_the_withdrawal_or_not_at_all(
        self, app: App, connect: Connect
    ) -> None:
        await app.execute(
            "insert into cdc.ledger (feed, record_id, key, parent_id, state)"
            " values ('people', '1', '1', null, 'sent'), ('awards', 'award-7', '7', '1', 'sent')"
        )
        await app.ring("people", 1)
        conn = await connect()
        claimed = await _claimed(conn)
        change = LedgerChange(feed="people", withdrawn=["1"], bereaved=["1"], orphaning=["awards"])
        settlement = replace(_settlement(claimed, claimed.claims[0], Fate.DONE), ledger=change)
        await app.execute("alter table cdc.outbox add constraint away check (feed <> 'awards')")
        with pytest.raises(psycopg.errors.CheckViolation):
            await settle(conn, settlement)
        assert (await app.ledger("people"))["1"]["state"] == "sent"
        await app.execute("alter table cdc.outbox drop constraint away")
        assert await settle(conn, settlement)
        assert "7" in await app.outbox("awards")


class TestPauses:
    async def test_only_the_first_of_several_failing_batches_pauses(self, connect: Connect, app: App) -> None:
        conn = await connect()
        assert await control.pause(conn, "memory", 10, "UNAVAILABLE", "503", seen=0)
        assert not await control.pause(conn, "memory", 10, "UNAVAILABLE", "503", seen=0)
        assert (await control.pauses(conn))[0].failures == 1

    async def test_one_worker_probes_and_a_second_failure_lengthens_the_row_of_failures(
        self, connect: Connect, app: App
    ) -> None:
        conn = await connect()
        await control.pause(conn, "memory", 0, "UNAVAILABLE", "", seen=0)
        [probe] = await control.take_probe(conn, ["memory", "people"], 60)
        assert await control.take_probe(conn, ["memory", "people"], 60) == []
        assert await control.pause(conn, "memory", 0, "UNAVAILABLE", "", seen=probe.failures)
        assert (await control.pauses(conn))[0].failures == 2

    async def test_a_running_pause_is_not_probed(self, connect: Connect, app: App) -> None:
        conn = await connect()
        await control.pause(conn, "memory", 0, "UNAVAILABLE", "", seen=0)
        await mark_broken(conn, {"people": Broken(Reason.VIEW_UNREADABLE, "")})
        assert await control.take_probe(conn, ["memory", "people"], 60) == []

    async def test_a_person_s_pause_is_neither_shortened_nor_ended_by_a_batch(self, connect: Connect, app: App) -> None:
        conn = await connect()
        await control.pause(conn, "memory", 0, "UNAVAILABLE", "", seen=0)
        probes = await control.take_probe(conn, ["memory"], 60)
        await pauses.pause(conn, "memory", actor="me", because="by me")
        await control.probe_succeeded(conn, probes)
        [pause] = await control.pauses(conn)
        assert (pause.until, pause.detail, pause.actor) == (None, "by me", "me")

    @pytest.mark.parametrize("person_first", [True, False])
    async def test_a_person_s_word_and_a_gap_s_hold_of_everything_lift_only_themselves(
        self, connect: Connect, app: App, person_first: bool
    ) -> None:
        conn = await connect()

        async def person() -> None:
            await pauses.pause(conn, control.EVERYTHING, actor="me")

        async def gap() -> None:
            await gaps.hold(conn, gaps.GAP_UNDECIDED, "")

        for word in (person, gap) if person_first else (gap, person):
            await word()
        assert {p.reason for p in await control.pauses(conn)} == {control.BY_HAND, gaps.GAP_UNDECIDED}
        if person_first:
            await pauses.resume(conn)
            assert [p.reason for p in await control.pauses(conn)] == [gaps.GAP_UNDECIDED]
        else:
            await gaps.release(conn)
            assert [p.reason for p in await control.pauses(conn)] == [control.BY_HAND]
        await app.ring("people", 1)
        assert await claims.claim(conn, REQUEST) is None

    async def test_a_probe_that_sent_nothing_leaves_the_pause_as_it_was(self, connect: Connect, app: App) -> None:
        conn = await connect()
        await control.pause(conn, "memory", 0, "UNAVAILABLE", "", seen=0)
        await control.probe_unused(conn, await control.take_probe(conn, ["memory"], 60))
        [probe] = await control.take_probe(conn, ["memory"], 60)
        assert probe.failures == 1


class TestFailures:
    async def _park(self, app: App) -> None:
        await app.ring("people", 1, 2, last_lsn=Lsn(7))
        await app.ring("awards", 3)
        await app.execute(
            "update cdc.outbox set parked_at = now(), attempts = 1, detail = 'Name',"
            " reason = case key when '1' then 'FIELD_TOO_LONG' else 'INVALID_VALUE' end"
        )

    async def test_they_are_listed_by_feed_key_and_reason(self, connect: Connect, app: App) -> None:
        await self._park(app)
        conn = await connect()
        assert len(await failures.failures(conn, Selection())) == 3
        assert [f.key for f in await failures.failures(conn, Selection(reason="FIELD_TOO_LONG"))] == ["1"]
        assert {f.key for f in await failures.failures(conn, Selection(feed="people"))} == {"1", "2"}
        found = await failures.failure(conn, "people", "1")
        assert found is not None
        assert (found.reason, found.detail, found.last_lsn) == ("FIELD_TOO_LONG", "Name", Lsn(7))
        assert await failures.failure(conn, "people", "9") is None

    async def test_retrying_frees_the_chosen_ones_only(self, connect: Connect, app: App) -> None:
        await self._park(app)
        conn = await connect()
        assert await failures.retry(conn, Selection(feed="people", keys=["1"])) == 1
        row = (await app.outbox("people"))["1"]
        assert (row["parked_at"], row["forced"], row["attempts"]) == (None, True, 0)
        assert (await app.outbox("people"))["2"]["parked_at"] is not None

    async def test_discarding_needs_a_reason_and_leaves_it_in_the_log(self, connect: Connect, app: App) -> None:
        await self._park(app)
        conn = await connect()
        with pytest.raises(ValueError, match="say why"):
            await failures.discard(conn, Selection(), "  ")
        assert await failures.discard(conn, Selection(feed="people"), "test people") == 2
        assert await app.outbox("people") == {}
        logged = await app.fetch("select record_id, status, error_message from cdc.zoho_sync_log order by 1")
        assert logged == [(k, "failed", "discarded: test people") for k in ("1", "2")]

    async def test_a_key_that_is_not_parked_is_never_discarded(self, connect: Connect, app: App) -> None:
        await app.ring("people", 1)
        assert await failures.discard(await connect(), Selection(), "all") == 0
        assert "1" in await app.outbox("people")


class TestTruth:
    async def test_it_reads_keys_fields_and_the_row_s_hash(self, app: App, connect: Connect) -> None:
        await app.execute("insert into people (id, name, streak) values (1, 'Ada', 2), (2, 'Bea', 3)")
        conn = await connect()
        truth = await Truth.open(conn, app.profile.feeds["people"])
        assert [(c.name, c.type) for c in truth.columns] == [
            ("Name", "text"),
            ("Streak", "integer"),
            ("Ratio", "integer"),
        ]
        rows = await truth.read(conn, ["1", "9"], b"k" * 16)
        assert set(rows) == {"1"}
        assert rows["1"][0].fields == {"Name": "Ada", "Streak": 2, "Ratio": 10}
        again = await truth.read(conn, ["1"], b"k" * 16)
        other_key = await truth.read(conn, ["1"], b"x" * 16)
        assert again["1"][0].row_hash == rows["1"][0].row_hash != other_key["1"][0].row_hash

    @pytest.mark.parametrize("key", ["x", "", "99999999999", "1; drop table people", "1.5"])
    async def test_a_key_that_can_not_be_one_is_not_in_the_view(self, app: App, connect: Connect, key: str) -> None:
        await app.execute("insert into people (id, name) values (1, 'Ada')")
        conn = await connect()
        truth = await Truth.open(conn, app.profile.feeds["people"])
        assert set(await truth.read(conn, ["1", key], b"k" * 16)) == {"1"}

    async def test_children_are_found_by_their_parent(self, app: App, connect: Connect) -> None:
        await app.execute("insert into awards values (7, 1, 'T'), (8, 2, 'T')")
        conn = await connect()
        truth = await Truth.open(conn, app.profile.feeds["awards"])
        assert await truth.children(conn, ["1", "3"]) == [("1", "7", "award-7")]

    @pytest.mark.parametrize(("change", "says"), [("drop view v_people", "does not exist"), ("", "lacks nokey")])
    async def test_a_view_that_does_not_serve_is_named(
        self, app: App, connect: Connect, change: str, says: str
    ) -> None:
        if change:
            await app.execute(change)
        feed = app.profile.feeds["people"].model_copy(update={} if change else {"key": "nokey"})
        with pytest.raises(ProfileError, match=says):
            await Truth.open(await connect(), feed)


async def test_counts_put_every_key_into_one_state(app: App, connect: Connect) -> None:
    await app.ring("people", 1)
    await app.ring("people", 2, due_in_seconds=300)
    await app.ring("people", 3)
    await app.execute("update cdc.outbox set parked_at = now(), reason = 'X' where key = '3'")
    await app.ring("people", 4, lane=Lane.DAILY, due_in_seconds=300)
    found = {(c.feed, c.lane): c for c in await outbox.counts(await connect())}
    live = found["people", Lane.LIVE]
    assert (live.due, live.gathering, live.parked, live.in_flight, live.retrying) == (1, 1, 1, 0, 0)
    assert found["people", Lane.DAILY].deferred == 1
    assert live.oldest is not None
    assert NOW - timedelta(minutes=1) < live.oldest


async def test_a_record_that_somebody_else_has_sent_may_not_be_created_again(app: App, connect: Connect) -> None:
    conn = await connect()
    await app.execute(
        "insert into cdc.ledger (feed, record_id, key, crm_id, state) values ('people', '1', '1', 'c', 'sent')"
    )
    intents = [ledger.Intent(record_id=record_id, key=record_id, parent_id=None) for record_id in ("1", "2")]
    assert await ledger.mark_sending(conn, "people", None, intents) == {"2"}
    assert {i: e["state"] for i, e in (await app.ledger("people")).items()} == {"1": "sent", "2": "sending"}
