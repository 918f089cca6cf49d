"""`cdc alerts`, the dead man and `/metrics` as an operator meets them."""

from __future__ import annotations

import asyncio
import re

import httpx
from standardwebhooks import Webhook

from tests.acceptance.processes import Cdc
from tests.support.postgres import Database
from tests.support.receivers import http_server
from tests.support.waiting import until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def test_an_alarm_is_told_listed_and_measured(configured: Cdc, source: Database) -> None:
    async with http_server() as inbox:
        cdc = configured.using(
            CDC_ALERT_WEBHOOK_URL=inbox.url + "/alarm", CDC_ALERT_WEBHOOK_SECRET=SECRET,
            CDC_HEARTBEAT_URL=inbox.url + "/alive", CDC_HTTP_PORT="0", CDC_LOG="json",
        )  # fmt: skip
        assert cdc("setup").code == 0
        source.execute(
            "insert into cdc.zoho_sync_log (sync_type, action, status, record_id)"
            " select 'contacts', 'update', 'failed', n::text from generate_series(1, 60) n"
        )
        with cdc.running("run") as process:
            await until(
                lambda: {"/alarm", "/alive"} <= set(inbox.paths), 60, what="the alarm and the dead man's signal"
            )
            found = re.search(r'"url": "(http://127[^"]+)"', process.err)
            assert found is not None
            async with httpx.AsyncClient() as http:
                metrics = (await http.get(f"{found[1]}/metrics")).text
        alarm = next((headers, body) for _, path, headers, body in inbox.requests if path == "/alarm")
        event = Webhook(SECRET).verify(alarm[1], alarm[0])
        listed = await asyncio.to_thread(cdc, "alerts", "list")

    assert event["type"] == "alert.opened"
    assert {"CdcFailedSyncs", "CdcSuccessRate"} <= {alert["name"] for alert in event["data"]["alerts"]}
    assert "cdc_operations_failed_recent 60.0" in metrics
    assert 'cdc_alerts_open{severity="critical"} ' in metrics
    assert listed.code == 3
    assert "60 deliveries failed for good in the last hour" in listed.out
