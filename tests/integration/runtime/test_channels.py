"""Alerts over real SMTP and real HTTP: what arrives, what is tried again, and what never shows."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError
from structlog.testing import capture_logs

from cdc.runtime.channels import Channel, Delivery, configured_channels, deliver
from cdc.runtime.channels.http import SignedWebhook, Slack
from cdc.runtime.channels.mail import Mail
from cdc.runtime.deadman import ping
from cdc.settings import Settings
from cdc.state.alerts import Alert, RuleState, Severity
from cdc.watch.alerts.life import Kind, Step
from cdc.watch.alerts.rules import RULES
from cdc.watch.alerts.wording import Links, Message, compose
from cdc.watch.condition import judge
from tests.support.receivers import PASSWORD, USER, http_server, mail_server
from tests.support.status import status
from tests.support.tls import Authority

NOW = datetime.now(UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
QUOTED = "p%40ss%3Aword%2Fof%20the%20sender"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two tries."""
    monkeypatch.setattr("cdc.runtime.channels.delivery.wait_random_exponential", lambda **_: lambda _: 0)


def due(name: str, severity: Severity, kind: Kind, value: float, **changes: Any) -> Step:
    alert = Alert(name=name, severity=severity, value=value, opened_at=NOW - timedelta(minutes=12))
    return Step(RULES[name], RuleState(name=name), replace(alert, **changes), kind)


def message(*steps: Step) -> Message:
    found: Sequence[Step] = steps or (due("CdcSlotWalRetained", Severity.CRITICAL, Kind.OPENED, 0.81),)
    return compose(found, "optio_prod", Links("https://ops.example.org/runbook", "https://ops.example.org"), NOW)


def test_a_message_says_what_how_bad_since_when_what_follows_and_what_to_do() -> None:
    assert message().text == (
        "[CRITICAL] The slot holds 81.0% of the WAL that it may on optio_prod, for 12 min. At 100 % it is lost, "
        "and everything must be compared anew. Do: cdc slot. Runbook: https://ops.example.org/runbook#slot-at-risk\n\n"
        "Dashboard: https://ops.example.org"
    )


def test_the_worst_comes_first_and_what_is_over_last() -> None:
    made = message(
        due("CdcQueueDepth", Severity.CRITICAL, Kind.RESOLVED, 0, resolved_at=NOW),
        due("CdcFailedSyncs", Severity.WARNING, Kind.OPENED, 11),
        due("CdcMappingBroken", Severity.CRITICAL, Kind.OPENED, 1, detail="contacts: VIEW_UNREADABLE"),
    )

    assert [item.name for item in made.items] == ["CdcMappingBroken", "CdcFailedSyncs", "CdcQueueDepth"]
    assert made.subject == "[CRITICAL] CdcMappingBroken and 2 more on optio_prod"
    assert "(contacts: VIEW_UNREADABLE)" in made.text
    assert "[RESOLVED] CdcQueueDepth on optio_prod is over, after 12 min." in made.text


def test_the_same_facts_have_the_same_id() -> None:
    later = compose([due("CdcSlotWalRetained", Severity.CRITICAL, Kind.OPENED, 0.99)], "optio_prod", Links(), NOW)

    assert later.id == message().id
    assert message(due("CdcSlotWalRetained", Severity.CRITICAL, Kind.REMINDED, 0.81)).id != later.id


async def test_a_letter_arrives_over_tls_from_who_signed_in(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    believed = ssl.create_default_context(cafile=str(authority.file))
    async with mail_server(tls=authority.server("localhost"), sign_in=True) as box:
        url = f"smtp://{USER}:{QUOTED}@localhost:{box.port}"
        mail = Mail(url, "cdc@example.org", ("ops@example.org", "night@example.org"), tls=believed)
        assert await deliver([mail], message()) == [Delivery("email", True, 1)]

    letter = box.letters[0]
    assert (box.over_tls, box.signed_in) == ([True], 1)
    assert box.recipients == [["ops@example.org", "night@example.org"]]
    assert letter["Subject"] == "[CRITICAL] CdcSlotWalRetained on optio_prod"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Message-ID"] == f"<{message().id}@example.org>"
    assert "Do: cdc slot." in box.text().replace("\r\n", " ")


async def test_a_mail_server_that_nobody_vouches_for_gets_no_password(tmp_path: Path) -> None:
    async with mail_server(tls=Authority.make(tmp_path).server("localhost"), sign_in=True) as box:
        mail = Mail(f"smtp://{USER}:{QUOTED}@localhost:{box.port}", "a@example.org", ("b@example.org",))
        [made] = await deliver([mail], message())

    assert (made.sent, box.signed_in, box.letters) == (False, 0, [])


@pytest.mark.parametrize(("answer", "attempts"), [("451 try later", 3), ("550 no such user", 1)])
async def test_a_letter_that_is_refused_is_tried_again_only_if_that_may_help(answer: str, attempts: int) -> None:
    async with mail_server() as box:
        box.answer = answer
        mail = Mail(f"smtp://127.0.0.1:{box.port}", "a@example.org", ("b@example.org",))
        assert await deliver([mail], message()) == [Delivery("email", False, attempts, f"SMTP {answer[:3]}")]
    assert box.refused == attempts


async def test_slack_gets_text_without_signs_of_its_own() -> None:
    async with http_server() as inbox:
        odd = due("CdcMappingBroken", Severity.CRITICAL, Kind.OPENED, 1, detail="<!channel> & co")
        assert [d.sent for d in await deliver([Slack(inbox.url + "/services/T0")], message(odd))] == [True]

    assert inbox.paths == ["/services/T0"]
    assert "&lt;!channel&gt; &amp; co" in inbox.bodies[0]["text"]


async def test_webhooks_are_signed_and_say_their_type() -> None:
    made = message(
        due("CdcFailedSyncs", Severity.WARNING, Kind.OPENED, 11),
        due("CdcCreditsHigh", Severity.CRITICAL, Kind.ESCALATED, 0.91),
        due("CdcQueueDepth", Severity.CRITICAL, Kind.RESOLVED, 0, resolved_at=NOW),
    )
    async with http_server() as inbox:
        assert [d.sent for d in await deliver([SignedWebhook(inbox.url, SECRET)], made)] == [True]

    verified = [Webhook(SECRET).verify(body, headers) for _, _, headers, body in inbox.requests]
    assert [event["type"] for event in verified] == ["alert.opened", "alert.escalated", "alert.resolved"]
    [alert] = verified[1]["data"]["alerts"]
    assert (alert["name"], alert["severity"], alert["value"]) == ("CdcCreditsHigh", "critical", 0.91)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(inbox.requests[0][3], inbox.requests[0][2])
    assert len({headers["webhook-id"] for *_, headers, _ in inbox.requests}) == 3


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([500, 200], Delivery("slack", True, 2)),
        ([503, 503, 503], Delivery("slack", False, 3, "HTTP 503")),
        ([429, 200], Delivery("slack", True, 2)),
        ([404], Delivery("slack", False, 1, "HTTP 404")),
        ([302], Delivery("slack", False, 1, "HTTP 302")),
    ],
)
async def test_http_is_tried_again_only_if_that_may_help(answers: list[int], expected: Delivery) -> None:
    async with http_server() as inbox:
        inbox.answers = list(answers)
        assert await deliver([Slack(inbox.url)], message()) == [expected]
    assert len(inbox.requests) == expected.attempts, "nobody is sent elsewhere"


class Hanging:
    name = "hanging"

    async def send(self, message: Message) -> None:
        del message
        await asyncio.Event().wait()


async def test_one_that_fails_or_hangs_holds_up_no_other_and_nothing_secret_is_said() -> None:
    async with http_server() as inbox:
        with capture_logs() as logs:
            channels: list[Channel] = [
                Slack("http://127.0.0.1:1/services/T0/secret-of-slack"),
                Hanging(),
                Mail(f"smtp://{USER}:{QUOTED}@127.0.0.1:1", "a@example.org", ("b@example.org",)),
                SignedWebhook(inbox.url, SECRET),
            ]
            made = await deliver(channels, message(), limit=0.5)

    assert [(d.channel, d.sent, d.error) for d in made] == [
        ("slack", False, "ConnectError"), ("hanging", False, "timeout"), ("email", False, "SMTPConnectError"),
        ("webhook", True, None),
    ]  # fmt: skip
    said = f"{logs}{made}{channels}"
    for secret in ("secret-of-slack", "sender", PASSWORD, QUOTED, "example.org", SECRET, inbox.url):
        assert secret not in said


def test_channels_come_from_the_settings_and_show_nothing() -> None:
    settings = Settings(
        cdc_alert_smtp_url=SecretStr("smtps://u:secret-one@mail.example.org"), cdc_alert_email="a@b.org, c@d.org",
        cdc_alert_slack_url=SecretStr("https://hooks.slack.com/services/secret-two"),
        cdc_alert_webhook_url=SecretStr("https://example.org/secret-three"), cdc_alert_webhook_secret=SecretStr(SECRET),
    )  # fmt: skip
    channels = configured_channels(settings)

    assert [channel.name for channel in channels] == ["email", "slack", "webhook"]
    assert isinstance(channels[0], Mail)
    assert (channels[0].sender, channels[0].recipients) == ("a@b.org", ("a@b.org", "c@d.org"))
    assert not {"secret-one", "secret-two", "secret-three"} & set(f"{channels!r}".replace("/", " ").split())
    assert "secret" not in f"{channels!r}"
    assert configured_channels(Settings()) == []


@pytest.mark.parametrize(("changes", "path"), [({}, "/uuid"), ({"workers": []}, "/uuid/fail")])
async def test_the_dead_man_hears_of_well_and_of_broken(changes: dict[str, Any], path: str) -> None:
    async with http_server() as inbox:
        assert await ping(inbox.url + "/uuid", judge(status(**changes)))
    assert inbox.paths == [path]


async def test_a_dead_man_that_is_away_is_logged_without_its_address() -> None:
    with capture_logs() as logs:
        assert not await ping("http://127.0.0.1:1/secret-uuid", judge(status()))
    assert [entry["event"] for entry in logs] == ["heartbeat_not_heard"]
    assert "secret-uuid" not in str(logs)
