"""Bulk jobs on a real outbox and a simulated CRM: when they are made, and what becomes of every key."""

from __future__ import annotations

import asyncio

import pytest

from cdc.delivery.bulkpump import BulkPump
from cdc.delivery.pump import Pump
from cdc.routing.feeds import Lane
from cdc.state.backlog import marking
from tests.integration.delivery.backfill import Backfill, MakeBackfill
from tests.support.waiting import until


async def test_many_due_keys_go_in_one_job(backfill: Backfill) -> None:
    backfill.people(*range(10), email="somebody@example.org", xp=3)
    await backfill.ring(*range(10))
    await backfill.settle()
    assert backfill.jobs() == ["done"]
    assert (len(backfill.calls("bulk_write")), backfill.calls("upsert")) == (1, [])
    assert backfill.in_step()
    assert backfill.database.execute("select created, updated, refused, records from cdc.bulk_job") == [(10, 0, 0, 10)]
    assert backfill.database.execute("select count(*) from cdc.bulk_item") == [(0,)]


async def test_few_due_keys_go_by_ordinary_calls(backfill: Backfill) -> None:
    backfill.people(*range(3))
    await backfill.ring(*range(3))
    await backfill.settle()
    assert (backfill.jobs(), len(backfill.calls("upsert"))) == ([], 1)
    assert backfill.in_step()


async def test_live_keys_never_go_in_a_job(backfill: Backfill) -> None:
    backfill.people(*range(10))
    await backfill.ring(*range(10), lane=Lane.LIVE)
    await backfill.settle()
    assert backfill.jobs() == []
    assert backfill.in_step()


async def test_full_jobs_first_and_a_small_rest_by_ordinary_calls(backfill: Backfill) -> None:
    backfill.people(*range(11))
    await backfill.ring(*range(11))
    await backfill.settle(backfill.worker(rows=4))
    assert backfill.jobs() == ["done", "done"]
    assert sum(call.records for call in backfill.calls("upsert")) == 3
    assert backfill.in_step()


async def test_nothing_is_sent_again_when_nothing_has_changed(backfill: Backfill) -> None:
    backfill.people(*range(6), xp=1)
    await backfill.ring(*range(6))
    await backfill.settle()
    await backfill.ring(*range(6))
    await backfill.settle()
    assert backfill.jobs() == ["done", "dropped"]
    assert (len(backfill.calls("bulk_write")), backfill.calls("upsert")) == (1, [])


async def test_an_update_carries_all_fields_and_an_empty_cell_clears(backfill: Backfill) -> None:
    backfill.people(*range(6), email="somebody@example.org", xp=1)
    await backfill.ring(*range(6))
    await backfill.settle()
    backfill.people(*range(6), email=None, xp=2)
    await backfill.ring(*range(6))
    await backfill.settle()
    assert backfill.jobs() == ["done", "done"]
    assert backfill.contacts()["p1"]["Email"] is None
    assert backfill.in_step()


async def test_withdrawals_and_unfit_texts_go_the_ordinary_way(backfill: Backfill) -> None:
    backfill.people(*range(10))
    await backfill.ring(*range(10))
    await backfill.settle()
    backfill.people(*range(10), xp=9)
    backfill.people(0, visible=False)
    backfill.people(1, name="Two\nlines")
    await backfill.ring(*range(10))
    await backfill.settle()
    assert backfill.jobs() == ["done", "done"]
    assert (len(backfill.calls("delete")), sum(call.records for call in backfill.calls("upsert"))) == (1, 1)
    assert backfill.in_step()


async def test_a_job_of_withdrawals_alone_is_no_job(backfill: Backfill) -> None:
    backfill.people(*range(8))
    await backfill.ring(*range(8))
    await backfill.settle()
    backfill.people(*range(8), visible=False)
    await backfill.ring(*range(8))
    await backfill.settle()
    assert backfill.jobs() == ["done", "dropped"]
    assert backfill.contacts() == {}


async def test_what_is_in_doubt_stays_so_when_a_job_becomes_too_small(backfill: Backfill) -> None:
    backfill.people(*range(6))
    await backfill.ring(*range(6))
    await backfill.settle()
    backfill.people(8)
    backfill.break_("apply_then_lose", kind="upsert")
    await backfill.ring(*range(6), 8)
    async with backfill.working():
        await backfill.until_job("dropped")
        assert backfill.ledger()["p8"]["state"] == "sending"
        backfill.people(8, visible=False)
        await backfill.ring(8)
        backfill.mend()
        await until(backfill.is_empty, 30)
    assert "p8" not in backfill.contacts()


async def test_refused_rows_park_alone(backfill: Backfill) -> None:
    backfill.people(*range(10))
    backfill.people(3, name=None)
    backfill.people(4, email="no address")
    await backfill.ring(*range(10))
    async with backfill.working():
        await until(lambda: backfill.outbox().keys() == {"p3", "p4"}, 20)
    parked = {key: row["reason"] for key, row in backfill.outbox().items() if row["parked_at"]}
    assert parked == {"p3": "REQUIRED_FIELD_MISSING", "p4": "INVALID_VALUE"}
    assert len(backfill.contacts()) == 8
    assert {key for key, entry in backfill.ledger().items() if entry["state"] == "sent"} == backfill.contacts().keys()


async def test_rows_that_were_not_processed_are_tried_again(backfill: Backfill) -> None:
    backfill.people(*range(8))
    backfill.break_("cut_job", kind="bulk_write", times=1)
    await backfill.ring(*range(8))
    async with backfill.working():
        await backfill.until_job("done")
        await until(lambda: len(backfill.outbox()) == 4, 20)
        assert {row["reason"] for row in backfill.outbox().values()} == {"BAD_ANSWER"}
        backfill.database.execute("update cdc.outbox set due_at = now()")
        await until(backfill.is_empty, 20)
    assert backfill.in_step()


async def test_a_key_that_changes_during_the_job_is_sent_after_it(backfill: Backfill) -> None:
    backfill.people(*range(8), xp=1)
    backfill.break_("hold_job", kind="bulk_write")
    await backfill.ring(*range(8))
    async with backfill.working():
        await backfill.until_job("running")
        backfill.people(5, xp=2)
        await backfill.ring(5, lane=Lane.LIVE)
        backfill.people(99, xp=1)
        await backfill.ring(99, lane=Lane.LIVE)
        await until(lambda: "p99" in backfill.contacts(), 20, what="others go on meanwhile")
        assert backfill.outbox()["p5"]["claimed_by"] == "bulk job 1"
        backfill.mend()
        await until(backfill.is_empty, 20)
    history = backfill.simulator.simulation.records.tables["Contacts"].history
    p5 = backfill.contacts()["p5"]["id"]
    assert [change.fields.get("Total_XP") for change in history if change.id == p5] == [1, 2]
    assert backfill.in_step()


async def test_who_leaves_during_the_job_is_withdrawn_after_it(backfill: Backfill) -> None:
    backfill.people(*range(8))
    backfill.break_("hold_job", kind="bulk_write")
    await backfill.ring(*range(8))
    async with backfill.working():
        await backfill.until_job("running")
        backfill.people(5, visible=False)
        await backfill.ring(5, lane=Lane.LIVE)
        backfill.mend()
        await until(backfill.is_empty, 20)
    assert "p5" not in backfill.contacts()
    assert backfill.in_step()


async def test_what_hangs_on_a_new_contact_follows_it(backfill: Backfill) -> None:
    backfill.people(*range(6))
    backfill.database.execute("insert into awards select n, n, 'Title' from generate_series(0, 5) n")
    await backfill.ring(*range(6))
    async with backfill.working():
        await until(lambda: len(backfill.awards.records) == 6, 20)
    ids = {award.record_id: award.parent_crm_id for award in backfill.awards.records.values()}
    assert ids == {f"award-{n}": backfill.contacts()[f"p{n}"]["id"] for n in range(6)}


async def test_a_failed_job_is_not_paid_for_again_and_ordinary_calls_take_over(backfill: Backfill) -> None:
    backfill.people(*range(8))
    backfill.break_("fail_job", kind="bulk_write")
    await backfill.ring(*range(8))
    await backfill.settle()
    assert backfill.jobs() == ["failed"]
    assert (len(backfill.calls("bulk_write")), len(backfill.calls("upsert"))) == (1, 1)
    assert backfill.in_step()


async def test_a_result_that_is_gone_leaves_nothing_in_doubt(backfill: Backfill) -> None:
    backfill.people(*range(8), xp=1)
    await backfill.ring(*range(8))
    await backfill.settle()
    backfill.people(*range(8), xp=2)
    body = {"code": "RESOURCE_NOT_FOUND", "status": "error", "message": "gone", "details": {}}
    backfill.break_("status", kind="bulk_result", status=400, body=body)
    await backfill.ring(*range(8))
    async with backfill.working():
        await backfill.until_job("failed")
        backfill.people(*range(8), xp=1)  # back to what the ledger knew before; the CRM holds 2
        await backfill.ring(*range(8))
        await until(backfill.is_empty, 20)
    assert backfill.in_step()


@pytest.mark.parametrize("scopes", [("ZohoCRM.modules.ALL", "ZohoCRM.settings.fields.READ", "ZohoCRM.org.READ")])
async def test_a_token_without_the_scope_costs_nothing_and_ordinary_calls_take_over(
    make_backfill: MakeBackfill, scopes: tuple[str, ...]
) -> None:
    backfill = await make_backfill(scopes=scopes)
    backfill.people(*range(8))
    await backfill.ring(*range(8))
    await backfill.settle()
    assert backfill.database.execute("select state, reason from cdc.bulk_job") == [("failed", "SCOPE_MISSING")]
    assert backfill.calls("bulk_write") == []
    assert backfill.in_step()


async def test_a_crm_that_is_down_pauses_the_family_and_the_job_is_made_anew(backfill: Backfill) -> None:
    backfill.people(*range(8))
    backfill.break_("status", kind="upload", status=503, times=1)
    await backfill.ring(*range(8))
    async with backfill.working():
        await backfill.until_job("dropped")
        await until(backfill.is_empty, 20)
    assert backfill.in_step()
    assert backfill.database.execute("select reason from cdc.bulk_job order by id limit 1") == [("UNAVAILABLE",)]


async def test_a_lost_answer_of_the_start_is_asked_for_again(backfill: Backfill) -> None:
    backfill.people(*range(8))
    backfill.break_("apply_then_lose", kind="bulk_write", times=1)
    await backfill.ring(*range(8))
    await backfill.settle(backfill.worker(call_seconds=0.5))
    assert backfill.database.execute("select state, starts from cdc.bulk_job") == [("done", 2)]
    assert len(backfill.calls("upload")) == 1
    assert backfill.in_step()


async def test_starts_that_are_never_answered_end_in_ordinary_calls(backfill: Backfill) -> None:
    backfill.people(*range(8))
    backfill.break_("apply_then_lose", kind="bulk_write")
    await backfill.ring(*range(8))
    await backfill.settle(backfill.worker(call_seconds=0.2, starts=2))
    assert backfill.database.execute("select state, starts from cdc.bulk_job") == [("failed", 2)]
    assert len(backfill.calls("bulk_write")) == 2
    assert backfill.in_step()


async def test_a_job_that_does_not_end_is_given_up(backfill: Backfill) -> None:
    backfill.people(*range(8))
    backfill.break_("hold_job", kind="bulk_write")
    await backfill.ring(*range(8))
    worker = backfill.worker(claim_seconds=4.5, lease_seconds=4.0, call_seconds=1.0, settle_seconds=1.0)
    await backfill.settle(worker)
    assert backfill.database.execute("select state, reason from cdc.bulk_job") == [("failed", "OUTCOME_UNKNOWN")]
    assert backfill.in_step()


async def test_a_job_waits_until_the_lane_can_pay_for_it(backfill: Backfill) -> None:
    spent = 2_300  # of 5,000; the lane may spend 3,000 less 10 %, so 400 are left
    asked = asyncio.Event()

    async def used() -> int:
        asked.set()
        return spent

    backfill.people(*range(8))
    await backfill.ring(*range(8))
    worker = backfill.worker(credits_used=used, credit_limits={"zoho": 5_000}, credit_reserve=500)
    async with backfill.working(worker):
        backfill.people(50)
        await backfill.ring(50, lane=Lane.LIVE)
        await until(lambda: "p50" not in backfill.outbox(), 20, what="live keys go on")
        await asked.wait()
        assert (backfill.calls("bulk_write"), len(backfill.outbox())) == ([], 8)
        spent = 2_200
        await until(backfill.is_empty, 20)
    assert backfill.jobs() == ["done"]


async def test_an_organisation_too_small_for_a_job_goes_by_ordinary_calls(backfill: Backfill) -> None:
    async def used() -> int:
        return 0

    backfill.people(*range(8))
    await backfill.ring(*range(8))
    await backfill.settle(backfill.worker(credits_used=used, credit_limits={"zoho": 800}))
    assert backfill.jobs() == []
    assert backfill.in_step()


async def test_while_a_sweep_marks_nothing_of_the_lane_goes_by_ordinary_calls(backfill: Backfill) -> None:
    backfill.people(*range(10))
    async with backfill.working(), backfill.state.connection() as sweeping:
        async with marking(sweeping, "people"):
            await backfill.ring(*range(3))  # too few for a job, so far
            backfill.people(50)
            await backfill.ring(50, lane=Lane.LIVE)
            await until(lambda: "p50" not in backfill.outbox(), 20, what="live keys go on")
            assert len(backfill.outbox()) == 3
            await backfill.ring(*range(3, 10))
        await until(backfill.is_empty, 20)
    assert (backfill.jobs(), len(backfill.contacts())) == (["done"], 11)
    assert sum(call.records for call in backfill.calls("upsert")) == 1


@pytest.mark.parametrize("limits", [{"job_from": 0}, {"job_from": 9, "rows": 8}], ids=["never", "too many"])
async def test_limits_that_allow_no_job_leave_ordinary_calls(backfill: Backfill, limits: dict[str, int]) -> None:
    backfill.people(*range(12))
    await backfill.ring(*range(12))
    await backfill.settle(backfill.worker(**limits))
    assert backfill.jobs() == []
    assert backfill.in_step()


async def test_a_paused_lane_holds_only_what_is_in_it(backfill: Backfill) -> None:
    await backfill.pause()
    backfill.people(*range(8))
    await backfill.ring(*range(8))
    backfill.people(50)
    await backfill.ring(50, lane=Lane.LIVE)
    async with backfill.working():
        await until(lambda: "p50" not in backfill.outbox(), 20)
        assert (backfill.jobs(), len(backfill.outbox())) == ([], 8)
        await backfill.go_on()
        await until(backfill.is_empty, 20)
    assert backfill.in_step()


async def test_a_job_changes_hands_when_its_worker_stops(backfill: Backfill) -> None:
    backfill.people(*range(8))
    backfill.break_("hold_job", kind="bulk_write")
    await backfill.ring(*range(8))
    async with backfill.working(backfill.worker("w1")):
        await backfill.until_job("running")
    backfill.mend()
    await backfill.settle(backfill.worker("w2"))
    assert len(backfill.calls("bulk_write")) == 1
    assert backfill.in_step()


async def test_a_worker_that_ends_while_settling_leaves_the_rest_to_the_next(backfill: Backfill) -> None:
    backfill.people(*range(40), xp=1)
    await backfill.ring(*range(40))

    def is_half_settled() -> bool:
        return 0 < len(backfill.outbox()) < 40 and backfill.jobs() == ["running"]

    running = asyncio.create_task(backfill.worker("w1", lease_seconds=4.0, call_seconds=1.0).run(asyncio.Event()))
    await until(is_half_settled, 20, what="some of the job is settled", interval=0.001)
    running.cancel()  # as abrupt as it gets inside one process
    await asyncio.gather(running, return_exceptions=True)
    assert backfill.jobs() == ["running"]
    await backfill.settle(backfill.worker("w2"))
    assert backfill.jobs() == ["done"]
    assert len(backfill.calls("bulk_write")) == 1
    assert backfill.calls("upsert") == []
    assert backfill.in_step()


async def test_two_workers_share_the_jobs_of_a_feed(backfill: Backfill) -> None:
    backfill.people(*range(40))
    await backfill.ring(*range(40))
    async with backfill.working(backfill.worker("w1", rows=10)), backfill.working(backfill.worker("w2", rows=10)):
        await until(backfill.is_empty, 30)
    assert backfill.jobs() == ["done"] * 4
    assert len(backfill.calls("bulk_write")) == 4
    assert backfill.in_step()


async def test_a_job_and_the_batches_share_one_drain(backfill: Backfill, monkeypatch: pytest.MonkeyPatch) -> None:
    drained: list[float] = []

    async def drain(_: Pump, seconds: float) -> None:
        drained.append(seconds)

    async def hang(_: BulkPump, stop: asyncio.Event) -> None:
        """As a job whose file is on its way and never gets there, for as long as a drain may take."""
        await stop.wait()
        await asyncio.sleep(0.3)

    monkeypatch.setattr(Pump, "drain", drain)
    monkeypatch.setattr(BulkPump, "run", hang)
    async with backfill.working(backfill.worker(drain_seconds=0.2)):
        pass
    assert drained
    assert set(drained) == {0.0}, "batches had their drain while the job was waited for"
