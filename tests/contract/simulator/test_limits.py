import asyncio

import httpx
import pytest

from sinks.simulator import Edition
from tests.contract.simulator.conftest import Start
from tests.contract.simulator.support import Crm


def people(count: int, start: int = 0) -> list[dict[str, object]]:
    return [{"Last_Name": "A", "External_ID": f"k{number}"} for number in range(start, start + count)]


@pytest.mark.parametrize(("records", "price"), [(1, 1), (10, 1), (11, 2), (100, 10)], ids=lambda number: str(number))
async def test_a_write_costs_one_credit_for_ten_records(crm: Crm, records: int, price: int) -> None:
    await crm.upsert(*people(records), by=["External_ID"])
    [call] = await crm.calls(kind="upsert")
    assert (call["price"], call["records"]) == (price, records)
    assert (await crm.get("/_sim/credits")).json()["by_kind"] == {"upsert": price}


@pytest.mark.parametrize(
    ("path", "price"),
    [
        ("/Contacts?fields=id", 1),
        ("/Contacts?fields=id&cvid=1", 3),
        ("/Contacts/deleted", 2),
        ("/settings/fields?module=Contacts", 1),
        ("/Contacts/search?email=a@ex.com", 1),
        ("/org", 1),
    ],
)
async def test_other_calls_have_their_price(crm: Crm, path: str, price: int) -> None:
    await crm.get(path)
    assert (await crm.calls())[-1]["price"] == price


@pytest.mark.parametrize(("limit", "price"), [(200, 1), (201, 2), (1000, 2), (1001, 3), (None, 1)])
async def test_coql_is_paid_by_its_limit_however_few_rows_come(crm: Crm, limit: int | None, price: int) -> None:
    ending = "" if limit is None else f" limit {limit}"
    for people_there in (False, True):
        if people_there:
            await crm.insert("Contacts", *people(3))
        await crm.post("/coql", {"select_query": f"select id from Contacts where id > 0{ending}"})
        assert (await crm.calls(kind="coql"))[-1]["price"] == price


async def test_tokens_are_free(crm: Crm) -> None:
    await crm.mint()
    assert (await crm.get("/_sim/credits")).json()["used"] == 0


@pytest.mark.parametrize(
    ("edition", "users", "total"),
    [
        (Edition.FREE, 3, 5_000),
        (Edition.STANDARD, 4, 51_000),
        (Edition.STANDARD, 1_000, 100_000),
        (Edition.PROFESSIONAL, 2, 51_000),
        (Edition.ENTERPRISE, 1, 51_000),
    ],
)
async def test_an_edition_has_its_credits(start: Start, edition: Edition, users: int, total: int) -> None:
    crm = await start(edition=edition, users=users)
    assert (await crm.get("/_sim/credits")).json()["total"] == total


async def test_spent_credits_stop_calls_until_they_come_back(start: Start) -> None:
    crm = await start(credits=10)
    answers = [await crm.get("/org") for _ in range(10)]
    assert [answer.headers.get("X-API-CREDITS-REMAINING") for answer in answers] == [
        None, None, None, None, "5", "4", "3", "2", "1", "0",
    ]  # fmt: skip
    refused = await crm.get("/org")
    assert refused.status_code == 429
    body = refused.json()
    assert (body["code"], body["details"], body["status"]) == ("TOO_MANY_REQUESTS", {}, "error")
    assert "Retry-After" not in refused.headers
    await crm.post("/_sim/clock", {"seconds": 24 * 3600})
    await crm.sign_in()
    assert (await crm.get("/org")).status_code == 200


async def test_the_window_rolls_call_by_call(start: Start) -> None:
    crm = await start(credits=2)
    await crm.get("/org")
    await crm.post("/_sim/clock", {"seconds": 12 * 3600})
    await crm.sign_in()
    await crm.get("/org")
    assert (await crm.get("/org")).status_code == 429
    await crm.post("/_sim/clock", {"seconds": 12 * 3600})
    await crm.sign_in()
    assert [(await crm.get("/org")).status_code for _ in range(2)] == [200, 429]


async def test_a_call_that_costs_more_than_is_left_is_not_carried_out(start: Start) -> None:
    crm = await start(credits=9)
    assert (await crm.insert("Contacts", *people(91))).status_code == 429
    assert await crm.records("Contacts") == []
    assert (await crm.insert("Contacts", *people(90))).status_code == 201


async def test_a_retry_after_is_sent_only_if_wanted(start: Start) -> None:
    crm = await start(credits=0, retry_after=7)
    assert (await crm.get("/org")).headers["Retry-After"] == "7"


@pytest.mark.parametrize(("edition", "limit"), [(Edition.FREE, 5), (Edition.STANDARD, 10), (Edition.ENTERPRISE, 20)])
async def test_calls_at_once(start: Start, edition: Edition, limit: int) -> None:
    crm = await start(edition=edition, latency=0.5)
    answers = await asyncio.gather(*(crm.get("/org") for _ in range(limit + 3)))
    assert sorted(answer.status_code for answer in answers) == [200] * limit + [429] * 3
    assert {answer.json()["code"] for answer in answers if answer.status_code == 429} == {"TOO_MANY_REQUESTS"}
    assert (await crm.get("/_sim/credits")).json()["concurrency"]["highest"] == limit
    assert (await crm.get("/org")).status_code == 200


async def test_heavy_calls_have_a_lower_limit_in_every_edition(start: Start) -> None:
    crm = await start(edition=Edition.ENTERPRISE, latency=0.5)

    async def write(turn: int, size: int) -> httpx.Response:
        return await crm.upsert(*people(size, turn * 100), by=["External_ID"])

    heavy = await asyncio.gather(*(write(turn, 11) for turn in range(12)))
    assert sorted(answer.status_code for answer in heavy) == [200] * 10 + [429] * 2
    light = await asyncio.gather(*(write(turn, 10) for turn in range(12)))
    assert {answer.status_code for answer in light} == {200}


async def test_many_writers_leave_one_record_a_key(start: Start) -> None:
    crm = await start(concurrency=100)
    by = ["External_ID"]
    await asyncio.gather(*(crm.upsert(*people(10), by=by) for _ in range(30)))
    records = await crm.records("Contacts")
    assert sorted(record["External_ID"] for record in records) == sorted(f"k{number}" for number in range(10))
