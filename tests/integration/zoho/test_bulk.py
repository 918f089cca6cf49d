"""Bulk Write against the simulated CRM: upload, job, state, result."""

from __future__ import annotations

from typing import Any

import pytest

from sinks.base import Action, Delivered, FieldValue, JobProgress, JobState, Operation, Outcome, Refused
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.bulk import BulkWrite, may_receive_token
from sinks.zoho.config import ZohoConfig
from tests.integration.zoho.conftest import Crm
from tests.support.waiting import until

COLUMNS = ("Last_Name", "Email", "Total_XP", "Level")


def record(record_id: str, **fields: FieldValue) -> Operation:
    return Operation(record_id=record_id, action=Action.CREATE, fields={"Last_Name": "Doe", **fields})


async def writer(crm: Crm) -> BulkWrite:
    return BulkWrite(crm.client, await crm.contacts())


async def uploaded(bulk: BulkWrite, *records: Operation) -> str:
    file = bulk.open_file(COLUMNS)
    assert all(file.add(one) for one in records)
    return await bulk.upload(file.close())


async def ended(bulk: BulkWrite, job_id: str) -> JobProgress:
    async def progress() -> JobProgress | None:
        now = await bulk.progress(job_id)
        return None if now.state is JobState.RUNNING else now

    found = await until(progress)
    assert found is not None
    return found


async def run(bulk: BulkWrite, *records: Operation) -> dict[str, Outcome]:
    job_id = await bulk.start(await uploaded(bulk, *records), COLUMNS)
    progress = await ended(bulk, job_id)
    assert progress.result is not None
    return {outcome.record_id: outcome for outcome in await bulk.outcomes(progress.result)}


@pytest.fixture
async def crm(open_crm: Any) -> Crm:
    made: Crm = await open_crm(bulk_delay=0.0)
    return made


async def test_every_record_has_an_outcome_of_its_own(crm: Crm) -> None:
    bulk = await writer(crm)
    await run(bulk, record("old", Email="old@example.org", Total_XP=3))
    outcomes = await run(bulk, record("old", Total_XP=4), record("new", Level="Sage"), record("bad", Total_XP="many"))
    held = {one["External_ID"]: one for one in crm.stored("Contacts")}
    assert outcomes["old"] == Delivered(record_id="old", crm_id=held["old"]["id"], effect="updated")
    assert outcomes["new"] == Delivered(record_id="new", crm_id=held["new"]["id"], effect="created")
    assert isinstance(outcomes["bad"], Refused)
    assert (outcomes["bad"].reason, outcomes["bad"].field) == (Reason.INVALID_VALUE, "Total_XP")


async def test_a_null_clears_a_field_that_the_crm_holds(crm: Crm) -> None:
    bulk = await writer(crm)
    await run(bulk, record("k", Email="k@example.org", Total_XP=3))
    await run(bulk, record("k", Email=None, Total_XP=4))
    [held] = crm.stored("Contacts")
    assert (held["Email"], held["Total_XP"]) == (None, 4)


async def test_a_job_costs_five_hundred_and_all_around_it_next_to_nothing(crm: Crm) -> None:
    bulk = await writer(crm)
    await run(bulk, record("k"))
    spent = dict(crm.books.entries)
    assert spent["bulk_write"] == bulk.job_credits == 500
    assert sum(credits for kind, credits in crm.books.entries if kind != "bulk_write") < 10


async def test_the_price_of_ordinary_calls_counts_each_hundred(crm: Crm) -> None:
    bulk = await writer(crm)
    assert [bulk.records_credits(n) for n in (0, 1, 10, 11, 100, 101, 5_000, 5_001)] == [0, 1, 1, 2, 10, 11, 500, 501]


async def test_a_failed_job_is_told_from_a_running_one(crm: Crm) -> None:
    bulk = await writer(crm)
    crm.break_("fail_job", kind="bulk_write")
    job_id = await bulk.start(await uploaded(bulk, record("a"), record("b")), COLUMNS)
    assert (await ended(bulk, job_id)).state is JobState.FAILED


async def test_a_job_and_a_result_that_are_gone_are_told_as_gone(crm: Crm) -> None:
    bulk = await writer(crm)
    for ask in (bulk.progress("1"), bulk.outcomes(f"{crm.simulator.url}/crm/bulk/v8/write/1/result")):
        with pytest.raises(SinkError) as caught:
            await ask
        assert caught.value.reason is Reason.RECORD_GONE


async def test_a_refused_upload_names_what_is_missing(open_crm: Any) -> None:
    crm = await open_crm(scopes=("ZohoCRM.modules.ALL", "ZohoCRM.settings.fields.READ", "ZohoCRM.org.READ"))
    bulk = await writer(crm)
    with pytest.raises(SinkError) as caught:
        await uploaded(bulk, record("k"))
    assert caught.value.reason is Reason.SCOPE_MISSING


async def test_a_lost_answer_of_the_creation_may_have_started_the_job(crm: Crm) -> None:
    bulk = await writer(crm)
    file_id = await uploaded(bulk, record("k"))
    crm.break_("apply_then_lose", kind="bulk_write", times=1)
    with pytest.raises(SinkError) as caught:
        await bulk.start(file_id, COLUMNS)
    assert caught.value.maybe_applied
    await until(lambda: crm.stored("Contacts"))
    job_id = await bulk.start(file_id, COLUMNS)
    await ended(bulk, job_id)
    assert len(crm.stored("Contacts")) == 1


async def test_a_file_that_is_gone_is_refused_for_good(crm: Crm) -> None:
    bulk = await writer(crm)
    with pytest.raises(SinkError) as caught:
        await bulk.start("1", COLUMNS)
    assert (caught.value.reason, caught.value.maybe_applied) == (Reason.REQUEST_REFUSED, False)


async def test_the_token_is_not_sent_to_a_stranger(crm: Crm) -> None:
    bulk = await writer(crm)
    before = len(crm.books.entries)
    with pytest.raises(SinkError) as caught:
        await bulk.outcomes("https://zoho.com.example.org/result.zip")
    assert caught.value.reason is Reason.BAD_ANSWER
    assert len(crm.books.entries) == before


@pytest.mark.parametrize(
    ("origin", "may"),
    [
        ("https://download-accl.zoho.eu", True),
        ("https://www.zohoapis.eu", True),
        ("https://download-accl.zoho.com", False),
        ("http://download-accl.zoho.eu", False),
        ("https://zoho.eu.example.org", False),
        ("https://user@download.zoho.eu", False),
    ],
)
def test_which_hosts_may_see_it(origin: str, may: bool) -> None:
    config = ZohoConfig(client_id="c", client_secret="s", refresh_token="r", data_center="EU")
    assert may_receive_token(origin, config, "https://www.zohoapis.eu") is may
