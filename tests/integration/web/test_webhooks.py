"""The HTTP endpoints, spoken to as Supabase and the application speak to them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cdc.errors import ConfigError
from cdc.routing.feeds import load_profile
from cdc.settings import Settings
from cdc.state.database import open_pool
from cdc.web.bodies import MAX_AT_ONCE
from cdc.web.server import receiving
from tests.support.postgres import Database

TOKENS = ("first-token-of-the-webhook", "second-token-of-the-webhook")
SECRETS = ("first-secret-of-the-app", "second-secret-of-the-app")
USER = "6e6a1b0a-6e6a-4b0a-8b0a-6e6a1b0a6e6a"
SUPABASE = "/api/webhooks/supabase"


@dataclass
class Receiver:
    database: Database
    http: httpx.AsyncClient

    async def webhook(self, payload: object, **headers: str) -> httpx.Response:
        """As pg_net sends it."""
        sent = {"authorization": f"Bearer {TOKENS[0]}", "content-type": "application/json", **headers}
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return await self.http.post(SUPABASE, content=body, headers=sent)

    async def signed(
        self, name: str, payload: object, *, secret: str = SECRETS[0], age: int = 0, **headers: str
    ) -> httpx.Response:
        """As the application signs it."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        stamp = str(int(time.time()) - age)
        mac = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).digest()
        sent = {
            "content-type": "application/json", "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}", **headers,
        }  # fmt: skip
        return await self.http.post(f"/api/webhooks/zoho/{name}", content=body, headers=sent)

    def outbox(self) -> dict[tuple[str, str], str]:
        rows = self.database.execute("select feed, key, lane from cdc.outbox")
        return {(feed, key): lane for feed, key, lane in rows}


@pytest.fixture
async def receiver(database: Database) -> AsyncIterator[Receiver]:
    database.apply_state()
    settings = Settings(
        cdc_http_port=0, cdc_webhook_tokens=SecretStr(",".join(TOKENS)),
        cdc_webhook_signing_secrets=SecretStr(", ".join(SECRETS)),
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(database.dsn, purpose="test"))
        url = await stack.enter_async_context(receiving(settings, load_profile("core"), pool))
        assert url is not None
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        yield Receiver(database, http)


def row_event(kind: str, table: str, record: Any, old: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": kind, "table": table, "schema": "public", "record": record, "old_record": old, **more}


async def test_a_database_webhook_marks_the_keys_of_its_row(receiver: Receiver) -> None:
    before = receiver.database.execute("select now()")[0][0]
    answer = await receiver.webhook(row_event("INSERT", "users", {"id": USER, "first_name": "Ada"}, user_id="ignored"))
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted", "keys": 1})
    assert receiver.outbox() == {("contacts", USER): "live"}
    [(dirty_at, first_lsn)] = receiver.database.execute("select dirty_at, first_lsn from cdc.outbox")
    assert dirty_at >= before
    assert first_lsn is None


async def test_an_update_rings_for_the_old_owner_too_and_a_delete_for_the_last(receiver: Receiver) -> None:
    await receiver.webhook(row_event("UPDATE", "user_quests", {"id": "e", "user_id": "b"}, {"id": "e", "user_id": "a"}))
    await receiver.webhook(row_event("DELETE", "user_badges", None, {"id": "w", "user_id": "c"}))
    assert receiver.outbox() == {
        ("quest_completions", "e"): "live", ("contacts", "a"): "rollup", ("contacts", "b"): "rollup",
        ("badges_earned", "w"): "live", ("contacts", "c"): "rollup",
    }  # fmt: skip


async def test_any_order_and_any_number_of_times_is_the_same(receiver: Receiver) -> None:
    events = [row_event("INSERT", "users", {"id": f"u{n}"}) for n in range(5)] * 4
    answers = await asyncio.gather(*(receiver.webhook(event) for event in reversed(events)))
    assert {answer.status_code for answer in answers} == {202}
    assert set(receiver.outbox()) == {("contacts", f"u{n}") for n in range(5)}


async def test_a_table_that_nobody_watches_is_taken_and_nothing_is_done(receiver: Receiver) -> None:
    answer = await receiver.webhook(row_event("INSERT", "quests", {"id": "q"}))
    assert (answer.status_code, answer.json()["keys"], receiver.outbox()) == (202, 0, {})


async def test_the_workers_are_woken(receiver: Receiver) -> None:
    with receiver.database.connect() as connection:
        connection.execute("listen cdc_outbox")
        await receiver.webhook(row_event("INSERT", "users", {"id": USER}))
        assert next(connection.notifies(timeout=10)).channel == "cdc_outbox"


@pytest.mark.parametrize(
    ("name", "payload", "keys"),
    [
        ("user-signup", {"user_id": USER}, {("contacts", USER)}),
        ("quest-complete", {"enrolment_id": "e"}, {("quest_completions", "e")}),
        ("badge-earned", {"award_id": 7, "badge": "x"}, {("badges_earned", "7")}),
    ],
)
@pytest.mark.parametrize("secret", SECRETS)
async def test_the_applications_own_webhooks_ring_for_what_the_profile_says(
    receiver: Receiver, name: str, payload: dict[str, object], keys: set[tuple[str, str]], secret: str
) -> None:
    answer = await receiver.signed(name, payload, secret=secret)
    assert answer.status_code == 202
    assert set(receiver.outbox()) == keys


SECRET_WORDS = "Ada-Lovelace-is-private"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (401, {"authorization": "Bearer wrong-token-of-the-webhook"}, row_event("INSERT", "users", {"id": "u"})),
        (401, {"authorization": ""}, row_event("INSERT", "users", {"id": "u"})),
        (415, {"content-type": "text/plain"}, row_event("INSERT", "users", {"id": "u"})),
        (413, {}, row_event("INSERT", "users", {"id": "u", "bio": SECRET_WORDS * 60_000})),
        (422, {}, b"{not json: " + SECRET_WORDS.encode()),
        (422, {}, b"[" * 500_000),
        (422, {}, b'{"type": NaN}'),
        (422, {}, b"\xff\xfe"),
        (422, {}, b"9" * 10_000),
        (422, {}, [SECRET_WORDS]),
        (422, {}, row_event("UPSERT", "users", {"id": SECRET_WORDS})),
        (422, {}, row_event("INSERT", "users", SECRET_WORDS)),
        (422, {}, row_event("INSERT", "users", {"name": SECRET_WORDS})),
        (422, {}, row_event("INSERT", "users", {"id": f"\0{SECRET_WORDS}"})),
        (422, {}, row_event("INSERT", "users", {"id": "\ud800"})),
        (422, {}, {"type": ["INSERT"], "table": {}, "schema": 1}),
    ],
    ids=range(16),
)  # fmt: skip
async def test_what_is_not_taken_is_refused_without_a_word_of_it(
    receiver: Receiver, status: int, headers: dict[str, str], body: object
) -> None:
    answer = await receiver.webhook(body, **headers)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "message"}
    assert SECRET_WORDS not in answer.text
    assert receiver.outbox() == {}


async def test_a_body_without_a_stated_length_is_limited_too(receiver: Receiver) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    headers = {"authorization": f"Bearer {TOKENS[1]}", "content-type": "application/json"}
    answer = await receiver.http.post(SUPABASE, content=endless(), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("status", "options"),
    [
        (401, {"secret": "third-secret-of-the-app"}),
        (401, {"age": 310}),
        (401, {"age": -310}),
        (401, {"webhook-signature": "v1,AAAA"}),
        (401, {"webhook-timestamp": ""}),
        (415, {"content-type": "application/x-www-form-urlencoded"}),
    ],
)
async def test_an_unsigned_or_stale_webhook_is_refused(
    receiver: Receiver, status: int, options: dict[str, Any]
) -> None:
    answer = await receiver.signed("user-signup", {"user_id": USER}, **options)
    assert answer.status_code == status
    assert receiver.outbox() == {}


@pytest.mark.parametrize("payload", [{}, {"user_id": None}, {"user_id": [USER]}, {"user_id": "\0"}])
async def test_a_hint_without_a_key_is_refused(receiver: Receiver, payload: object) -> None:
    answer = await receiver.signed("user-signup", payload)
    assert (answer.status_code, answer.json()["error"]) == (422, "no_key")


async def test_addresses_that_there_are_not_are_told_in_the_same_form(receiver: Receiver) -> None:
    assert (await receiver.http.get("/livez")).json() == {"status": "alive"}
    for answer, status in (
        (await receiver.http.get("/nothing"), 404),
        (await receiver.http.get(SUPABASE), 405),
        (await receiver.signed("nothing", {}), 404),
    ):
        assert answer.status_code == status
        assert set(answer.json()) == {"error", "message"}


async def test_a_database_that_is_away_is_said_so_that_the_sender_tries_again(receiver: Receiver) -> None:
    event = row_event("INSERT", "users", {"id": USER})
    receiver.database.execute("alter table cdc.outbox rename to gone")
    answer = await receiver.webhook(event)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    receiver.database.execute("alter table cdc.gone rename to outbox")
    with receiver.database.connect() as connection, connection.transaction():
        connection.execute("lock table cdc.outbox")
        assert (await receiver.webhook(event)).status_code == 503
    assert receiver.outbox() == {}
    assert (await receiver.webhook(event)).status_code == 202


async def test_too_many_at_once_are_told_to_come_later(receiver: Receiver) -> None:
    event = row_event("INSERT", "users", {"id": USER})
    with receiver.database.connect() as connection, connection.transaction():
        connection.execute("lock table cdc.outbox")
        many = [asyncio.create_task(receiver.webhook(event)) for _ in range(MAX_AT_ONCE + 20)]
        done = await asyncio.gather(*many)
    statuses = [answer.status_code for answer in done]
    assert statuses.count(429) > 0
    assert set(statuses) == {429, 503}
    assert (await receiver.webhook(event)).status_code == 202


async def test_without_a_secret_every_endpoint_is_closed(database: Database) -> None:
    database.apply_state()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(database.dsn, purpose="test"))
        url = await stack.enter_async_context(receiving(Settings(cdc_http_port=0), load_profile("core"), pool))
        assert url is not None
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url))
        receiver = Receiver(database, http)
        assert (await receiver.webhook(row_event("INSERT", "users", {"id": "u"}))).status_code == 401
        assert (await receiver.signed("user-signup", {"user_id": "u"}, secret="")).status_code == 401


async def test_an_address_that_is_taken_is_named(receiver: Receiver) -> None:
    port = receiver.http.base_url.port
    assert port is not None
    with pytest.raises(ConfigError, match=str(port)):
        async with receiving(Settings(cdc_http_port=port), load_profile("core"), None):  # type: ignore[arg-type]
            pytest.fail("it was listened at")
