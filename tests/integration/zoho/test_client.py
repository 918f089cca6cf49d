"""Calls over real HTTP: what is repeated, what is in doubt, what is entered in the books."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sinks.calls import Outcome
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.simulator.config import Edition
from sinks.zoho.auth import Authenticator, MemoryTokens
from sinks.zoho.client import NoBook, ZohoClient
from sinks.zoho.connect import Organisation, SinkSpec, build_sinks, open_client, who_am_i
from sinks.zoho.limits import Kind
from tests.integration.zoho.conftest import Crm


async def upsert(crm: Crm, count: int = 1) -> Any:
    people = [{"External_ID": f"u{n}", "Last_Name": "Lovelace"} for n in range(count)]
    body = {"data": people, "duplicate_check_fields": ["External_ID"], "trigger": []}
    return await crm.client.call(Kind.UPSERT, "POST", "/Contacts/upsert", json=body, records=count)


async def failure(crm: Crm) -> SinkError:
    with pytest.raises(SinkError) as caught:
        await upsert(crm)
    return caught.value


async def test_who_am_i_names_the_organisation(crm: Crm) -> None:
    org = await who_am_i(crm.client)
    assert isinstance(org, Organisation)
    assert org.id
    assert org.name


async def test_a_read_survives_a_lost_answer(crm: Crm) -> None:
    crm.break_("lose", path="/crm/v8/org", times=2)
    await who_am_i(crm.client)
    assert len([c for c in crm.calls() if c.path.endswith("/org")]) == 3


@pytest.mark.parametrize(
    ("fault", "reason", "maybe_applied"),
    [
        ({"action": "lose"}, Reason.OUTCOME_UNKNOWN, True),
        ({"action": "apply_then_lose"}, Reason.OUTCOME_UNKNOWN, True),
        ({"action": "html_502"}, Reason.UNAVAILABLE, True),
        ({"action": "status", "status": 500}, Reason.UNAVAILABLE, True),
        ({"action": "status", "status": 503}, Reason.UNAVAILABLE, True),
        ({"action": "status", "status": 429}, Reason.CONCURRENCY_LIMIT, False),
        ({"action": "credits_gone"}, Reason.CREDITS_EXHAUSTED, False),
        ({"action": "wrong_scope"}, Reason.SCOPE_MISSING, False),
        ({"action": "status", "status": 403, "body": {"code": "NO_PERMISSION"}}, Reason.NO_PERMISSION, False),
        ({"action": "status", "status": 404, "body": "<html>"}, Reason.BAD_ANSWER, False),
        ({"action": "status", "status": 200, "body": "<html>"}, Reason.BAD_ANSWER, True),
        ({"action": "status", "status": 200, "body": [1]}, Reason.BAD_ANSWER, True),
        (
            {"action": "status", "status": 400, "body": {"code": "INVALID_DATA", "status": "error", "details": {}}},
            Reason.REQUEST_REFUSED,
            False,
        ),
        (
            {"action": "status", "status": 202, "body": {"code": "INVALID_MODULE", "status": "error", "details": {}}},
            Reason.REQUEST_REFUSED,
            False,
        ),
    ],
)
async def test_each_failure_of_a_write_has_its_reason_and_its_doubt(
    crm: Crm, fault: dict[str, Any], reason: Reason, maybe_applied: bool
) -> None:
    crm.break_(kind="upsert", **fault)
    error = await failure(crm)
    assert (error.reason, error.maybe_applied) == (reason, maybe_applied)
    assert len(crm.calls("upsert")) == 1
    assert "Lovelace" not in str(error)


async def test_a_write_that_hangs_is_in_doubt_after_the_time_limit(open_crm: Any) -> None:
    crm = await open_crm(seconds=0.5)
    crm.break_("apply_then_hang", kind="upsert")
    error = await failure(crm)
    assert (error.reason, error.maybe_applied) == (Reason.OUTCOME_UNKNOWN, True)


async def test_a_server_that_is_not_there_leaves_no_doubt(crm: Crm) -> None:
    await who_am_i(crm.client)
    elsewhere = replace(crm.config, api_domain="http://127.0.0.1:1")
    auth = Authenticator(elsewhere, crm.tokens, crm.transport)
    client = ZohoClient(elsewhere, auth, crm.transport, crm.books)
    before = list(crm.books.entries)
    with pytest.raises(SinkError) as error:
        await client.call(Kind.INSERT, "POST", "/Tasks", json={"data": [{}]})
    assert (error.value.reason, error.value.maybe_applied) == (Reason.UNAVAILABLE, False)
    assert crm.books.entries == before
    assert set(crm.books.outcomes[len(before) :]) == {Outcome.NOT_SENT}, "it cost nothing, and it is no silence"


async def test_a_retry_after_is_handed_on(open_crm: Any) -> None:
    crm = await open_crm()
    crm.break_("status", kind="upsert", status=429, headers={"Retry-After": "17"})
    assert (await failure(crm)).retry_after == 17.0


async def test_the_books_agree_with_the_crm(crm: Crm) -> None:
    await upsert(crm, 1)
    await upsert(crm, 11)
    await upsert(crm, 100)
    await who_am_i(crm.client)
    crm.break_("apply_then_lose", kind="upsert", times=1)
    await failure(crm)
    assert crm.books.entries == [("upsert", 1), ("upsert", 2), ("upsert", 10), ("org_read", 1), ("upsert", 1)]
    assert crm.books.total == crm.simulator.simulation.credits.used


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"action": "status", "status": 429}, Outcome.CONCURRENCY),
        ({"action": "status", "status": 429, "headers": {"X-API-CREDITS-REMAINING": "0"}}, Outcome.CREDITS),
        ({"action": "status", "status": 503}, Outcome.SERVER_ERROR),
        ({"action": "status", "status": 400}, Outcome.REFUSED),
        ({"action": "apply_then_lose"}, Outcome.NO_ANSWER),
    ],
)
async def test_what_became_of_each_call_is_noted(crm: Crm, fault: dict[str, Any], outcome: Outcome) -> None:
    await upsert(crm)
    crm.break_(kind="upsert", times=1, **fault)
    await failure(crm)
    assert crm.books.outcomes == [Outcome.OK, outcome]


async def test_no_more_calls_at_once_than_the_edition_allows(open_crm: Any) -> None:
    crm = await open_crm(edition=Edition.FREE, latency=0.05)
    config = replace(crm.config, edition="free")
    client = ZohoClient(config, Authenticator(config, MemoryTokens(), crm.transport), crm.transport, NoBook())
    await asyncio.gather(*(who_am_i(client) for _ in range(20)))
    assert {c.status for c in crm.calls() if c.path.endswith("/org")} == {200}


async def test_one_line_is_logged_for_each_call_and_it_holds_no_value(crm: Crm) -> None:
    with capture_logs() as logs:
        await upsert(crm)
    (line,) = logs
    assert {k: line[k] for k in ("event", "kind", "status", "records", "credits")} == {
        "event": "zoho_called",
        "kind": "upsert",
        "status": 200,
        "records": 1,
        "credits": 1,
    }
    assert isinstance(line["took_ms"], int)
    assert "Lovelace" not in repr(logs)
    assert crm.simulator.refresh_token not in repr(logs)


async def test_the_remaining_credits_are_known_once_the_crm_tells(open_crm: Any) -> None:
    crm = await open_crm(credits=20)
    await upsert(crm)
    assert crm.client.credits_remaining is None
    await upsert(crm, 100)
    assert crm.client.credits_remaining == 9


async def test_sinks_are_put_together_by_feed(crm: Crm) -> None:
    specs = {
        "people": SinkSpec(sink="zoho.contacts", external_id="External_ID", mandatory=("Last_Name",)),
        "events": SinkSpec(sink="zoho.tasks", external_id="Event_ID"),
        "badges": SinkSpec(sink="zoho.notes"),
    }
    async with open_client(crm.config, crm.tokens, NoBook()) as client:
        sinks = build_sinks(client, specs)
        assert {feed: sink.name for feed, sink in sinks.items()} == {feed: s.sink for feed, s in specs.items()}
        assert {sink.batch_size for sink in sinks.values()} == {100}
        with pytest.raises(ValueError, match=r"no sink zoho\.deals"):
            build_sinks(client, {"deals": SinkSpec(sink="zoho.deals")})
        with pytest.raises(ValueError, match="external_id"):
            build_sinks(client, {"people": SinkSpec(sink="zoho.contacts")})
