"""Every setting, in one place.

Names are those of the environment variables, in lower case. Nothing else in the program looks at the environment, but
for what systemd says of itself (`runtime.supervision`).
Values come from the environment, then from a `.env` file in the working directory, then from the defaults here.
"""

from __future__ import annotations

import difflib
import os
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from datetime import time
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cdc.errors import ConfigError

SHORTEST_SECRET = 16
"""Characters that a secret of a webhook has at least."""

_PREFIXES = ("CDC_", "ZOHO_")
_TEST_PREFIXES = ("CDC_TEST_", "CDC_POSTGRES_BIN")  # read by the tests and by the embedded server, not by the pipeline

# No @ behind the address: a password that isn't percent-encoded puts parts of itself where host, port or path belong.
_URL = re.compile(r"(postgres(?:ql)?://)(?:([^:@/?#]*)(?::[^/?#]*)?@)?([^@/?#]*)(/[^@?#]*)?(?:[?#][^@]*)?")


_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_REMOVED = MappingProxyType({"CDC_SWEEP_HOURS": "set CDC_SWEEP_AT to times of day instead"})
"""Settings of earlier versions, and what to do instead."""
_ADDRESS = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+")
_SIGNING_BYTES = (24, 64)
_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Transport = Annotated[Literal["auto", "stream", "poll", "realtime"], BeforeValidator(_lower)]
DataCenter = Annotated[
    Literal["US", "EU", "IN", "AU", "CN", "JP", "CA", "SA", "UK", "AE"],
    BeforeValidator(_upper),
]
Edition = Annotated[Literal["free", "standard", "professional", "enterprise", "ultimate"], BeforeValidator(_lower)]
DashboardJwt = Annotated[Literal["off", "jwks", "secret"], BeforeValidator(_lower)]
Seconds = Annotated[float, Field(ge=0)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]


def times_of_day(value: str) -> tuple[time, ...]:
    """Read `02:00` or `02:00, 14:30`; nothing for `off`.

    Raises:
        ValueError: saying what was expected.
    """
    if value.strip().lower() == "off":
        return ()
    parts = [part.strip() for part in value.split(",")]
    if not all(_TIME_OF_DAY.fullmatch(part) for part in parts):
        raise ValueError("times of day in UTC, such as 02:00 or 02:00,14:00, or `off` expected")
    return tuple(sorted({time.fromisoformat(part) for part in parts}))


def _check_times(value: str) -> str:
    times_of_day(value)
    return value


TimesOfDay = Annotated[str, AfterValidator(_check_times)]

_NAME_OF_A_TOKEN = re.compile(r"[\w.@ -]{1,40}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_CLAIM = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*", re.ASCII)
_USERS_WRITE = frozenset({"user_metadata", "raw_user_meta_data", "email", "phone"})
_EVERYBODY = frozenset({"authenticated", "anon"})


class Settings(BaseSettings):
    """What the program runs with."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="The source database. On Supabase the direct host for `stream`, the session pooler for `poll`. "
        "Without it an embedded Postgres with sample data is started.",
    )
    cdc_state_dsn: SecretStr | None = Field(
        default=None, description="Where the cdc schema's tables live. Default: the source database."
    )
    cdc_profile: str = Field(
        default="core", description="A shipped profile (`core`, `2026`) or the path of a folder with a feeds.toml."
    )
    cdc_transport: Transport = Field(
        default="auto",
        description="`stream`, `poll`, `realtime` (no slot at all, docs/realtime.md), or `auto`: the first that works, "
        "said why at start.",
    )
    cdc_slot: str = Field(
        default="optio_cdc",
        pattern=r"^[a-z0-9_]{1,63}$",
        description="Name of the replication slot, and of the pipeline.",
    )
    cdc_slot_failover: bool = Field(
        default=True,
        description="Make the slot one that standbys keep a copy of, where the server can do that (Postgres 17). It "
        "costs nothing without such a standby; see docs/slot.md.",
    )
    cdc_publication: str = Field(
        default="optio_cdc", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="Name of the publication."
    )
    cdc_encryption_key: SecretStr | None = Field(
        default=None,
        description="32 random bytes in base64 or hex (`cdc keys new` makes them), or several separated by commas: "
        "the first encrypts, all decrypt (docs/keys.md). Protects the Zoho tokens and the key of the ledger's hashes.",
    )
    cdc_rollup_seconds: Seconds = Field(
        default=300, description="Length of the `rollup` lane's window: what gathers in it leaves together at its end."
    )
    cdc_daily_seconds: Seconds = Field(
        default=86_400, description="Length of the `daily` lane's window; a day ends at midnight UTC."
    )
    cdc_sweep_at: TimesOfDay = Field(
        default="02:00",
        description="Everything is compared with the ledger at these times of day (UTC, separated by commas), by one "
        "process of all; `off` for never.",
    )
    cdc_reconcile_at: TimesOfDay = Field(
        default="03:00",
        description="The CRM is compared at these times of day (UTC), in the same way; `off` for never.",
    )
    cdc_healthcheck_minutes: Annotated[float, Field(ge=0)] = Field(
        default=15, description="How things stand is judged and put on record so often; 0 for never."
    )
    cdc_poll_seconds: Annotated[float, Field(gt=0)] = Field(
        default=0.5, description="Pause between two reads of an idle slot (`poll`)."
    )
    cdc_group_changes: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=100_000, description="Row changes that capture makes durable in one transaction, at most."
    )
    cdc_lease_seconds: Annotated[float, Field(ge=5)] = Field(
        default=120, description="How long a worker may hold a dirty key. Longer than any request can last."
    )
    cdc_bulk_from: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Due records from which a backfill goes by Bulk Write; 0 for never. Default: from where that is "
        "cheaper, which is 5,001.",
    )
    cdc_bulk_rows: Annotated[int, Field(ge=1, le=25_000)] = Field(
        default=25_000, description="Records in one Bulk Write job, at most."
    )
    cdc_drain_seconds: Seconds = Field(
        default=20, description="How long a stop waits for what is in flight before it is given back."
    )
    cdc_journal_days: Annotated[float, Field(gt=0)] = Field(default=7, description="How long the journal is kept.")
    cdc_journal_mb: Annotated[float, Field(gt=0)] = Field(
        default=1_024,
        description="How many megabytes it may take; the oldest chunks go first. A million changes take about 20.",
    )
    cdc_log: Annotated[Literal["auto", "json", "text"], BeforeValidator(_lower)] = Field(
        default="auto", description="Form of the log on stderr; `auto` is text on a terminal and JSON elsewhere."
    )
    cdc_log_level: LogLevel = Field(
        default="info", description="Lowest level that is logged. `cdc log-level` sets another one while it runs."
    )
    cdc_realtime_canary_seconds: Annotated[float, Field(gt=0)] = Field(
        default=30,
        description="A row of ours is written so often and must come back through Realtime; after twice that time "
        "without it the connection is made anew (`realtime`).",
    )
    cdc_realtime_sweep_seconds: Annotated[float, Field(gt=0)] = Field(
        default=60,
        description="Everything is compared so often, since Realtime may drop a change (`realtime`). Less often where "
        "that would take more than a tenth of the time.",
    )
    cdc_reconcile_fix: bool = Field(
        default=False,
        description="Let the daily comparison with the CRM put right what differs, where its gates allow it "
        "(docs/reconcile.md). Without it there is a report only.",
    )
    cdc_report_dir: Path | None = Field(
        default=None,
        description="Folder for the reports of `cdc reconcile`. Without it the result is in the table only.",
    )
    cdc_http_host: str = Field(
        default="127.0.0.1", description="Address of the dashboard, the health endpoints and the webhooks of `cdc run`."
    )
    cdc_http_port: Annotated[int, Field(ge=0, le=65_535)] | None = Field(
        default=None,
        description="Its port; 0 for a free one. Without it there is no HTTP server, except on an embedded database: "
        "there a free port is taken.",
    )
    cdc_webhook_tokens: SecretStr | None = Field(
        default=None,
        description="Values that a Supabase database webhook may send as `Authorization: Bearer ...`, separated by "
        "commas: put the new one beside the old to rotate. At least 16 characters each.",
    )
    cdc_webhook_signing_secrets: SecretStr | None = Field(
        default=None,
        description="Secrets that the app's own webhooks are signed with, separated by commas (docs/realtime.md). At "
        "least 16 characters each.",
    )

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
    cdc_metrics_tokens: SecretStr | None = Field(
        default=None,
        description="Values that Prometheus may send as `Authorization: Bearer ...` to `/metrics`, separated by "
        "commas. Without one only this machine may ask. At least 16 characters each (docs/alerts.md).",
    )
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

    supabase_url: str | None = Field(
        default=None,
        description="`https://<ref>.supabase.co`, for the transport `realtime` and for CDC_DASHBOARD_JWT.",
    )
    supabase_jwt_secret: SecretStr | None = Field(
        default=None, min_length=32, description="The project's legacy JWT secret, for `CDC_DASHBOARD_JWT=secret`."
    )
    supabase_service_role_key: SecretStr | None = Field(
        default=None, description="Secret key (`sb_secret_...`) or service_role key, for the transport `realtime`."
    )
    supabase_service_role_key_file: Path | None = Field(
        default=None,
        description="A file with that key instead. It is read anew at each join, and before a token in it runs out.",
    )

    zoho_client_id: str | None = Field(default=None, description="Client id. Without it the simulator is started.")
    zoho_client_secret: SecretStr | None = Field(default=None, description="Client secret.")
    zoho_refresh_token: SecretStr | None = Field(
        default=None, description="Refresh token, if it isn't to be the one that `cdc login zoho` stores."
    )
    zoho_data_center: DataCenter = Field(default="US", description="Data centre of the organisation.")
    zoho_api_domain: str | None = Field(
        default=None, description="Origin of the CRM API. Default: what the token answer says, else the data centre's."
    )
    zoho_accounts_url: str | None = Field(
        default=None, description="Origin of the token endpoint. Default: the data centre's."
    )
    zoho_upload_url: str | None = Field(
        default=None, description="Origin for bulk uploads. Default: the data centre's."
    )
    zoho_edition: Edition = Field(default="standard", description="Edition, for the credit and concurrency limits.")
    zoho_users: Annotated[int, Field(ge=1)] = Field(default=1, description="User licences, for the credit limit.")
    zoho_concurrency: Annotated[int, Field(ge=1, le=25)] = Field(
        default=4,
        description="Calls at once from this process. Zoho counts all processes of the organisation together.",
    )
    zoho_sync_enabled: bool = Field(
        default=True, description="`false` stops delivery; capture goes on and nothing is lost."
    )

    @field_validator("cdc_webhook_tokens", "cdc_webhook_signing_secrets", "cdc_metrics_tokens")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        secrets = secrets_in(value)
        if value is not None and (not secrets or min(map(len, secrets)) < SHORTEST_SECRET):
            raise ValueError(f"at least {SHORTEST_SECRET} characters each expected; `openssl rand -hex 32` makes one")
        return value

    @field_validator("cdc_dashboard_tokens", "cdc_dashboard_view_tokens")
    @classmethod
    def _named_tokens(cls, value: SecretStr | None) -> SecretStr | None:
        found = named_secrets_in(value)
        if value is not None and (not found or min(len(secret) for _, secret in found) < SHORTEST_SECRET):
            raise ValueError(f"at least {SHORTEST_SECRET} characters each expected; `openssl rand -hex 32` makes one")
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

    @field_validator("zoho_api_domain", "zoho_accounts_url", "zoho_upload_url", "supabase_url")
    @classmethod
    def _origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"https", "http"} or not parts.hostname:
            raise ValueError("an origin such as https://www.zohoapis.eu or https://<ref>.supabase.co expected")
        if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
            raise ValueError("http is for this machine only; use https")
        return value.rstrip("/")

    @property
    def alert_recipients(self) -> tuple[str, ...]:
        """Who gets alerts by e-mail."""
        return tuple(part.strip() for part in (self.cdc_alert_email or "").split(",") if part.strip())

    @property
    def has_crm(self) -> bool:
        """True when a CRM is configured; False means the simulator."""
        return self.zoho_client_id is not None

    @property
    def has_realtime(self) -> bool:
        """True when Supabase Realtime is configured."""
        has_key = self.supabase_service_role_key is not None or self.supabase_service_role_key_file is not None
        return self.supabase_url is not None and has_key

    @property
    def is_http_public(self) -> bool:
        """True when the server listens at an address that can be reached from elsewhere."""
        return self.cdc_http_host not in {"127.0.0.1", "::1", "localhost"}

    @property
    def has_dashboard_access(self) -> bool:
        """True when a way to sign in to the dashboard is configured."""
        return bool(self.cdc_dashboard_tokens or self.cdc_dashboard_view_tokens) or self.cdc_dashboard_jwt != "off"


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
    if parts.scheme == "http" and host not in _THIS_MACHINE:
        raise ValueError("http is for this machine only; use https")
    return value


def secrets_in(value: SecretStr | None) -> tuple[str, ...]:
    """Split a setting that holds several secrets, separated by commas."""
    parts = value.get_secret_value().split(",") if value is not None else []
    return tuple(part.strip() for part in parts if part.strip())


def named_secrets_in(value: SecretStr | None) -> list[tuple[str | None, str]]:
    """Split a setting that holds several secrets, each with a name before a colon or without: (name, secret)."""
    parted = [part.rpartition(":") for part in secrets_in(value)]
    return [(name.strip() if colon else None, secret.strip()) for name, colon, secret in parted]


def words_in(value: str | None) -> tuple[str, ...]:
    """Split a setting that holds several words, separated by commas."""
    return tuple(word.strip() for word in (value or "").split(",") if word.strip())


def load_settings(**overrides: Any) -> Settings:
    """Read the settings once.

    Args:
        **overrides: values by setting name that win over the environment (command-line options).

    Raises:
        ConfigError: naming the variable and what it takes. It never holds the value.
    """
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise _refusals(error)[0] from None
    for contradiction in contradictions(settings):
        raise contradiction
    return settings


def salvage_settings() -> tuple[Settings, list[ConfigError]]:
    """Read what can be read, for a command that looks into what is wrong.

    Returns:
        The settings, with defaults in place of what is refused; and every refusal and contradiction.
    """
    try:
        settings, refusals = Settings(), []
    except ValidationError as error:
        refusals = _refusals(error)
        refused = {str(e["loc"][0]) for e in error.errors(include_url=False, include_input=False) if e["loc"]}
        settings = Settings(**{name: Settings.model_fields[name].default for name in refused})
    return settings, [*refusals, *contradictions(settings)]


def _refusals(error: ValidationError) -> list[ConfigError]:
    return [
        ConfigError(
            f"{str(each['loc'][0]).upper() if each['loc'] else 'settings'}: {each['msg']}",
            fix="docs/reference/settings.md says what it takes",
        )
        for each in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def contradictions(settings: Settings) -> Iterator[ConfigError]:
    """Say which settings don't go together."""
    pair = {"ZOHO_CLIENT_ID": settings.zoho_client_id, "ZOHO_CLIENT_SECRET": settings.zoho_client_secret}
    given = {name for name, value in (*pair.items(), ("ZOHO_REFRESH_TOKEN", settings.zoho_refresh_token)) if value}
    missing = [name for name, value in pair.items() if value is None]
    if missing and given:
        yield ConfigError(
            f"{missing[0]} is not set although {sorted(given)[0]} is",
            fix="set ZOHO_CLIENT_ID and ZOHO_CLIENT_SECRET, and sign in with `cdc login zoho`; or set none of them",
        )
    if settings.has_crm and settings.database_url is None:
        yield ConfigError(
            "ZOHO_CLIENT_ID is set and DATABASE_URL is not: sample data must not get into a real CRM",
            fix="set DATABASE_URL, or unset the ZOHO_* variables to use the simulator",
        )
    yield from _doorbell_contradictions(settings)
    yield from _dashboard_contradictions(settings)
    yield from _alert_contradictions(settings)
    if settings.database_url is not None and settings.cdc_encryption_key is None:
        yield ConfigError(
            "CDC_ENCRYPTION_KEY is not set; it protects the Zoho tokens in the database and the ledger's key",
            fix='export CDC_ENCRYPTION_KEY="$(openssl rand -base64 32)", and keep it; `cdc keys new` makes one, too',
        )


def _alert_contradictions(settings: Settings) -> Iterator[ConfigError]:
    pairs = (("cdc_alert_smtp_url", "cdc_alert_email"), ("cdc_alert_webhook_url", "cdc_alert_webhook_secret"))
    for one, other in pairs:
        given = [name for name in (one, other) if getattr(settings, name) is not None]
        if len(given) == 1:
            missing = other if given[0] == one else one
            yield ConfigError(f"{missing.upper()} is not set although {given[0].upper()} is", fix="set both, or none")


def _doorbell_contradictions(settings: Settings) -> Iterator[ConfigError]:
    if settings.cdc_transport == "realtime":
        if settings.database_url is None:
            yield ConfigError("CDC_TRANSPORT=realtime needs a Supabase project", fix="set DATABASE_URL to its database")
        if not settings.has_realtime:
            yield ConfigError(
                "CDC_TRANSPORT=realtime needs SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY",
                fix="set both (dashboard, API Keys); the key may stand in a file: SUPABASE_SERVICE_ROLE_KEY_FILE",
            )
    tokens = settings.cdc_webhook_tokens or settings.cdc_webhook_signing_secrets or settings.cdc_metrics_tokens
    has_secret = tokens or settings.has_dashboard_access
    if settings.is_http_public and settings.cdc_http_port is not None and not has_secret:
        yield ConfigError(
            f"CDC_HTTP_HOST={settings.cdc_http_host} can be reached from elsewhere, and neither a webhook nor the "
            "dashboard has a secret",
            fix="set CDC_DASHBOARD_TOKENS, CDC_WEBHOOK_TOKENS or CDC_WEBHOOK_SIGNING_SECRETS, or listen on 127.0.0.1",
        )


def _dashboard_contradictions(settings: Settings) -> Iterator[ConfigError]:
    needed = {"jwks": "SUPABASE_URL", "secret": "SUPABASE_JWT_SECRET"}.get(settings.cdc_dashboard_jwt)
    if needed is not None and getattr(settings, needed.lower()) is None:
        yield ConfigError(
            f"CDC_DASHBOARD_JWT={settings.cdc_dashboard_jwt} needs {needed}",
            fix=f"set {needed}, or CDC_DASHBOARD_JWT=off",
        )
    both = {secret for _, secret in named_secrets_in(settings.cdc_dashboard_tokens)} & {
        secret for _, secret in named_secrets_in(settings.cdc_dashboard_view_tokens)
    }
    if both:
        yield ConfigError(
            "a token stands in CDC_DASHBOARD_TOKENS and in CDC_DASHBOARD_VIEW_TOKENS", fix="leave it out of one of them"
        )


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Name CDC_* and ZOHO_* variables that no setting has, each with the nearest name that exists."""
    found: Iterable[str] = environment if environment is not None else {**os.environ, **_dotenv()}
    known = [name.upper() for name in Settings.model_fields]
    warnings = []
    for name in sorted({n.upper() for n in found}):
        if name in known or not name.startswith(_PREFIXES) or name.startswith(_TEST_PREFIXES):
            continue
        if name in _REMOVED:
            warnings.append(f"{name} has no meaning any more: {_REMOVED[name]}")
            continue
        near = difflib.get_close_matches(name, known, n=1)
        warnings.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    return warnings


def describe(settings: Settings) -> list[tuple[str, str, str]]:
    """List (variable, value, origin) of every setting; secrets and passwords are hidden."""
    environment = {name.upper() for name, value in os.environ.items() if value}
    dotenv = {name.upper() for name, value in _dotenv().items() if value}
    rows = []
    for field in Settings.model_fields:
        name = field.upper()
        if name in environment:
            origin = "environment"
        elif name in dotenv:
            origin = ".env"
        else:
            origin = "default" if field not in settings.model_fields_set else "command line"
        rows.append((name, _shown(getattr(settings, field)), origin))
    return rows


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, SecretStr):
        return redact_dsn(value.get_secret_value())
    return str(value)


def redact_dsn(secret: str) -> str:
    """Show of a connection URL what helps (user, host, port, database), and of any other secret nothing."""
    url = _URL.fullmatch(secret)
    if url is None:
        return "********"
    scheme, user, address, path = url.groups(default="")
    return f"{scheme}{user}{'@' if user else ''}{address}{path}"


def _dotenv() -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(Path(".env")).items()}
