"""Which settings don't go together."""

from __future__ import annotations

from collections.abc import Iterator

from cdc.errors import ConfigError
from cdc.settings.model import Settings
from cdc.settings.words import named_secrets_in


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
