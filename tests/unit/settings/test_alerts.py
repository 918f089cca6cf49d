"""Channels of alerts: read whole, refused by name, never shown."""

from __future__ import annotations

import pytest

from cdc.errors import ConfigError
from cdc.settings import describe, load_settings
from tests.unit.settings.conftest import PASSWORD, set_all

ALERTS = {
    "CDC_ALERT_SMTP_URL": f"smtps://ops:{PASSWORD}@mail.example.org",
    "CDC_ALERT_EMAIL": "ops@example.org, b@example.org",
    "CDC_ALERT_SLACK_URL": f"https://hooks.slack.com/services/{PASSWORD}",
    "CDC_ALERT_WEBHOOK_URL": f"https://example.org/{PASSWORD}",
    "CDC_ALERT_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "CDC_HEARTBEAT_URL": f"https://hc-ping.com/{PASSWORD}", "CDC_METRICS_TOKENS": f"{PASSWORD}-and-more",
}  # fmt: skip


def test_channels_of_alerts_are_read_and_never_shown(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, ALERTS)
    settings = load_settings()
    assert settings.alert_recipients == ("ops@example.org", "b@example.org")
    assert PASSWORD not in str(describe(settings))
    assert PASSWORD not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CDC_ALERT_SMTP_URL", "mail.example.org:25", "smtps:// or smtp://"),
        ("CDC_ALERT_SMTP_URL", "https://mail.example.org", "smtps:// or smtp://"),
        ("CDC_ALERT_SLACK_URL", "http://hooks.slack.com/services/x", "http is for this machine only"),
        ("CDC_ALERT_WEBHOOK_URL", "ftp://example.org", "https://"),
        ("CDC_HEARTBEAT_URL", "http://10.0.0.1/x", "http is for this machine only"),
        ("CDC_HEARTBEAT_URL", "https://[half", "https://"),
        ("CDC_DASHBOARD_URL", "ops.example.org", "https://"),
        ("CDC_ALERT_EMAIL", "ops@example.org, somebody", "addresses such as"),
        ("CDC_ALERT_WEBHOOK_SECRET", "whsec_dG9vIHNob3J0", "24 to 64 bytes"),
        ("CDC_ALERT_WEBHOOK_SECRET", "no base64 at all, this one", "24 to 64 bytes"),
        ("CDC_METRICS_TOKENS", "short", "at least 16 characters"),
    ],
)
def test_a_channel_that_cannot_work_is_refused_by_name(
    environment: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    set_all(environment, {**ALERTS, name: value})
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert name in str(refused.value)
    assert words in str(refused.value)
    assert value not in str(refused.value)


@pytest.mark.parametrize(
    ("left_out", "given"),
    [
        ("CDC_ALERT_EMAIL", "CDC_ALERT_SMTP_URL"),
        ("CDC_ALERT_SMTP_URL", "CDC_ALERT_EMAIL"),
        ("CDC_ALERT_WEBHOOK_SECRET", "CDC_ALERT_WEBHOOK_URL"),
        ("CDC_ALERT_WEBHOOK_URL", "CDC_ALERT_WEBHOOK_SECRET"),
    ],
)
def test_half_a_channel_is_refused(environment: pytest.MonkeyPatch, left_out: str, given: str) -> None:
    set_all(environment, {name: value for name, value in ALERTS.items() if name != left_out})
    with pytest.raises(ConfigError, match=f"{left_out} is not set although {given} is"):
        load_settings()
