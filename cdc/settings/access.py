"""Who gets at the dashboard and at the metrics, and from where."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from cdc.settings.values import Secrets, check_long_enough, lower
from cdc.settings.words import named_secrets_in, words_in

DashboardJwt = Annotated[Literal["off", "jwks", "secret"], BeforeValidator(lower)]

_NAME_OF_A_TOKEN = re.compile(r"[\w.@ -]{1,40}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_CLAIM = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*", re.ASCII)
_USERS_WRITE = frozenset({"user_metadata", "raw_user_meta_data", "email", "phone"})
_EVERYBODY = frozenset({"authenticated", "anon"})


class AccessSettings(BaseSettings):
    """Hosts and proxies, tokens, people of the app, and what Prometheus sends."""

    cdc_http_allowed_hosts: str | None = Field(
        default=None,
        description="Names that a browser may reach the dashboard under, separated by commas, without a port. Those of "
        "this machine always may. Where it listens on this machine alone, a name behind a proxy must be given.",
    )
    cdc_trusted_proxies: str | None = Field(
        default=None,
        description="Addresses or networks (`10.0.0.0/8`) of proxies, separated by commas, that are believed in "
        "X-Forwarded-Proto and X-Forwarded-For. Default: none.",
    )
    cdc_dashboard_tokens: SecretStr | None = Field(
        default=None,
        description="Tokens that sign in to the dashboard as operator, separated by commas, each `token` or "
        "`name:token`; the name is what the audit shows. At least 16 characters each (docs/access.md).",
    )
    cdc_dashboard_view_tokens: SecretStr | None = Field(
        default=None, description="The same for the role viewer, which changes nothing."
    )
    cdc_dashboard_jwt: DashboardJwt = Field(
        default="off",
        description="Whether the app's own people may sign in with their Supabase token: `jwks` checks it with the "
        "project's public keys (SUPABASE_URL), `secret` with SUPABASE_JWT_SECRET.",
    )
    cdc_dashboard_jwt_audience: str = Field(
        default="authenticated", min_length=1, description="`aud` that such a token must have."
    )
    cdc_dashboard_role_claim: str = Field(
        default="app_metadata.role",
        description="Path of the claim with a role, or a list of them. What users can write themselves is refused.",
    )
    cdc_dashboard_operator_roles: str = Field(
        default="admin,superadmin", description="Roles of the app that are operators, separated by commas."
    )
    cdc_dashboard_viewer_roles: str | None = Field(
        default=None, description="Roles of the app that may look, separated by commas."
    )
    cdc_metrics_tokens: Secrets | None = Field(
        default=None,
        description="Values that Prometheus may send as `Authorization: Bearer ...` to `/metrics`, separated by "
        "commas. Without one only this machine may ask. At least 16 characters each (docs/alerts.md).",
    )

    @field_validator("cdc_dashboard_tokens", "cdc_dashboard_view_tokens")
    @classmethod
    def _named_tokens(cls, value: SecretStr | None) -> SecretStr | None:
        found = named_secrets_in(value)
        if value is not None:
            check_long_enough([secret for _, secret in found])
        if not all(name is None or _NAME_OF_A_TOKEN.fullmatch(name) for name, _ in found):
            raise ValueError("before the colon a name of letters and digits is expected; a token has no colon")
        return value

    @field_validator("cdc_http_allowed_hosts")
    @classmethod
    def _hosts(cls, value: str | None) -> str | None:
        if not all(_HOST.fullmatch(name.lower()) for name in words_in(value)):
            raise ValueError("names such as ops.example.org expected, without scheme and port")
        return value

    @field_validator("cdc_trusted_proxies")
    @classmethod
    def _networks(cls, value: str | None) -> str | None:
        for word in words_in(value):
            try:
                ip_network(word)
            except ValueError:
                raise ValueError("addresses or networks such as 10.0.0.0/8 expected") from None
        return value

    @field_validator("cdc_dashboard_role_claim")
    @classmethod
    def _claim(cls, value: str) -> str:
        if _CLAIM.fullmatch(value) is None:
            raise ValueError("a path such as app_metadata.role expected")
        if not _USERS_WRITE.isdisjoint(value.split(".")):
            raise ValueError(
                "users can write this claim themselves; take one under app_metadata, or one of an access token hook"
            )
        return value

    @field_validator("cdc_dashboard_operator_roles", "cdc_dashboard_viewer_roles")
    @classmethod
    def _roles(cls, value: str | None) -> str | None:
        if not _EVERYBODY.isdisjoint(words_in(value)):
            raise ValueError("this is what everybody has; name roles that administrators of the app alone have")
        return value

    @property
    def has_dashboard_access(self) -> bool:
        """True when a way to sign in to the dashboard is configured."""
        return bool(self.cdc_dashboard_tokens or self.cdc_dashboard_view_tokens) or self.cdc_dashboard_jwt != "off"
