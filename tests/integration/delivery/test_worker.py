"""The worker on a real outbox: what reaches the sink when all goes well."""

from __future__ import annotations

from cdc.routing.feeds import Lane
from tests.integration.delivery.conftest import App
from tests.support.waiting import until


async def test_a_new_row_is_created_with_all_its_fields(app: App) -> None:
    await app.add_person(1, "Ada", streak=3)
    await app.settle_down()
    assert app.people.fields() == {"1": {"Name": "Ada", "Streak": 3, "Ratio": 10}}
    assert (await app.ledger("people"))["1"]["state"] == "sent"
    assert await app.outbox("people") == {}


async def test_an_update_sends_what_changed_and_the_mandatory_fields(app: App) -> None:
    await app.add_person(1, "Ada", streak=3)
    await app.settle_down()
    await app.execute("update people set badness = 5 where id = 1")
    await app.ring("people", 1)
    await app.settle_down()
    assert dict(app.people.calls[-1][0].fields) == {"Name": "Ada", "Ratio": 2}


async def test_a_bell_without_a_change_makes_no_call(app: App) -> None:
    await app.add_person(1)
    await app.settle_down()
    before = len(app.people.calls)
    await app.ring("people", 1)
    await app.settle_down()
    assert len(app.people.calls) == before
    assert await app.outbox("people") == {}


async def test_a_row_that_leaves_its_view_is_withdrawn(app: App) -> None:
    await app.add_person(1)
    await app.settle_down()
    await app.execute("update people set visible = false where id = 1")
    await app.ring("people", 1)
    await app.settle_down()
    assert app.people.records == {}
    assert (await app.ledger("people"))["1"]["state"] == "withdrawn"


async def test_an_event_waits_for_its_parent_and_then_names_it(app: App) -> None:
    await app.add_award(7, person=1)
    await app.add_person(1)
    await app.settle_down()
    [award] = app.awards.records.values()
    assert award.parent_crm_id == (await app.ledger("people"))["1"]["crm_id"]


async def test_a_parent_that_nobody_rang_for_is_fetched(app: App) -> None:
    await app.execute("insert into people (id, name) values (1, 'Ada')")
    await app.add_award(7, person=1)
    await app.settle_down()
    assert len(app.awards.of("award-7")) == 1


async def test_an_event_whose_parent_may_not_be_there_is_settled_without_a_call(app: App) -> None:
    await app.add_person(1, visible=False)
    await app.add_award(7, person=1)
    await app.settle_down()
    assert app.awards.calls == []
    assert await app.outbox("awards") == {}


async def test_events_come_once_their_parent_enters_its_view(app: App) -> None:
    await app.add_person(1, visible=False)
    await app.add_award(7, person=1)
    await app.settle_down()
    await app.execute("update people set visible = true")
    await app.ring("people", 1)
    await app.settle_down()
    assert len(app.awards.of("award-7")) == 1


async def test_a_withdrawn_parent_takes_its_events_along_and_brings_them_back(app: App) -> None:
    await app.add_person(1)
    await app.add_award(7, person=1)
    await app.settle_down()
    await app.execute("update people set visible = false")
    await app.ring("people", 1)
    await app.settle_down()
    assert app.awards.records == {}

    await app.execute("update people set visible = true")
    await app.ring("people", 1)
    await app.settle_down()
    [award] = app.awards.of("award-7")
    assert award.parent_crm_id == (await app.ledger("people"))["1"]["crm_id"]


async def test_an_event_that_left_its_view_is_kept(app: App) -> None:
    await app.add_person(1)
    await app.add_award(7, person=1)
    await app.settle_down()
    await app.execute("delete from awards")
    await app.ring("awards", 7)
    await app.settle_down()
    assert len(app.awards.of("award-7")) == 1


async def test_slow_fields_alone_are_deferred_and_go_with_the_next_other_change(app: App) -> None:
    await app.add_person(1, streak=1)
    await app.settle_down()
    await app.execute("update people set streak = 2")
    await app.ring("people", 1)
    async with app.working():
        row = await until(lambda: _lane(app, "daily"), what="deferred")
    assert row["deferred_until"] is not None
    assert app.people.fields()["1"]["Streak"] == 1

    await app.execute("update people set name = 'Bea'")
    await app.ring("people", 1)
    await app.settle_down()
    assert app.people.fields()["1"] == {"Name": "Bea", "Streak": 2, "Ratio": 10}


async def test_a_second_slow_change_does_not_move_the_day(app: App) -> None:
    await app.add_person(1, streak=1)
    await app.settle_down()
    days = []
    async with app.working():
        for streak in (2, 3):
            await app.execute("update people set streak = %s", [streak])
            await app.ring("people", 1)
            row = await until(lambda: _lane(app, "daily"), what="deferred")
            days.append(row["deferred_until"][:19])
    assert days[0] == days[1]


async def test_flushing_sends_what_gathers_and_what_waits_for_its_day(app: App) -> None:
    await app.add_person(1, streak=1)
    await app.settle_down()
    await app.execute("update people set streak = 2")
    await app.ring("people", 1)
    await app.execute("insert into people (id, name) values (2, 'Bea')")
    await app.ring("people", 2, lane=Lane.ROLLUP, due_in_seconds=300)
    await app.settle_down(hurried=True)
    assert app.people.fields()["1"]["Streak"] == 2
    assert "2" in app.people.fields()


async def test_a_burst_goes_out_in_full_batches(app: App) -> None:
    await app.execute("insert into people (id, name) select i, 'P' from generate_series(1, 250) i")
    await app.ring("people", *range(1, 251), lane=Lane.BULK)
    await app.settle_down()
    assert sorted(len(call) for call in app.people.calls) == [50, 100, 100]


async def test_forced_keys_send_all_fields_though_nothing_changed(app: App) -> None:
    await app.add_person(1, streak=1)
    await app.settle_down()
    await app.ring("people", 1, forced=True)
    await app.settle_down()
    assert dict(app.people.calls[-1][0].fields) == {"Name": "Ada", "Streak": 1, "Ratio": 10}


async def _lane(app: App, lane: str) -> dict[str, object] | None:
    row = (await app.outbox("people")).get("1")
    return row if row is not None and row["lane"] == lane and row["claimed_by"] is None else None
