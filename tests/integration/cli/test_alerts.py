"""What people say to alerts on the command line, with a real state database."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from cdc.errors import ConfigError
from cdc.runtime.alerting import Alerting
from cdc.settings import Settings
from cdc.state.database import open_pool
from cdc.watch.outlook import Picture
from tests.support.alerts import picture
from tests.support.cli import app
from tests.support.postgres import Database
from tests.support.status import activity

KEY = "bm90IGEgcmVhbCBrZXksIG9ubHkgb25lIGZvciB0ZXM="


@pytest.fixture
def database(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Database:
    database.apply_state()
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    monkeypatch.setenv("CDC_ENCRYPTION_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    return database


def alerts(*words: str) -> Result:
    return CliRunner().invoke(app, ["alerts", *words])


def evaluate(database: Database, shown: Picture) -> None:
    async def look() -> Picture:
        return shown

    async def once() -> None:
        async with open_pool(database.dsn, purpose="test") as pool:
            assert await Alerting(pool, "optio_cdc", "a", look).evaluate() is not None

    with capture_logs():  # a command before this one has set the log up for a stream that is gone
        asyncio.run(once())


def test_before_anything_was_evaluated_that_is_said(database: Database) -> None:
    listed = alerts("list")
    assert listed.exit_code == 0
    assert "nothing was evaluated yet" in listed.stderr
    assert "unknown" in listed.stdout, "not that all is well"


def test_what_is_open_and_what_is_unknown_is_listed(database: Database) -> None:
    evaluate(database, picture({"reconciled": None}, activity=activity(failed_hour=60), died=3))
    listed, known = alerts("list"), alerts("list", "--all", "--json")

    assert (listed.exit_code, known.exit_code) == (3, 3)
    assert "60 deliveries failed for good in the last hour" in listed.stdout
    assert "no complete comparison was made yet" in listed.stdout
    assert "CdcCreditsHigh" not in listed.stdout
    found = json.loads(known.stdout)
    assert {alert["name"]: alert["severity"] for alert in found["open"]} == {
        "CdcFailedSyncs": "critical", "CdcWorkerFlapping": "warning",
    }  # fmt: skip
    assert "CdcDrift" in found["unknown"]
    assert len(found["rules"]) > 30

    evaluate(database, picture())
    assert alerts("list").exit_code == 0
    assert "over      CdcFailedSyncs" in alerts("list", "--all").stdout


def test_one_sees_to_it_and_another_wants_to_hear_nothing(database: Database) -> None:
    evaluate(database, picture(activity=activity(failed_hour=60)))

    assert alerts("ack", "CdcFailedSyncs").stdout == "CdcFailedSyncs is acknowledged\n"
    assert alerts("ack", "CdcDrift").exit_code == 1
    muted = alerts("mute", "CdcFailedSyncs", "--for", "2h")
    assert muted.stdout.startswith("CdcFailedSyncs is muted for 2 h, until ")
    listed = alerts("list").stdout
    assert "sees to it" in listed
    assert "muted until" in listed
    assert alerts("unmute", "CdcFailedSyncs").stdout == "CdcFailedSyncs is told of again\n"
    assert alerts("unmute", "CdcFailedSyncs").stdout == "CdcFailedSyncs was not muted\n"
    noted = database.execute("select action, subject, because from cdc.audit order by id")
    assert noted == [
        ("alert.ack", "CdcFailedSyncs", ""), ("alert.mute", "CdcFailedSyncs", "for 2 h"),
        ("alert.unmute", "CdcFailedSyncs", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mute", "CdcNonesuch", "--for", "2h"), "there is no alert 'CdcNonesuch'"),
        (("mute", "CdcDrift", "--for", "soon"), "--for"),
        (("ack", "drift"), "there is no alert 'drift'"),
        (("test",), "no channel is configured"),
        (("test", "pigeon"), "the channel pigeon isn't configured"),
    ],
)
def test_what_makes_no_sense_is_refused(database: Database, words: tuple[str, ...], said: str) -> None:
    refused = alerts(*words)
    assert isinstance(refused.exception, ConfigError)
    assert said in str(refused.exception)
    assert refused.exception.fix


def test_a_channel_that_does_not_work_is_told_by_trying_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_ALERT_SLACK_URL", "http://127.0.0.1:1/services/secret")
    monkeypatch.setattr("cdc.runtime.channels.delivery.wait_random_exponential", lambda **_: lambda _: 0)
    tried = alerts("test")

    assert tried.exit_code == 1
    assert tried.stdout.splitlines()[-1] == "slack: not sent after 3 attempts: ConnectError"
    assert "secret" not in tried.output
    assert database.execute("select channel, sent, attempts, error from cdc.alert_notice") == [
        ("slack", False, 3, "ConnectError")
    ]
