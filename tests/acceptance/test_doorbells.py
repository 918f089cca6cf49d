"""Doorbells as an operator has them: webhooks beside a running pipeline, and Realtime instead of a slot."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time

import httpx

from tests.acceptance.processes import Cdc, Crm, wait_until
from tests.support.postgres import Database

TOKEN = "a-token-of-the-database-webhook"
SECRET = "a-secret-of-the-application"
REALTIME = {
    "CDC_TRANSPORT": "realtime",
    "SUPABASE_URL": "http://127.0.0.1:9",  # nobody is there
    "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_MARKED",
}


def signed(payload: object) -> dict[str, object]:
    body = json.dumps(payload).encode()
    stamp = str(int(time.time()))
    mac = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(mac).decode()
    return {
        "content": body,
        "headers": {
            "content-type": "application/json", "webhook-timestamp": stamp, "webhook-signature": signature,
        },
    }  # fmt: skip


def test_webhooks_ring_beside_a_running_pipeline(configured: Cdc, source: Database, crm: Crm) -> None:
    cdc = configured.using(
        CDC_HTTP_PORT="0", CDC_WEBHOOK_TOKENS=TOKEN, CDC_WEBHOOK_SIGNING_SECRETS=SECRET, CDC_LOG="json"
    )
    with cdc.running("run") as run:
        run.says("http_listening")
        found = re.search(r"http://127\.0\.0\.1:\d+", run.err)
        assert found
        [(people,)] = source.execute("select count(*) from cdc.contacts")
        wait_until(lambda: len(crm.records("Contacts")) == people, 60, what="the backfill")
        with httpx.Client(base_url=found[0], timeout=30) as http:
            assert http.get("/livez").json() == {"status": "alive"}
            [(person,)] = source.execute("select user_id::text from cdc.contacts order by 1 limit 1")
            row = {"type": "UPDATE", "schema": "public", "table": "users", "record": {"id": person},
                   "old_record": {"id": person}}  # fmt: skip
            rung = http.post("/api/webhooks/supabase", json=row, headers={"authorization": f"Bearer {TOKEN}"})
            assert rung.status_code == 202
            assert http.post("/api/webhooks/supabase", json=row).status_code == 401
            hint = http.post("/api/webhooks/zoho/user-signup", **signed({"user_id": person}))  # type: ignore[arg-type]
            assert hint.status_code == 202
        result = run.stop()
    assert result.code == 0, result.err
    assert TOKEN not in result.text
    assert SECRET not in result.text


def test_set_up_shows_what_it_adds_to_the_publication_of_realtime_and_a_run_never_adds_it(
    configured: Cdc, source: Database
) -> None:
    cdc = configured.using(REALTIME)
    source.execute("create publication supabase_realtime")
    query = "select count(*) from pg_publication_tables where pubname = 'supabase_realtime'"

    shown = cdc("setup", "--print-sql")
    assert shown.code == 0, shown.err
    assert 'alter publication "supabase_realtime" add table' in shown.out
    assert "pg_create_logical_replication_slot" not in shown.out
    cdc("run", "--until-idle").refused(2, "isn't set up for Realtime", "cdc setup")
    assert source.execute(query) == [(0,)]

    assert cdc("setup").code == 0
    assert source.execute(query) == [(8,)]
    assert "nothing to do" in cdc("setup").err


def test_without_a_bell_a_run_delivers_by_sweeping_and_says_what_is_wrong(
    configured: Cdc, source: Database, crm: Crm
) -> None:
    cdc = configured.using(REALTIME)
    source.execute("create publication supabase_realtime")
    assert cdc("setup").code == 0

    result = cdc("run", "--until-idle", "--json")

    assert result.code == 0, result.err
    [(people,)] = source.execute("select count(*) from cdc.contacts")
    assert len(crm.records("Contacts")) == people == result.json["contacts"]
    assert "Realtime can't be reached" in result.err
    assert "MARKED" not in result.text
    status = cdc("status")
    assert "doorbell  realtime" in status.out
