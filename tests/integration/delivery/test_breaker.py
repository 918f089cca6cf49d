"""The breaker on a real outbox: what it lets pass, what it holds, and what becomes of a person's answer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from cdc.lsn import Lsn
from cdc.repair.sweep import sweep_feed
from cdc.routing.feeds import Lane
from cdc.state import failures, held
from cdc.state.breaker import Candidate, Judged, Limits, reserve
from cdc.state.failures import Selection
from cdc.state.held import HeldGroup, HeldSelection, Kind
from cdc.state.outbox import Mark, mark
from tests.conftest import Connect
from tests.integration.delivery.conftest import OPTIONS, App

PEOPLE = 12


@pytest.fixture
async def crowd(app: App) -> App:
    """Twelve people in the sink; limits of four rewrites, and of eight that changes announce."""
    people = app.profile.feeds["people"].model_copy(
        update={"rewrite_limit": 4, "announced_limit": 8, "withdraw_limit": 3}
    )
    app.profile = app.profile.model_copy(update={"feeds": {**app.profile.feeds, "people": people}})
    await app.execute(f"insert into people (id, name) select n, 'Ada' from generate_series(1, {PEOPLE}) n")
    await sweep(app)
    await app.settle_down()
    assert len(app.people.records) == PEOPLE, "a first backfill makes records, and isn't judged"
    app.people.calls.clear()
    return app


async def sweep(app: App, **options: Any) -> None:
    async with app.source.connection() as source, app.state.connection() as state:
        await sweep_feed(source, state, app.profile.feeds["people"], OPTIONS.hash_key, **options)


async def groups(app: App) -> list[HeldGroup]:
    async with app.state.connection() as conn:
        return await held.held_groups(conn, HeldSelection())


async def approve(app: App, **selection: Any) -> int:
    async with app.state.connection() as conn:
        return await held.approve(conn, HeldSelection(**selection), "ops@here", "looked at it")


async def reject(app: App, **selection: Any) -> int:
    async with app.state.connection() as conn:
        return await held.reject(conn, HeldSelection(**selection), "ops@here", "wrong view")


def names(app: App) -> set[Any]:
    return {fields["Name"] for fields in app.people.fields().values()}


async def change_view(app: App) -> None:
    await app.execute(
        'create or replace view v_people as select id, upper(name) as "Name", streak as "Streak",'
        ' 10 / badness as "Ratio" from people where visible'
    )


async def test_a_changed_view_is_held_and_shown_with_its_cause(crowd: App) -> None:
    await change_view(crowd)
    await sweep(crowd)
    await crowd.settle_down()
    assert crowd.people.calls == []
    [group] = await groups(crowd)
    assert (group.feed, group.kind, group.keys, group.fields) == ("people", Kind.REWRITE, PEOPLE, {"Name": PEOPLE})
    assert [(cause.words, cause.keys) for cause in group.causes] == [("sweep", PEOPLE)]
    assert set(group.sample) < {str(n) for n in range(1, PEOPLE + 1)}
    await approve(crowd)
    await crowd.settle_down()
    assert names(crowd) == {"ADA"}
    assert await groups(crowd) == []


async def test_an_update_of_everybody_is_held_and_a_busy_hour_is_not(crowd: App) -> None:
    for person in range(1, 6):
        await crowd.execute("update people set name = 'Eve' where id = %s", [person])
        await crowd.ring("people", person, last_lsn=Lsn(100 + person), first_lsn=Lsn(100 + person))
    await crowd.settle_down()
    assert len(await groups(crowd)) == 0
    await crowd.execute("update people set name = 'Bug'")
    await crowd.ring("people", *range(1, PEOPLE + 1), last_lsn=Lsn(200), first_lsn=Lsn(200))
    await crowd.settle_down()
    [group] = await groups(crowd)
    assert group.keys == PEOPLE
    assert [(cause.words, cause.keys) for cause in group.causes] == [("transaction 0/C8", PEOPLE)]
    assert "Bug" not in names(crowd)


async def test_changes_of_many_transactions_are_held_beyond_the_larger_limit(crowd: App) -> None:
    await crowd.execute("update people set name = 'Eve'")
    for person in range(1, 10):
        await crowd.ring("people", person, last_lsn=Lsn(100 + person), first_lsn=Lsn(100 + person))
        await crowd.settle_down()
    [group] = await groups(crowd)
    assert group.keys == 1


async def test_fields_that_may_wait_a_day_are_never_held(crowd: App) -> None:
    await crowd.execute("update people set streak = 7")
    await crowd.ring("people", *range(1, PEOPLE + 1), last_lsn=Lsn(100), first_lsn=Lsn(100))
    await crowd.settle_down(hurried=True)
    assert await groups(crowd) == []
    assert {fields["Streak"] for fields in crowd.people.fields().values()} == {7}


async def test_sending_everything_by_force_is_held(crowd: App) -> None:
    await sweep(crowd, forced=True)
    await crowd.settle_down()
    assert crowd.people.calls == []
    [group] = await groups(crowd)
    assert (group.keys, group.unchanged, group.fields) == (PEOPLE, PEOPLE, {})
    assert [cause.words for cause in group.causes] == ["sweep by force"]
    await approve(crowd)
    await crowd.settle_down()
    assert len(crowd.people.operations()) == PEOPLE


async def test_an_approval_lets_go_what_was_shown_and_nothing_that_came_later(crowd: App) -> None:
    await change_view(crowd)
    await sweep(crowd)
    await crowd.settle_down()
    [shown] = await groups(crowd)
    await crowd.execute("update people set name = 'Eve' where id = 1")
    await crowd.ring("people", 1, lane=Lane.BULK)
    await crowd.execute("update people set name = 'Eve' where id <= 6")
    await crowd.ring("people", *range(1, 7), lane=Lane.BULK)
    await crowd.settle_down()
    assert await approve(crowd, as_of=shown.as_of) == PEOPLE - 6
    await crowd.settle_down()
    [left] = await groups(crowd)
    assert left.keys == 6


async def test_a_change_after_the_approval_is_judged_anew(crowd: App) -> None:
    await change_view(crowd)
    await sweep(crowd)
    await crowd.settle_down()
    await approve(crowd, feed="people", keys=[str(n) for n in range(1, PEOPLE + 1)])
    await sweep_again(crowd, *range(1, PEOPLE + 1))
    await crowd.settle_down()
    assert crowd.people.calls == []
    assert len(await groups(crowd)) == 1


async def sweep_again(app: App, *keys: int) -> None:
    async with app.state.connection() as conn, conn.transaction():
        await mark(conn, [Mark(feed="people", key=str(k), lane=Lane.BULK, dirty_at=datetime.now(UTC)) for k in keys])


async def test_an_approved_rewrite_that_has_become_a_withdrawal_is_judged_anew(crowd: App) -> None:
    await change_view(crowd)
    await sweep(crowd)
    await crowd.settle_down()
    await approve(crowd)
    await crowd.execute("update people set visible = false")
    await crowd.settle_down()
    assert len(crowd.people.records) == PEOPLE
    [group] = await groups(crowd)
    assert (group.kind, group.keys) == (Kind.WITHDRAWAL, PEOPLE)


async def test_what_was_rejected_comes_back_by_no_sweep_but_by_a_change(crowd: App) -> None:
    await change_view(crowd)
    await sweep(crowd)
    await crowd.settle_down()
    assert await reject(crowd, feed="people") == PEOPLE
    await sweep(crowd)
    await sweep(crowd, with_parked=True)
    await crowd.settle_down()
    assert {row["reason"] for row in (await crowd.outbox("people")).values()} == {"REJECTED"}
    assert names(crowd) == {"Ada"}
    await crowd.ring("people", 1)
    await crowd.settle_down()
    assert crowd.people.fields()["1"]["Name"] == "ADA"
    assert len(await crowd.outbox("people")) == PEOPLE - 1


async def test_what_was_rejected_goes_when_a_person_retries_it(crowd: App) -> None:
    await crowd.execute("truncate people")
    await crowd.ring("people", *range(1, PEOPLE + 1))
    await crowd.settle_down()
    await reject(crowd)
    async with crowd.state.connection() as conn:
        assert await failures.retry(conn, Selection(reason="REJECTED")) == PEOPLE
    await crowd.settle_down()
    assert crowd.people.records == {}


async def test_a_person_s_retry_of_other_failures_is_not_held(crowd: App) -> None:
    await crowd.execute("update people set name = 'Eve'")
    await crowd.ring("people", *range(1, PEOPLE + 1))
    await crowd.execute("update cdc.outbox set parked_at = now(), reason = 'PICKLIST_VALUE_UNKNOWN'")
    async with crowd.state.connection() as conn:
        await failures.retry(conn, Selection(feed="people"))
    await crowd.settle_down()
    assert names(crowd) == {"Eve"}


async def test_both_answers_are_on_record_with_who_and_why(crowd: App) -> None:
    await change_view(crowd)
    await sweep(crowd)
    await crowd.settle_down()
    await reject(crowd, feed="people", keys=["1"])
    await approve(crowd, feed="people", kind=Kind.REWRITE)
    rows = await crowd.fetch(
        "select action, record_id, error_message from cdc.zoho_sync_log where action in ('approve', 'reject')"
        " and record_id in ('1', '2', '*') order by action, record_id"
    )
    assert rows == [
        ("approve", "*", "approved by ops@here: looked at it"),
        ("approve", "2", "approved by ops@here: looked at it"),
        ("reject", "1", "rejected by ops@here: wrong view"),
    ]


async def test_after_an_approval_of_everything_the_count_begins_anew(crowd: App) -> None:
    for person in range(1, 5):
        await crowd.execute("update people set name = 'Eve' where id = %s", [person])
        await sweep_again(crowd, person)
        await crowd.settle_down()
    await crowd.execute("update people set name = 'Eve' where id = 5")
    await sweep_again(crowd, 5)
    await crowd.settle_down()
    assert [group.keys for group in await groups(crowd)] == [1]
    await approve(crowd, kind=Kind.REWRITE)
    await crowd.execute("update people set name = 'Eve' where id = 6")
    await sweep_again(crowd, 6)
    await crowd.settle_down()
    assert await groups(crowd) == []


async def test_several_workers_cannot_pass_the_limit_between_them(crowd: App) -> None:
    people = crowd.profile.feeds["people"].model_copy(update={"rewrite_limit": 5})
    crowd.profile = crowd.profile.model_copy(update={"feeds": {**crowd.profile.feeds, "people": people}})
    crowd.people.batch_size = 2
    await change_view(crowd)
    await sweep(crowd)
    workers = [crowd.worker(worker_id=f"w{n}") for n in range(3)]
    stop = asyncio.Event()
    tasks = [asyncio.create_task(worker.run(stop)) for worker in workers[1:]]
    await crowd.settle_down(workers[0])
    stop.set()
    await asyncio.gather(*tasks)
    assert len(crowd.people.operations()) == 4
    [group] = await groups(crowd)
    assert group.keys == PEOPLE - 4


class TestReserve:
    LIMITS = Limits(withdrawals=2, rewrites=2, announced=2)

    def wanted(self, *record_ids: str) -> list[Candidate]:
        return [Candidate(record_id=record_id, judged=Judged.WITHDRAWAL) for record_id in record_ids]

    async def test_the_same_record_is_counted_once(self, connect: Connect, app: App) -> None:
        conn = await connect()
        for _ in range(3):
            ruling = await reserve(conn, "people", self.LIMITS, self.wanted("1", "2"))
            assert set(ruling.reserved) == {"1", "2"}
        assert (await reserve(conn, "people", self.LIMITS, self.wanted("3"))).held == {"3"}

    async def test_approved_and_exempt_ones_pass_and_do_not_use_up_the_hour(self, connect: Connect, app: App) -> None:
        conn = await connect()
        ruling = await reserve(conn, "people", self.LIMITS, [], approved=["1", "2"], exempt=["3"])
        assert set(ruling.reserved) == {"1", "2", "3"}
        assert not (await reserve(conn, "people", self.LIMITS, self.wanted("4", "5"))).held

    async def test_what_the_crm_refused_does_not_count(self, connect: Connect, app: App) -> None:
        conn = await connect()
        await reserve(conn, "people", self.LIMITS, self.wanted("1", "2"))
        await app.execute("update cdc.zoho_sync_log set status = 'failed'")
        assert not (await reserve(conn, "people", self.LIMITS, self.wanted("3"))).held

    async def test_an_hour_later_there_is_room_again(self, connect: Connect, app: App) -> None:
        conn = await connect()
        await reserve(conn, "people", self.LIMITS, self.wanted("1", "2"))
        await app.execute("update cdc.zoho_sync_log set created_at = now() - interval '61 minutes'")
        assert not (await reserve(conn, "people", self.LIMITS, self.wanted("3", "4"))).held
