"""What is put right by itself, what never is, and that nothing is written after a scan that wasn't whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cdc.errors import ConfigError, StateError
from cdc.repair.reconcile.plan import Plan, sealed
from cdc.runtime.reconcile.applying import apply_plan
from cdc.runtime.reconcile.daily import reconcile_daily
from cdc.runtime.reconcile.files import PLAN
from cdc.runtime.reconcile.run import Outcome
from cdc.state import reconciles
from tests.support.reconciling import Ground, found

_OURS = frozenset({"fields", "count", "coql", "deleted"})
"""Kinds of call that comparing makes, as the simulator names them."""


def plan_in(outcome: Outcome) -> Path:
    assert outcome.folder is not None
    return outcome.folder / PLAN


async def test_what_may_be_put_right_is_and_the_next_run_finds_nothing(ground: Ground) -> None:
    await ground.compare()
    ground.edit("p000003", Total_XP=5000, Phone="their own")
    ground.lose("p000004")
    ground.type_in(Last_Name="Who", External_ID="p999999")
    last = ground.crm.simulation.calls.count

    outcome = await ground.compare(fix=True)

    run = outcome.report.run
    assert (run.fixed, run.remaining, outcome.open) == (2, 0, 1), "an orphan is nobody's to delete"
    assert (run.verdict, run.held_back) == ("differs", ())
    held = ground.held("p000003")
    assert (held["Total_XP"], held["Phone"]) == (3, "their own")
    assert "Phone" not in ground.held("p000004")
    ours = [call for call in ground.crm.simulation.calls.select(after=last) if call.kind in _OURS]
    assert run.credits_used == sum(call.price for call in ours)
    assert outcome.report.spent["check"] == 2, "a look before and one after"
    judged = ground.sql("select distinct judged from cdc.zoho_sync_log where judged is not null")
    assert judged == [("unannounced",)], "the breaker judges it like any other rewrite"

    again = await ground.compare(fix=True)

    assert found(again) == {"orphan": {"p999999"}}
    assert again.report.run.fixed == 0


async def test_the_first_run_puts_nothing_right_and_leaves_a_plan(ground: Ground, tmp_path: Path) -> None:
    ground.edit("p000003", Total_XP=5000)
    before = ground.writes()

    outcome = await ground.compare(fix=True, out=tmp_path)

    assert outcome.report.run.verdict == "held"
    [why] = outcome.report.run.held_back
    assert "no complete run before" in why
    assert ground.writes() == before
    plan = json.loads(plan_in(outcome).read_text())
    assert [(fix["record_id"], fix["kind"], fix["fields"]) for fix in plan["fixes"]] == [
        ("p000003", "edited_in_crm", ["Total_XP"])
    ]
    assert "5000" not in plan_in(outcome).read_text()


async def test_too_much_waits_for_a_person_whose_plan_is_then_carried_out(ground: Ground, tmp_path: Path) -> None:
    await ground.compare()
    for n in range(10, 16):
        ground.edit(f"p{n:06}", Total_XP=5000)
    outcome = await ground.compare(fix=True, out=tmp_path)
    assert outcome.report.run.verdict == "held"
    assert [words for words in outcome.report.run.held_back if "is too many" in words]
    ground.edit("p000010", Total_XP=10)  # somebody has put it right meanwhile

    async with ground.site() as site:
        plan, fixed = await apply_plan(site, plan_in(outcome), delivery_seconds=20)

    assert (len(plan.fixes), len(fixed.marked), fixed.remaining) == (6, 5, [])
    assert [(left.fix.record_id, left.why) for left in fixed.left] == [("p000010", "it doesn't differ any longer")]
    assert (await ground.compare()).report.run.verdict == "clean"
    assert [row[0] for row in ground.sql("select kind from cdc.reconcile_run order by id")] == [
        "report", "fix", "apply", "report",
    ]  # fmt: skip


async def test_a_plan_that_is_old_or_changed_or_of_other_views_is_refused(ground: Ground, tmp_path: Path) -> None:
    ground.edit("p000003", Total_XP=5000)
    path = plan_in(await ground.compare(out=tmp_path))
    before, text = ground.writes(), path.read_text()

    async def refused(words: str) -> None:
        async with ground.site() as site:
            with pytest.raises(ConfigError, match=words):
                await apply_plan(site, path)

    body = json.loads(text)
    body["fixes"][0]["record_id"] = body["fixes"][0]["key"] = "p000005"
    path.write_text(json.dumps(body))
    await refused("was changed since it was made")
    plan = Plan.model_validate({name: value for name, value in json.loads(text).items() if name != "hash"})
    yesterday = plan.model_copy(update={"made_at": datetime.now(UTC) - timedelta(hours=24, minutes=1)})
    path.write_text(sealed(yesterday, ground.connections.hash_key))
    await refused("a plan holds for 24 hours")
    path.write_text(text)
    ground.sql('create or replace view cdc.events as select id as event_key, \'event-\' || id as event_id, person,'
               ' upper(title) as "Subject" from events')  # fmt: skip
    await refused("before feeds or views changed")
    path.write_text("no plan")
    await refused("isn't JSON")
    assert ground.writes() == before


async def test_a_failure_at_any_call_of_the_scan_writes_nothing(ground: Ground, tmp_path: Path) -> None:
    await ground.compare()
    ground.edit("p000003", Total_XP=5000)
    ground.lose("p000004")
    before, calls = ground.writes(), 0
    while True:
        ground.break_("status", status=500, skip=calls, times=1)
        outcome = await ground.compare(fix=True, out=tmp_path)
        if not ground.crm.simulation.faults.as_json()[0]["struck"]:
            break
        ground.mend()
        if "check" in outcome.report.spent and outcome.report.run.complete:
            assert outcome.report.run.fixed in (0, 2), "a look before marking failed, or the one after it"
            break
        assert (outcome.report.run.verdict, outcome.report.planned) == ("incomplete", 0)
        assert not plan_in(outcome).exists()
        assert "missing" not in found(outcome) or calls > 3, "what wasn't read isn't missing"
        assert ground.writes() == before
        calls += 1
    assert calls >= 8, "fields, count, page and count of two feeds"


async def test_a_page_that_is_cut_short_is_noticed_by_the_counts(ground: Ground) -> None:
    await ground.compare()
    ground.edit("p000003", Total_XP=5000)
    before = ground.writes()
    ground.break_("short_answer", kind="coql", times=1)

    outcome = await ground.compare(fix=True)

    assert outcome.report.run.verdict == "incomplete"
    assert "missing" not in found(outcome)
    assert found(outcome)["edited_in_crm"] == {"p000003"}
    assert ground.writes() == before


async def test_who_is_put_right_night_after_night_is_left_alone(ground: Ground) -> None:
    await ground.compare()
    ground.edit("p000003", Total_XP=5000)
    assert (await ground.compare(fix=True)).report.run.fixed == 1
    ground.sql("update cdc.reconcile_fix set nights = nights + 1, last_night = last_night - 1")  # two nights before
    ground.edit("p000003", Total_XP=6000)
    assert (await ground.compare(fix=True)).report.run.fixed == 1
    ground.sql("update cdc.reconcile_fix set last_night = last_night - 1")
    ground.edit("p000003", Total_XP=9000)

    outcome = await ground.compare(fix=True)

    [difference] = outcome.report.differences
    assert difference.why.startswith("flapping")
    assert (outcome.report.run.fixed, ground.held("p000003")["Total_XP"]) == (0, 9000)
    assert ground.sql("select nights, last_night = (now() at time zone 'UTC')::date from cdc.reconcile_fix") == [
        (3, True)
    ]


async def test_what_is_parked_or_paused_or_not_captured_stays(ground: Ground) -> None:
    await ground.compare()
    ground.edit("p000003", Total_XP=5000)
    ground.sql(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, parked_at, reason)"
        " values ('people', 'p000003', 'live', now(), now(), now(), 'FIELD_TOO_LONG')"
    )
    outcome = await ground.compare(fix=True)
    [difference] = outcome.report.differences
    assert (difference.why, outcome.report.run.fixed) == ("parked: FIELD_TOO_LONG", 0)
    ground.sql("delete from cdc.outbox")

    ground.sql("insert into cdc.pause (scope, paused_until, actor) values ('people', 'infinity', 'ada')")
    outcome = await ground.compare(fix=True)
    assert outcome.report.run.held_back == ("delivery is paused: people",)
    ground.sql("delete from cdc.pause")

    ground.sql("update cdc.position set lsn = '0/1'")  # as if capture were far behind
    outcome = await ground.compare(fix=True, barrier_seconds=0)
    assert [words for words in outcome.report.run.held_back if "hasn't caught up" in words]
    assert outcome.report.run.barrier_lsn is None
    assert ground.held("p000003")["Total_XP"] == 5000


async def test_only_one_at_a_time(ground: Ground) -> None:
    async with ground.connections.state.connection() as conn, reconciles.alone(conn, ground.settings.cdc_slot):
        with pytest.raises(StateError, match="another process is reconciling"):
            await ground.compare()


async def test_every_night_by_itself(ground: Ground, tmp_path: Path) -> None:
    settings = ground.settings.model_copy(update={"cdc_report_dir": tmp_path})
    ancient = tmp_path / "2020-01-01T03-00-00Z"
    ancient.mkdir()
    (ancient / "report.md").write_text("old")
    (tmp_path / "2020-01-01").mkdir()
    ground.edit("p000003", Total_XP=5000)
    run = await reconcile_daily(ground.environment, settings, ground.profile, ground.connections)
    assert (run.verdict, run.kind, run.requested_by) == ("differs", "report", "schedule")

    fixing = settings.model_copy(update={"cdc_reconcile_fix": True})
    run = await reconcile_daily(ground.environment, fixing, ground.profile, ground.connections)

    assert (run.verdict, run.fixed) == ("fixed", 1)
    assert (tmp_path / "2020-01-01").exists(), "what isn't ours stays"
    assert not ancient.exists()
    async with ground.connections.state.connection() as conn:
        last = await reconciles.last_run(conn)
        assert last is not None
        assert (last.verdict, last.total("edited_in_crm")) == ("fixed", 1)
        assert [one.verdict for one in await reconciles.runs(conn, 10)] == ["fixed", "differs"]
