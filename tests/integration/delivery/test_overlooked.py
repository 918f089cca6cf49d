"""What hangs on a person came up while the person had left the view, and they were back before anybody noticed."""

from __future__ import annotations

import pytest

from tests.integration.delivery.conftest import App
from tests.support.waiting import until

_GATED = """
create or replace view v_awards as
    select a.id, 'award-' || a.id as event_id, a.person, a.title as "Title"
    from awards a join people p on p.id = a.person where p.visible
"""


@pytest.fixture
async def gated(app: App) -> App:
    await app.execute(_GATED)
    await app.add_person(1, "Ada")
    await app.settle_down()
    return app


async def _come_back(app: App) -> None:
    await app.execute("update people set visible = true")
    await app.ring("people", 1)
    await app.settle_down()


async def test_an_event_that_nobody_saw_is_sent_once_the_person_is_back(gated: App) -> None:
    await gated.execute("update people set visible = false")
    await gated.add_award(7, person=1)
    await gated.settle_down()
    assert gated.awards.of("award-7") == []

    await _come_back(gated)

    assert len(gated.awards.of("award-7")) == 1
    assert [held.fields["Name"] for held in gated.people.of("1")] == ["Ada"]


async def test_a_key_that_another_worker_may_have_read_too_early_is_marked_anew(gated: App) -> None:
    await gated.execute("insert into awards values (7, 1, 'Title')")
    await gated.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, claimed_by, claimed_until)"
        " values ('awards', '7', 'live', now(), now(), 'another', now() + interval '1 minute')"
    )
    claimed = (await gated.outbox("awards"))["7"]["generation"]

    async with gated.working():
        await gated.ring("people", 1)
        await until(lambda: _is_settled(gated), what="the person is settled")

    assert (await gated.outbox("awards"))["7"]["generation"] > claimed


async def _is_settled(app: App) -> bool:
    return not await app.outbox("people")


async def test_what_is_parked_stays_parked_when_its_person_changes(gated: App) -> None:
    await gated.execute("insert into awards values (7, 1, 'Title')")
    await gated.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, parked_at, reason)"
        " values ('awards', '7', 'live', now(), now(), now(), 'INVALID_VALUE')"
    )

    await _come_back(gated)

    assert (await gated.outbox("awards"))["7"]["parked_at"] is not None
    assert gated.awards.of("award-7") == []
