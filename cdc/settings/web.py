"""The HTTP server, and the webhooks that it takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

from cdc.settings.values import THIS_MACHINE, Secrets


class WebSettings(BaseSettings):
    """Where the server listens, and what webhooks prove themselves with."""

    cdc_http_host: str = Field(
        default="127.0.0.1", description="Address of the dashboard, the health endpoints and the webhooks of `cdc run`."
    )
    cdc_http_port: Annotated[int, Field(ge=0, le=65_535)] | None = Field(
        default=None,
        description="Its port; 0 for a free one. Without it there is no HTTP server, except on an embedded database: "
        "there a free port is taken.",
    )
    cdc_webhook_tokens: Secrets | None = Field(
        default=None,
        description="Values that a Supabase database webhook may send as `Authorization: Bearer ...`, separated by "
        "commas: put the new one beside the old to rotate. At least 16 characters each.",
    )
    cdc_webhook_signing_secrets: Secrets | None = Field(
        default=None,
        description="Secrets that the app's own webhooks are signed with, separated by commas (docs/realtime.md). At "
        "least 16 characters each.",
    )

    @property
    def is_http_public(self) -> bool:
        """True when the server listens at an address that can be reached from elsewhere."""
        return self.cdc_http_host not in THIS_MACHINE
