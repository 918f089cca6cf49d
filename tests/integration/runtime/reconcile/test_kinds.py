"""Every way in which a record can differ, seeded and found: exactly those, while the application writes."""

from __future__ import annotations

import asyncio

from tests.support.reconciling import Ground, found
from tests.support.waiting import until


async def test_nothing_differs_after_a_backfill(ground: Ground) -> None:
    spent = ground.credits()

    outcome = await ground.compare()

    run = outcome.report.run
    assert (run.verdict, run.complete, run.compared, run.differing, outcome.open) == ("clean", True, 65, 0, 0)
    assert run.barrier_lsn is not None
    assert run.credits_used == ground.credits() - spent == sum(outcome.report.spent.values())
    assert run.credits_planned >= run.credits_used
    assert outcome.report.spent["scan"] == 2, "one page of each module"
    assert outcome.folder is None


async def test_each_kind_is_found_and_nothing_else_while_the_application_writes(ground: Ground) -> None:
    await ground.compare()
    ground.lose("p000001")
    ground.silently("update people set xp = 77 where id = 'p000002'")
    ground.edit("p000003", Total_XP=5000)
    ground.edit("p000004", Last_Name="Changed there")
    ground.silently("update people set name = 'Changed here' where id = 'p000004'")
    orphan = ground.type_in(Last_Name="Who", External_ID="p999999")
    ground.type_in(Last_Name="Odd", External_ID="who@example.org")
    ground.silently("delete from people where id = 'p000005'")
    ground.bin("p000006")
    ground.edit("p000007", External_ID=None)
    typed = ground.type_in(Last_Name="Eight", Email="P8@example.org")
    ground.silently("update people set consent = false where id = 'p000009'")
    ground.sql("update cdc.ledger set field_hashes = '{}' where record_id = 'p000010'")
    ground.edit("p000010", Total_XP=1)
    ground.silently("insert into people (id, name, email) values ('p000000', 'Nobody heard', 'new@example.org')")
    by_hand = ground.type_in(Last_Name="New", Email="new@example.org")
    ground.edit("p000011", Phone="their own")
    stop = asyncio.Event()
    writing = asyncio.create_task(_write(ground, stop))
    try:
        outcomes = [await ground.compare() for _ in range(3)]
    finally:
        stop.set()
        written = await writing

    assert written > 10
    for outcome in outcomes:
        by_kind = found(outcome)
        assert by_kind == {
            "missing": {"p000001", "p000000"},
            "stale": {"p000002"},
            "edited_in_crm": {"p000003"},
            "conflict": {"p000004"},
            "orphan": {"p999999", "(15 characters)"},
            "deleted_source": {"p000005"},
            "recycled": {"p000006"},
            "unlinked": {"p000007", by_hand},
            "duplicate": {"p000008"},
            "excluded": {"p000009"},
            "unknown": {"p000010"},
        }
        assert outcome.report.run.complete
        [duplicate] = [one for one in outcome.report.differences if one.kind == "duplicate"]
        assert set(duplicate.crm_ids) == {ground.crm_id("p000008"), typed}
        [plan] = outcome.report.merges
        assert (plan.master, plan.others, plan.calls) == (ground.crm_id("p000008"), [typed], 1)
        [people] = [feed for feed in outcome.report.feeds if feed.feed == "people"]
        assert people.theirs == {"Phone": 55}, "of everybody who is on both sides; never sent, and no difference"
        assert people.fields == {"Total_XP": 3, "Last_Name": 1}
        withheld = {one.record_id: one.why for one in outcome.report.differences if one.why}
        assert withheld.keys() == {"p000000", "p000008"}, "making it would double what somebody typed in"
    assert orphan in ground.contacts.records


async def _write(ground: Ground, stop: asyncio.Event) -> int:
    """Change people from 30 on, make some and remove some, until told to stop."""
    count = 0
    while not stop.is_set():
        who = f"p{30 + count % 30:06}"
        await asyncio.to_thread(ground.sql, "update people set xp = xp + 1 where id = %s", [who])
        new = f"q{count:06}"
        await asyncio.to_thread(ground.sql, "insert into people (id, name) values (%s, 'New')", [new])
        if count % 3 == 0:
            await asyncio.to_thread(ground.sql, "delete from people where id = %s", [new])
        count += 1
        await asyncio.sleep(0.01)
    return count


async def test_what_capture_has_yet_to_hear_of_is_waited_for(ground: Ground) -> None:
    held_up = "select 1 from pg_stat_activity where datname = current_database() and state = 'idle in transaction'"
    waits = f"{held_up} and query like '%pg_current_wal_insert_lsn%'"
    async with ground.connections.state.connection() as conn, conn.transaction():
        await conn.execute("select from cdc.position for update")  # capture can't store
        ground.sql("update people set xp = 999 where id = 'p000020'")
        comparing = asyncio.create_task(ground.compare())
        await until(lambda: ground.sql(waits), what="the snapshot is taken, and capture waited for")
    outcome = await comparing

    assert found(outcome) == {}
    assert outcome.report.run.barrier_lsn is not None


async def test_several_records_for_one_of_ours(ground: Ground) -> None:
    await ground.compare()
    same_id = ground.type_in(Last_Name="Twelve", External_ID="p000012", Mobile="1")
    ground.edit("p000013", External_ID=None)
    beside = ground.type_in(Last_Name="Thirteen", External_ID="p000013")
    old = ground.crm_id("p000014")
    ground.lose("p000014")
    merged = ground.type_in(Last_Name="Fourteen", External_ID="p000014")

    outcome = await ground.compare(fix=True)

    assert found(outcome) == {"duplicate": {"p000012", "p000013"}, "edited_in_crm": {"p000014"}}
    groups = {one.record_id: set(one.crm_ids) for one in outcome.report.differences if one.kind == "duplicate"}
    assert groups == {
        "p000012": {ground.crm_id("p000012"), same_id},
        "p000013": {ground.crm_id("p000013"), beside},
    }
    plans = {plan.record_id: plan for plan in outcome.report.merges}
    assert plans["p000012"].master == ground.crm_id("p000012")
    assert plans["p000012"].survives["Last_Name"] == ground.crm_id("p000012")
    assert (plans["p000013"].master, plans["p000013"].because) == (
        ground.crm_id("p000013"),
        "it is the one in our ledger",
    )
    assert not any(plan.is_suggestion for plan in plans.values())
    assert ground.crm_id("p000014") == merged != old, "sending it anew tells the ledger where it is"
    assert ground.contacts.records[merged]["Last_Name"] == "Name 14"
    assert {same_id, beside} <= ground.contacts.records.keys(), "nobody merges by himself"
