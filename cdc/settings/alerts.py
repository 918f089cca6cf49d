"""Where alerts go, and what their messages link to."""

from __future__ import annotations

import re
from base64 import b64decode
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from cdc.settings.values import THIS_MACHINE

_ADDRESS = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+")
_SIGNING_BYTES = (24, 64)


class AlertSettings(BaseSettings):
    """E-mail, Slack, a webhook and a heartbeat; dashboard and runbook."""

    cdc_alert_smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server for alerts: `smtps://user:password@host:465` or `smtp://...:587`, which goes over to "
        "TLS before it signs in.",
    )
    cdc_alert_email: str | None = Field(
        default=None, description="Who gets alerts by e-mail: addresses, separated by commas."
    )
    cdc_alert_from: str | None = Field(
        default=None, description="Address that they come from. Default: the first of CDC_ALERT_EMAIL."
    )
    cdc_alert_slack_url: SecretStr | None = Field(default=None, description="Incoming webhook of Slack for alerts.")
    cdc_alert_webhook_url: SecretStr | None = Field(
        default=None, description="Where alerts are posted to, signed after Standard Webhooks."
    )
    cdc_alert_webhook_secret: SecretStr | None = Field(
        default=None, description="Secret that signs them: `whsec_` and 24 to 64 bytes in base64."
    )
    cdc_heartbeat_url: SecretStr | None = Field(
        default=None,
        description="Fetched every minute while all is well, and with `/fail` behind it when nothing gets through: "
        "whoever watches it alarms when it falls silent (healthchecks.io and the like).",
    )
    cdc_dashboard_url: str | None = Field(
        default=None, description="Address of the dashboard, for links in messages about alerts."
    )
    cdc_runbook_url: str = Field(
        default="docs/runbook.md", description="Where the runbook can be read, for the same links."
    )

    @field_validator("cdc_alert_slack_url", "cdc_alert_webhook_url", "cdc_heartbeat_url")
    @classmethod
    def _endpoint(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is None else SecretStr(_checked_url(value.get_secret_value(), "https"))

    @field_validator("cdc_dashboard_url")
    @classmethod
    def _page(cls, value: str | None) -> str | None:
        return value if value is None else _checked_url(value, "https")

    @field_validator("cdc_alert_smtp_url")
    @classmethod
    def _mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is None else SecretStr(_checked_url(value.get_secret_value(), "smtps", "smtp"))

    @field_validator("cdc_alert_email", "cdc_alert_from")
    @classmethod
    def _addresses(cls, value: str | None) -> str | None:
        if value is not None and not all(_ADDRESS.fullmatch(part.strip()) for part in value.split(",")):
            raise ValueError("addresses such as ops@example.org expected, separated by commas")
        return value

    @field_validator("cdc_alert_webhook_secret")
    @classmethod
    def _signing_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                size = len(b64decode(value.get_secret_value().removeprefix("whsec_"), validate=True))
            except ValueError:
                size = 0
            if not _SIGNING_BYTES[0] <= size <= _SIGNING_BYTES[1]:
                raise ValueError(
                    '24 to 64 bytes in base64 expected; `echo "whsec_$(openssl rand -base64 32)"` makes one'
                )
        return value

    @property
    def alert_recipients(self) -> tuple[str, ...]:
        """Who gets alerts by e-mail."""
        return tuple(part.strip() for part in (self.cdc_alert_email or "").split(",") if part.strip())


def _checked_url(value: str, *schemes: str) -> str:
    """Give a URL of one of these schemes; `http` is for this machine only.

    Raises:
        ValueError: without a word of the URL, which may hold a secret.
    """
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
        parts = urlsplit("")
    if not host or parts.scheme not in {*schemes, "http"} or (parts.scheme == "http" and "https" not in schemes):
        raise ValueError(f"a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)} expected")
    if parts.scheme == "http" and host not in THIS_MACHINE:
        raise ValueError("http is for this machine only; use https")
    return value
