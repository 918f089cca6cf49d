"""The sweep finds what differs, both ways, and marks nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from cdc.errors import ProfileError
from cdc.repair.sweep import Sweep, sweep_feed
from cdc.routing.feeds import Feed, load_profile
from cdc.state.gaps import begin_sweep, mark_swept
from tests.conftest import Connect
from tests.support.postgres import Database

KEY = b"k" * 32
Sweeping = Callable[..., Awaitable[Sweep]]


@pytest.fixture
def feed() -> Feed:
    return load_profile("core").feeds["contacts"]


@pytest.fixture
async def sweep(database: Database, connect: Connect, feed: Feed) -> Sweeping:
    database.apply_profile("core", sample=True)
    database.apply_state()
    source, state = await connect(), await connect()
    await source.execute("set time zone 'UTC'")

    async def run(**options: bool) -> Sweep:
        return await sweep_feed(source, state, feed, KEY, **options)

    return run


def delivered(database: Database) -> int:
    """Let the ledger say that everything was delivered as it is."""
    database.execute(
        """
        set time zone 'UTC';
        insert into cdc.ledger (feed, record_id, key, crm_id, state, row_hash)
        select 'contacts', v.user_id, v.user_id, 'crm', 'sent',
               sha256(repeat('k', 32)::bytea || convert_to(to_jsonb(v)::text, 'UTF8'))
        from cdc.contacts v
        """
    )
    return int(database.execute("select count(*) from cdc.ledger")[0][0])


def marked(database: Database) -> set[str]:
    rows = database.execute("select key from cdc.outbox where feed = 'contacts' and lane = 'bulk'")
    return {row[0] for row in rows}


def numbers(found: Sweep) -> tuple[int, int, int, int]:
    return found.compared, found.missing, found.changed, found.gone


async def test_an_empty_ledger_misses_everybody(database: Database, sweep: Sweeping) -> None:
    everybody = {str(row[0]) for row in database.execute("select user_id from cdc.contacts")}

    found = await sweep()

    assert numbers(found) == (len(everybody), len(everybody), 0, 0)
    assert marked(database) == everybody


async def test_nothing_is_marked_when_nothing_differs(database: Database, sweep: Sweeping) -> None:
    count = delivered(database)
    assert numbers(await sweep()) == (count, 0, 0, 0)
    assert marked(database) == set()


async def test_a_change_a_newcomer_and_somebody_who_left_are_marked(database: Database, sweep: Sweeping) -> None:
    count = delivered(database)
    keys = [row[0] for row in database.execute("select key from cdc.ledger order by key limit 3")]
    changed, missing, gone = keys
    database.execute("update public.users set first_name = 'Zora' where id = %s", [changed])
    database.execute("delete from cdc.ledger where key = %s", [missing])
    database.execute("update public.users set deletion_status = 'pending' where id = %s", [gone])

    found = await sweep()

    assert numbers(found) == (count, 1, 1, 1)
    assert marked(database) == set(keys)


async def test_a_dry_run_counts_and_marks_nothing(database: Database, sweep: Sweeping) -> None:
    assert (await sweep(dry_run=True)).missing > 0
    assert marked(database) == set()


async def test_force_marks_what_is_equal_and_what_is_parked(database: Database, sweep: Sweeping) -> None:
    count = delivered(database)
    key = database.execute("select key from cdc.ledger order by key limit 1")[0][0]
    database.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, parked_at, reason)"
        " values ('contacts', %s, 'live', now(), now(), now(), 'INVALID_VALUE')",
        [key],
    )
    database.execute("update public.users set first_name = 'Zora' where id = %s", [key])

    assert (await sweep()).changed == 1
    assert database.execute("select parked_at is not null from cdc.outbox where key = %s", [key])[0][0]

    await sweep(forced=True)

    assert database.execute("select count(*) from cdc.outbox where forced and parked_at is null")[0][0] == count


async def test_a_view_that_cannot_be_read_is_named_without_its_values(
    database: Database, sweep: Sweeping, connect: Connect
) -> None:
    database.execute(
        "create or replace function cdc.role_label(role text) returns text"
        " language sql return (role || 'x')::integer::text"
    )
    with pytest.raises(ProfileError, match=r"feed contacts: view cdc\.contacts can't be read: InvalidText") as caught:
        await sweep()
    assert "student" not in str(caught.value)
    assert marked(database) == set()


async def test_a_sweep_closes_the_gaps_of_its_slot(database: Database, connect: Connect) -> None:
    database.apply_state()
    database.execute(
        "insert into cdc.gap (slot, cause, from_lsn, to_lsn)"
        " values ('ours', 'x', '0/1', '0/2'), ('ours', 'endless', '0/1', null), ('other', 'x', '0/1', '0/2')"
    )
    database.execute("insert into cdc.position (slot, system_id, timeline, lsn) values ('ours', '1', 1, '0/1')")

    found = {"contacts": {"missing": 1, "changed": 2, "gone": 3}}
    closed = await mark_swept(await connect(), "ours", 1_000, found)

    open_gaps = database.execute("select slot, cause from cdc.gap where repaired_at is null order by slot")
    assert open_gaps == [("other", "x"), ("ours", "endless")]
    assert database.execute("select id, found from cdc.gap where repaired_at is not null") == [(closed[0], found)]
    assert database.execute("select swept_at is not null from cdc.position")[0][0]


async def test_a_gap_that_comes_up_during_a_sweep_stays_open(database: Database, connect: Connect) -> None:
    database.apply_state()
    database.execute("insert into cdc.position (slot, system_id, timeline, lsn) values ('ours', '1', 1, '0/1')")
    database.execute("insert into cdc.gap (slot, cause, from_lsn, to_lsn) values ('ours', 'before', '0/1', '0/2')")
    state = await connect()
    owed = await begin_sweep(state, "ours")
    database.execute("insert into cdc.gap (slot, cause, from_lsn, to_lsn) values ('ours', 'meanwhile', '0/2', '0/3')")

    await mark_swept(state, "ours", owed.last_gap, {})

    assert database.execute("select cause from cdc.gap where repaired_at is null") == [("meanwhile",)]
    assert database.execute("select swept_at is null from cdc.position")[0][0]


async def test_parked_keys_are_tried_again_only_if_their_data_may_have_changed_unheard(
    database: Database, sweep: Sweeping
) -> None:
    keys = [row[0] for row in database.execute("select user_id::text from cdc.contacts order by 1 limit 2")]
    for key, reason in zip(keys, ("FIELD_TOO_LONG", "HELD_BY_BREAKER"), strict=True):
        database.execute(
            "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, parked_at, reason) "
            "values ('contacts', %s, 'live', now(), now(), now(), %s)",
            [key, reason],
        )

    def parked() -> list[tuple[str]]:
        return database.execute("select key from cdc.outbox where parked_at is not null order by key")

    await sweep()
    assert parked() == [(keys[0],), (keys[1],)]
    await sweep(with_parked=True)
    assert parked() == [(keys[1],)]


async def test_an_event_without_its_parent_is_owed_another_one(
    database: Database, connect: Connect, sweep: Sweeping
) -> None:
    events = load_profile("core").feeds["quest_completions"]
    database.execute(
        "insert into cdc.ledger (feed, record_id, key, parent_id, crm_id, state) "
        "select 'quest_completions', event_id, enrolment_id, user_id, 'crm', 'sent' from cdc.quest_completions"
    )
    database.execute("update cdc.ledger set parent_id = null where record_id = (select min(record_id) from cdc.ledger)")

    found = await sweep_feed(await connect(), await connect(), events, KEY)

    assert (found.missing, found.changed, found.gone) == (0, 1, 0)
