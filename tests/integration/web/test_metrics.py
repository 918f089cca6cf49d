"""`/metrics` over real HTTP: who may read it, and what is in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request

from cdc.routing.feeds import load_profile
from cdc.runtime.lookout import Lookout
from cdc.settings import Settings
from cdc.state.database import open_pool
from cdc.watch.meters import Meters
from cdc.watch.outlook import Picture
from cdc.web.metrics import Metrics, check_reader
from cdc.web.refusals import Refusal
from cdc.web.server import receiving
from sinks.calls import Called, Outcome
from tests.support.alerts import picture
from tests.support.postgres import Database

KEY = "bm90IGEgcmVhbCBrZXksIG9ubHkgb25lIGZvciB0ZXM="
TOKENS = ("first-token-of-prometheus", "second-token-of-prometheus")


@asynccontextmanager
async def serving(database: Database, *tokens: str) -> AsyncIterator[httpx.AsyncClient]:
    meters = Meters()
    meters.called(Called(kind="upsert", outcome=Outcome.OK, seconds=0.2))
    async with open_pool(database.dsn, purpose="test") as pool:
        lookout = Lookout(pool, pool, "optio_cdc", credit_limit=50_250, encryption_key=KEY)
        metrics = Metrics(lookout.look, meters.registry, tokens)
        settings = Settings(cdc_http_port=0)
        async with (
            receiving(settings, load_profile("core"), pool, metrics=metrics) as url,
            httpx.AsyncClient(base_url=str(url)) as http,
        ):
            yield http


async def test_metrics_are_read_from_the_database_and_the_process(database: Database) -> None:
    database.apply_state()
    database.execute("insert into cdc.credit_usage values (now(), 'upsert', 2, 20)")
    async with serving(database) as http:
        answer = await http.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"cdc_state", "cdc_zoho_credits_used", "cdc_zoho_requests", "cdc_source_up"} <= found
    assert "cdc_zoho_credits_used 20.0" in answer.text
    assert 'cdc_zoho_requests_total{kind="upsert",outcome="ok"} 1.0' in answer.text


async def test_with_tokens_only_who_has_one_may_read(database: Database) -> None:
    database.apply_state()
    async with serving(database, *TOKENS) as http:
        for token in TOKENS:
            assert (await http.get("/metrics", headers={"authorization": f"Bearer {token}"})).status_code == 200
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKENS[0]}"}):
            refused = await http.get("/metrics", headers=headers)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert "cdc_" not in refused.text


@pytest.mark.parametrize(
    ("client", "headers", "may"),
    [
        ("127.0.0.1", [], True),
        ("::1", [], True),
        ("10.0.0.7", [], False),
        ("127.0.0.1", [(b"x-forwarded-for", b"203.0.113.9")], False),
        ("127.0.0.1", [(b"forwarded", b"for=203.0.113.9")], False),
        ("unix", [], False),
    ],
)
def test_without_tokens_only_this_machine_may_read(client: str, headers: list[tuple[bytes, bytes]], may: bool) -> None:
    request = Request({"type": "http", "headers": headers, "client": (client, 1)})
    if may:
        check_reader(request, ())
    else:
        with pytest.raises(Refusal):
            check_reader(request, ())


async def test_a_database_that_is_away_is_said(database: Database) -> None:
    async with serving(database) as http:  # without the cdc schema
        answer = await http.get("/metrics")
    assert (answer.status_code, answer.json()["error"]) == (503, "database_away")


async def test_many_readers_cost_one_look() -> None:
    looks = 0

    async def look() -> Picture:
        nonlocal looks
        looks += 1
        return picture()

    metrics = Metrics(look, Meters().registry, ())
    request = Request({"type": "http", "headers": [], "client": ("127.0.0.1", 1)})
    for _ in range(5):
        await metrics.answer(request)
    assert looks == 1
