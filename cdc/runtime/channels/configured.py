"""The channels that the settings name."""

from __future__ import annotations

from cdc.runtime.channels.channel import Channel
from cdc.runtime.channels.http import SignedWebhook, Slack
from cdc.runtime.channels.mail import Mail
from cdc.settings import Settings


def configured_channels(settings: Settings) -> list[Channel]:
    """Make them; none if none is configured."""
    channels: list[Channel] = []
    recipients = settings.alert_recipients
    if settings.cdc_alert_smtp_url is not None and recipients:
        sender = settings.cdc_alert_from or recipients[0]
        channels.append(Mail(settings.cdc_alert_smtp_url.get_secret_value(), sender, recipients))
    if settings.cdc_alert_slack_url is not None:
        channels.append(Slack(settings.cdc_alert_slack_url.get_secret_value()))
    if settings.cdc_alert_webhook_url is not None and settings.cdc_alert_webhook_secret is not None:
        url, secret = settings.cdc_alert_webhook_url, settings.cdc_alert_webhook_secret
        channels.append(SignedWebhook(url.get_secret_value(), secret.get_secret_value()))
    return channels
