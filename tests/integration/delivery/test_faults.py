"""The worker when something breaks: nothing is lost, nothing is doubled, and neighbours go on."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest
import structlog

from cdc.routing.feeds import Lane
from cdc.state import control, failures, pauses
from cdc.state.failures import Selection
from sinks.base import Action, Misfit, Operation
from sinks.errors import SinkError
from sinks.reasons import Reason
from tests.integration.delivery.conftest import App
from tests.support.sinks import Fault
from tests.support.waiting import until

LOST = SinkError(Reason.OUTCOME_UNKNOWN, "timeout", maybe_applied=True)
DOWN = SinkError(Reason.UNAVAILABLE, "503")


def bad(*record_ids: str, reason: Reason = Reason.INVALID_VALUE) -> Any:
    def refuse(operation: Operation) -> Reason | None:
        return reason if operation.record_id in record_ids else None

    return refuse


async def test_a_change_that_arrives_in_flight_is_delivered_afterwards(app: App) -> None:
    hang = asyncio.Event()
    app.people.faults = [Fault(hang=hang)]
    await app.add_person(1, "Ada")
    async with app.working():
        await asyncio.wait_for(app.people.started.wait(), 5)
        await app.execute("update people set name = 'Bea'")
        await app.ring("people", 1)
        hang.set()
        await until(app.is_idle)
    assert app.people.fields()["1"]["Name"] == "Bea"


async def test_a_rollup_change_that_arrives_in_flight_survives_the_settlement(app: App) -> None:
    hang = asyncio.Event()
    app.people.faults = [Fault(hang=hang)]
    await app.add_person(1, "Ada")
    async with app.working():
        await asyncio.wait_for(app.people.started.wait(), 5)
        await app.execute("update people set name = 'Bea'")
        await app.ring("people", 1, lane=Lane.ROLLUP, due_in_seconds=300)
        hang.set()
        row = await until(lambda: _unclaimed(app, "1"), what="settled and still dirty")
    assert row["generation"] > 1
    await app.settle_down(hurried=True)
    assert app.people.fields()["1"]["Name"] == "Bea"


async def test_a_lost_answer_makes_no_double_even_where_nothing_is_unique(app: App) -> None:
    await app.add_person(1)
    await app.settle_down()
    app.awards.faults = [Fault(after=LOST)]
    await app.add_award(7, person=1)
    await app.settle_down()
    assert len(app.awards.of("award-7")) == 1
    assert [o.uncertain for call in app.awards.calls for o in call] == [False, True]


async def test_what_may_still_be_carried_out_rests_whatever_changes_and_holds_nobody_up(app: App) -> None:
    app.people.faults = [Fault(after=LOST)]
    await app.add_person(1, "Ada")
    worker = app.worker(call_seconds=3)
    async with app.working(worker):
        await until(lambda: _pauses(app), what="the answer is lost")
        lost = asyncio.get_running_loop().time()
        await app.execute("update people set name = 'Bea'")
        await app.ring("people", 1)
        await app.add_person(2, "Cora")
        await until(lambda: "2" in app.people.fields(), what="the other one has gone")
        assert [o.record_id for call in app.people.calls[1:] for o in call] == ["2"]
        await until(lambda: app.people.fields()["1"]["Name"] == "Bea", what="the rest is over")
        assert asyncio.get_running_loop().time() - lost > 2


async def test_a_call_that_was_never_carried_out_leaves_no_doubt_behind(app: App) -> None:
    await app.add_person(1)
    await app.settle_down()
    app.awards.faults = [Fault(before=DOWN)]
    await app.add_award(7, person=1)
    await app.settle_down()
    assert [o.uncertain for call in app.awards.calls for o in call] == [False, False]


async def test_a_sink_that_hangs_is_given_up_and_looked_at_again(app: App) -> None:
    await app.add_person(1)
    await app.settle_down()
    app.awards.faults = [Fault(hang=asyncio.Event())]
    await app.add_award(7, person=1)
    await app.settle_down(app.worker(call_seconds=0.3))
    assert [o.uncertain for call in app.awards.calls for o in call] == [False, True]
    assert len(app.awards.of("award-7")) == 1


async def test_a_poison_record_parks_alone(app: App) -> None:
    app.people.refuse = bad("2")
    for person in (1, 2, 3):
        await app.add_person(person)
    await app.settle_down()
    assert set(app.people.fields()) == {"1", "3"}
    row = (await app.outbox("people"))["2"]
    assert (row["reason"], row["detail"]) == ("INVALID_VALUE", "Name")
    assert "2" not in await app.ledger("people")


async def test_a_record_that_spoils_its_whole_call_is_found_and_parked(app: App) -> None:
    app.people.spoil = bad("37")
    await app.execute("insert into people (id, name) select i, 'P' from generate_series(1, 60) i")
    await app.ring("people", *range(1, 61))
    await app.settle_down()
    assert len(app.people.records) == 59
    assert set(await app.outbox("people")) == {"37"}


async def test_a_mapping_that_spoils_every_call_pauses_the_feed_and_blames_no_record(app: App) -> None:
    app.people.spoil = lambda _: Reason.INVALID_VALUE
    await app.execute("insert into people (id, name) select i, 'P' from generate_series(1, 20) i")
    await app.ring("people", *range(1, 21))
    async with app.working():
        [pause] = await until(lambda: _pauses(app))
    assert (pause.scope, pause.reason) == ("people", "INVALID_VALUE")
    assert all(row["parked_at"] is None for row in (await app.outbox("people")).values())
    assert len(app.people.calls) < 12


async def test_a_row_at_which_the_view_fails_parks_alone(app: App) -> None:
    await app.execute("insert into people (id, name, badness) values (1, 'A', 1), (2, 'B', 0), (3, 'C', 1)")
    await app.ring("people", 1, 2, 3)
    await app.settle_down()
    assert set(app.people.fields()) == {"1", "3"}
    row = (await app.outbox("people"))["2"]
    assert row["reason"] == "WRONG_TYPE"
    assert "22012" in row["detail"]


async def test_a_view_that_can_not_be_read_pauses_its_feed_only(app: App) -> None:
    await app.add_person(1)
    await app.settle_down()
    worker = app.worker()
    async with app.working(worker):
        await until(lambda: worker._pumps, what="the worker has looked at its views")
        await app.execute("alter view v_people rename to v_gone")
        await app.ring("people", 1)
        [pause] = await until(lambda: _pauses(app))
    assert (pause.scope, pause.reason) == ("people", "VIEW_UNREADABLE")


@pytest.mark.parametrize(
    "spoil",
    [
        "drop view v_awards",
        "create or replace view v_awards as select id, 'award-' || id as event_id,"
        ' (person + 2147483647)::int as person, title as "Title" from awards',
    ],
)
async def test_a_child_s_view_that_fails_holds_up_no_parent(app: App, spoil: str) -> None:
    await app.execute("insert into awards values (7, 1, 'Title')")
    worker = app.worker()
    async with app.working(worker):
        await until(lambda: worker._pumps, what="the worker has looked at its views")
        await app.execute(spoil)
        await app.add_person(1)
        await until(lambda: _empty(app, "people"))
    assert set(app.people.fields()) == {"1"}


async def test_a_parent_s_view_that_fails_pauses_the_feed_that_waits(app: App) -> None:
    worker = app.worker()
    async with app.working(worker):
        await until(lambda: worker._pumps, what="the worker has looked at its views")
        await app.execute("alter view v_people rename to v_gone")
        await app.add_award(7, person=1)
        [pause] = await until(lambda: _pauses(app))
    assert (pause.scope, pause.reason) == ("awards", "VIEW_UNREADABLE")
    assert (await app.outbox("awards"))["7"]["claimed_by"] is None


async def test_a_batch_that_ends_by_surprise_gives_its_keys_back(app: App) -> None:
    class Surprise(Exception):
        pass

    def surprise(_: object) -> Reason | None:
        raise Surprise

    app.people.refuse = surprise
    await app.add_person(1)
    with pytest.raises(ExceptionGroup):
        await asyncio.wait_for(app.worker().run(asyncio.Event()), 10)
    assert (await app.outbox("people"))["1"]["claimed_by"] is None
    assert (await app.ledger("people"))["1"]["state"] == "sending"


async def test_a_database_that_takes_no_writes_for_a_while_is_waited_out(app: App) -> None:
    await app.execute(
        "create function refuse() returns trigger language plpgsql as"
        " $$begin raise exception using errcode = 'read_only_sql_transaction'; end$$"
    )
    hang = asyncio.Event()
    app.people.faults = [Fault(hang=hang)]
    async with app.working():
        await app.add_person(1)
        await asyncio.wait_for(app.people.started.wait(), 5)
        await app.execute("create trigger refuse before update or delete on cdc.outbox execute function refuse()")
        hang.set()
        with structlog.testing.capture_logs() as logs:
            await app.execute(
                "insert into cdc.outbox (feed, key, lane, due_at, dirty_at)"
                " values ('people', '2', 'live', now(), now())"
            )
            await until(lambda: any(line["event"] == "outbox_unreachable" for line in logs), what="a claim is refused")
        await app.execute("drop trigger refuse on cdc.outbox")
        await until(lambda: _empty(app, "people"))
    assert len(app.people.calls) == 1


async def test_columns_that_the_sink_does_not_take_pause_the_feed_before_anything_is_sent(app: App) -> None:
    app.people.misfits = [Misfit(column="Ratio", reason=Reason.FIELD_NOT_IN_CRM, detail="no such field")]
    await app.add_person(1)
    async with app.working():
        [pause] = await until(lambda: _pauses(app))
    assert app.people.calls == []
    assert "Ratio" in pause.detail


async def test_an_outage_pauses_the_family_counts_no_attempt_and_ends_by_one_probe(app: App) -> None:
    app.people.faults = [Fault(before=DOWN), Fault(before=DOWN)]
    await app.add_person(1)
    async with app.working():
        [pause] = await until(lambda: _pauses(app))
        assert (pause.scope, pause.failures) == ("memory", 1)
        assert (await app.outbox("people"))["1"]["attempts"] == 0
        await app.add_person(2)
        await until(app.is_idle)
    assert set(app.people.fields()) == {"1", "2"}
    assert len(app.people.calls) == 3
    assert await _pauses(app) == []


async def test_a_pause_by_hand_lasts_until_it_is_resumed(app: App) -> None:
    async with app.state.connection() as conn:
        await pauses.pause(conn, "memory", actor="me", because="maintenance")
    await app.add_person(1)
    async with app.working():
        await asyncio.sleep(1.2)  # more than two idle rounds
        assert app.people.calls == []
        async with app.state.connection() as conn:
            assert await pauses.resume(conn, ["memory"]) == ["memory"]
        await until(app.is_idle)
    assert "1" in app.people.fields()


async def test_a_locked_record_is_retried_later_and_holds_nobody_up(app: App) -> None:
    app.people.refuse = bad("1", reason=Reason.RECORD_LOCKED)
    await app.add_person(1)
    await app.add_person(2)
    await app.settle_down()
    row = (await app.outbox("people"))["1"]
    assert (row["attempts"], row["parked_at"], row["reason"]) == (1, None, "RECORD_LOCKED")
    assert set(app.people.fields()) == {"2"}


async def test_a_change_frees_a_parked_key(app: App) -> None:
    app.people.refuse = bad("1")
    await app.add_person(1)
    await app.settle_down()
    app.people.refuse = bad()
    await app.ring("people", 1)
    await app.settle_down()
    assert set(app.people.fields()) == {"1"}
    assert await app.outbox("people") == {}


async def test_a_record_made_anew_gets_the_fields_that_the_update_left_out(app: App) -> None:
    await app.add_person(1, streak=4)
    await app.add_award(7, person=1)
    await app.settle_down()
    app.people.records.clear()  # somebody deleted it in the CRM
    await app.execute("update people set name = 'Bea'")
    await app.ring("people", 1)
    await app.settle_down()
    assert app.people.fields()["1"] == {"Name": "Bea", "Streak": 4, "Ratio": 10}
    [award] = app.awards.of("award-7")
    assert award.parent_crm_id in app.people.records


async def test_a_parent_that_the_sink_has_lost_is_sent_again(app: App) -> None:
    await app.add_person(1)
    await app.settle_down()
    app.people.records.clear()
    app.awards.refuse = lambda o: None if o.parent_crm_id in app.people.records else Reason.PARENT_NOT_DELIVERED
    await app.add_award(7, person=1)
    async with app.working():
        await until(lambda: app.awards.of("award-7"))
    assert app.awards.of("award-7")[0].parent_crm_id in app.people.records


async def test_the_breaker_holds_mass_withdrawals_until_they_are_approved(app: App) -> None:
    for person in range(1, 6):
        await app.add_person(person)
    await app.settle_down()
    await app.execute("truncate people")
    await app.ring("people", *range(1, 6))
    await app.settle_down()
    assert len(app.people.records) == 5
    async with app.state.connection() as conn:
        assert await failures.failure_counts(conn) == [("people", "HELD_BY_BREAKER", 5)]
        assert await failures.retry(conn, Selection(reason="HELD_BY_BREAKER")) == 5
    await app.settle_down()
    assert app.people.records == {}


async def test_withdrawals_within_the_limit_pass_and_count_for_an_hour(app: App) -> None:
    for person in range(1, 6):
        await app.add_person(person)
    await app.settle_down()
    for person in (1, 2, 3, 4):
        await app.execute("delete from people where id = %s", [person])
        await app.ring("people", person)
        await app.settle_down()
    assert set(app.people.fields()) == {"4", "5"}
    assert (await app.outbox("people"))["4"]["reason"] == "HELD_BY_BREAKER"


async def test_the_breaker_does_not_keep_what_hung_on_a_withdrawn_contact(app: App) -> None:
    await app.add_person(1)
    await app.execute("insert into awards select i, 1, 'T' from generate_series(1, 150) i")
    await app.ring("awards", *range(1, 151))
    await app.settle_down()
    assert len(app.awards.records) == 150
    await app.execute("update people set visible = false")
    await app.ring("people", 1)
    await app.settle_down()
    assert app.awards.records == {}


async def test_two_workers_share_an_outbox_without_doubles(app: App) -> None:
    await app.execute("insert into people (id, name) select i, 'P' from generate_series(1, 300) i")
    await app.execute("insert into awards select i, i, 'T' from generate_series(1, 300) i")
    await app.ring("people", *range(1, 301))
    await app.ring("awards", *range(1, 301))
    async with app.working(app.worker(worker_id="a")), app.working(app.worker(worker_id="b")):
        await until(app.is_idle, within=30)
    assert len(app.people.fields()) == 300
    await app.settle_down()
    assert len(app.awards.fields()) == 300


async def test_a_key_whose_worker_died_is_claimed_again_when_the_lease_ends(app: App) -> None:
    await app.add_person(1)
    await app.execute(
        "update cdc.outbox set claimed_by = 'dead', claimed_until = now() + interval '1 s', due_at = now()"
    )
    await app.settle_down()
    assert "1" in app.people.fields()


async def test_a_worker_whose_lease_ran_out_settles_nothing(app: App) -> None:
    hang = asyncio.Event()
    app.people.faults = [Fault(hang=hang)]
    await app.add_person(1)
    async with app.working() as worker:
        await asyncio.wait_for(app.people.started.wait(), 5)
        await app.execute("update cdc.outbox set claimed_until = now() - interval '1 s', due_at = now()")
        hang.set()
        await until(lambda: not any(pump._batches for pump in worker._pumps))
        assert (await app.ledger("people"))["1"]["state"] in {"sending", "sent"}
    await app.settle_down()
    assert len(app.people.of("1")) == 1


async def test_a_lease_that_is_nearly_over_starts_no_call(app: App) -> None:
    await app.add_person(1)
    looks = count(step=28.0)  # from each look at the clock to the next pass 28 of the lease's 30 seconds
    async with app.working(app.worker(clock=lambda: next(looks))):
        row = await until(lambda: _unclaimed_after(app, "1", looks))
    assert app.people.calls == []
    assert row["attempts"] == 0


async def test_a_stop_waits_for_the_call_under_way(app: App) -> None:
    hang = asyncio.Event()
    app.people.faults = [Fault(hang=hang)]
    await app.add_person(1)
    stop = asyncio.Event()
    task = asyncio.create_task(app.worker().run(stop))
    await asyncio.wait_for(app.people.started.wait(), 5)
    stop.set()
    await asyncio.sleep(0)
    hang.set()
    await asyncio.wait_for(task, 5)
    assert (await app.ledger("people"))["1"]["state"] == "sent"
    assert await app.outbox("people") == {}


async def test_a_stop_that_can_not_wait_gives_the_keys_back_in_doubt(app: App) -> None:
    app.people.faults = [Fault(hang=asyncio.Event())]
    await app.add_person(1)
    stop = asyncio.Event()
    task = asyncio.create_task(app.worker(drain_seconds=0.1).run(stop))
    await asyncio.wait_for(app.people.started.wait(), 5)
    stop.set()
    await asyncio.wait_for(task, 5)
    row = (await app.outbox("people"))["1"]
    assert (row["claimed_by"], row["attempts"]) == (None, 0)
    assert (await app.ledger("people"))["1"]["state"] == "sending"
    await app.settle_down()
    assert app.people.calls[-1][0].uncertain
    assert len(app.people.of("1")) == 1


async def test_withdrawals_travel_apart_from_other_operations(app: App) -> None:
    await app.add_person(1)
    await app.settle_down()
    await app.execute("update people set visible = false")
    await app.execute("insert into people (id, name) values (2, 'Bea')")
    await app.ring("people", 1, 2)
    await app.settle_down()
    assert [{o.action for o in call} for call in app.people.calls[-2:]] == [{Action.WITHDRAW}, {Action.CREATE}]


async def test_out_of_credits_the_backfill_waits_and_the_live_change_goes(app: App) -> None:
    async def used() -> int:
        return 65

    await app.execute("insert into people (id, name) values (1, 'live'), (2, 'bulk')")
    await app.ring("people", 2, lane=Lane.BULK)
    await app.ring("people", 1)
    worker = app.worker(credits_used={"memory": used}, credit_limits={"memory": 100}, budget_seconds=0.1)
    async with app.working(worker):
        await until(lambda: "1" in app.people.fields())
        await asyncio.sleep(0.3)
    assert set(app.people.fields()) == {"1"}


@pytest.mark.parametrize(
    "fault", [Fault(before=SinkError(Reason.BAD_ANSWER)), Fault(after=SinkError(Reason.BAD_ANSWER, maybe_applied=True))]
)
async def test_a_bad_answer_is_retried_and_makes_no_double(app: App, fault: Fault) -> None:
    await app.add_person(1)
    await app.settle_down()
    app.awards.faults = [fault]
    await app.add_award(7, person=1)
    await app.settle_down()
    row = (await app.outbox("awards"))["7"]
    assert (row["reason"], row["attempts"]) == ("BAD_ANSWER", 1)
    await app.execute("update cdc.outbox set due_at = now()")
    async with app.working():
        await until(lambda: _empty(app, "awards"))
    assert len(app.awards.of("award-7")) == 1


async def _unclaimed_after(app: App, key: str, looks: count[float]) -> dict[str, Any] | None:
    """Give the row once a batch has had it and given it back."""
    return await _unclaimed(app, key) if next(looks) > 200 else None


async def _unclaimed(app: App, key: str) -> dict[str, Any] | None:
    row = (await app.outbox("people")).get(key)
    return row if row is not None and row["claimed_by"] is None else None


async def _empty(app: App, feed: str) -> bool:
    return await app.outbox(feed) == {}


async def _pauses(app: App) -> list[control.Pause]:
    async with app.state.connection() as conn:
        return await control.pauses(conn)
