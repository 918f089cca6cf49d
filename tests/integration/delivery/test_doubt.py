"""An answer that was lost, and a value that meanwhile went back to what the ledger remembers."""

from __future__ import annotations

import asyncio

from sinks.errors import SinkError
from sinks.reasons import Reason
from tests.integration.delivery.conftest import App
from tests.support.sinks import Fault
from tests.support.waiting import until

LOST = SinkError(Reason.OUTCOME_UNKNOWN, "timeout", maybe_applied=True)


async def _lose_an_answer(app: App, statement: str) -> None:
    """Change the only person; the sink does as it is asked and its answer is lost. Nobody tries again yet."""
    hang = asyncio.Event()
    app.people.faults = [Fault(hang=hang, after=LOST)]
    calls = len(app.people.calls)
    async with app.working():
        await app.execute(statement)
        await app.ring("people", 1)
        await until(lambda: len(app.people.calls) > calls, what="the call is under way")
        await app.execute("insert into cdc.pause values ('people', 'infinity', 'me')")
        hang.set()
        await until(lambda: _is_unclaimed(app), what="the loss is recorded")


async def _is_unclaimed(app: App) -> bool:
    return (await app.outbox("people"))["1"]["claimed_by"] is None


async def _change_back(app: App, statement: str) -> None:
    await app.execute(statement)
    await app.ring("people", 1)
    await app.execute("delete from cdc.pause")
    await app.settle_down()


async def test_a_value_that_goes_back_after_a_lost_answer_is_sent_again(app: App) -> None:
    await app.add_person(1, "Ada")
    await app.settle_down()

    await _lose_an_answer(app, "update people set name = 'Bea'")
    assert app.people.fields()["1"]["Name"] == "Bea"
    await _change_back(app, "update people set name = 'Ada'")

    assert app.people.fields()["1"]["Name"] == "Ada"


async def test_who_comes_back_after_a_lost_withdrawal_is_made_anew_with_all_that_hangs_on_them(app: App) -> None:
    await app.add_person(1, "Ada")
    await app.add_award(7, person=1)
    await app.settle_down()

    await _lose_an_answer(app, "update people set visible = false")
    assert app.people.fields() == {}
    await _change_back(app, "update people set visible = true")

    assert app.people.fields()["1"] == {"Name": "Ada", "Streak": None, "Ratio": 10}
    [person], [award] = app.people.of("1"), app.awards.of("award-7")
    assert award.parent_crm_id == person.crm_id


async def test_an_answer_that_came_leaves_no_doubt_behind(app: App) -> None:
    await app.add_person(1, "Ada")
    await app.settle_down()
    await app.execute("update people set name = 'Bea'")
    await app.ring("people", 1)
    await app.settle_down()
    calls = len(app.people.calls)

    await app.ring("people", 1)
    await app.settle_down()

    assert len(app.people.calls) == calls
    assert (await app.ledger("people"))["1"]["row_hash"] is not None
