"""Settings that don't go together are refused, and those that do are not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cdc.errors import ConfigError
from cdc.settings import load_settings
from tests.unit.settings.conftest import KEY, URL, ZOHO, set_all

REALTIME = {"SUPABASE_URL": "https://x.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_of_ours"}


@pytest.mark.parametrize("missing", ["DATABASE_URL", *sorted(REALTIME)])
def test_realtime_needs_a_project_its_address_and_a_key(environment: pytest.MonkeyPatch, missing: str) -> None:
    needed = {"CDC_TRANSPORT": "realtime", "DATABASE_URL": URL, "CDC_ENCRYPTION_KEY": KEY, **REALTIME}
    set_all(environment, needed)
    assert load_settings().has_realtime
    environment.delenv(missing)
    with pytest.raises(ConfigError, match=r"CDC_TRANSPORT=realtime needs") as caught:
        load_settings()
    assert missing in str(caught.value)


def test_the_key_for_realtime_may_stand_in_a_file(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, {"SUPABASE_URL": "https://x.supabase.co", "SUPABASE_SERVICE_ROLE_KEY_FILE": "/run/key"})
    assert load_settings().has_realtime


@pytest.mark.parametrize("host", ["::", "10.0.0.7", "example.org"])
def test_a_public_address_without_a_secret_is_refused(environment: pytest.MonkeyPatch, host: str) -> None:
    set_all(environment, {"CDC_HTTP_PORT": "8080", "CDC_HTTP_HOST": host})
    with pytest.raises(ConfigError, match="neither a webhook nor the dashboard has a secret"):
        load_settings()
    environment.setenv("CDC_WEBHOOK_SIGNING_SECRETS", "a-secret-of-the-app-itself")
    assert load_settings().cdc_http_host == host


@pytest.mark.parametrize(
    "way",
    [
        {"CDC_DASHBOARD_TOKENS": "anna:a-token-of-the-dashboard"},
        {"CDC_DASHBOARD_VIEW_TOKENS": "a-token-of-the-dashboard"},
        {"CDC_DASHBOARD_JWT": "jwks", "SUPABASE_URL": "https://x.supabase.co"},
        {"CDC_DASHBOARD_JWT": "secret", "SUPABASE_JWT_SECRET": "a-legacy-secret-of-a-supabase-project"},
    ],
)
def test_a_way_to_sign_in_is_enough_for_a_public_address(
    environment: pytest.MonkeyPatch, way: Mapping[str, str]
) -> None:
    set_all(environment, {"CDC_HTTP_PORT": "8080", "CDC_HTTP_HOST": "::", **way})
    settings = load_settings()
    assert settings.is_http_public
    assert settings.has_dashboard_access


@pytest.mark.parametrize(("way", "needed"), [("jwks", "SUPABASE_URL"), ("secret", "SUPABASE_JWT_SECRET")])
def test_tokens_of_the_app_need_what_they_are_checked_with(
    environment: pytest.MonkeyPatch, way: str, needed: str
) -> None:
    environment.setenv("CDC_DASHBOARD_JWT", way)
    with pytest.raises(ConfigError, match=f"CDC_DASHBOARD_JWT={way} needs {needed}"):
        load_settings()


def test_an_address_of_a_project_alone_lets_nobody_in(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, REALTIME)
    assert not load_settings().has_dashboard_access


def test_a_token_has_one_role(environment: pytest.MonkeyPatch) -> None:
    token = "a-token-of-the-dashboard"
    set_all(environment, {"CDC_DASHBOARD_TOKENS": f"anna:{token}", "CDC_DASHBOARD_VIEW_TOKENS": token})
    with pytest.raises(ConfigError, match="a token stands in CDC_DASHBOARD_TOKENS and") as caught:
        load_settings()
    assert token not in str(caught.value)


@pytest.mark.parametrize("missing", ["ZOHO_CLIENT_ID", "ZOHO_CLIENT_SECRET"])
def test_the_zoho_credentials_go_together(environment: pytest.MonkeyPatch, missing: str) -> None:
    set_all(environment, {name: value for name, value in ZOHO.items() if name != missing})
    with pytest.raises(ConfigError, match=f"{missing} is not set although ZOHO_"):
        load_settings()


def test_a_client_is_enough_where_somebody_has_signed_in(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, {**ZOHO, "DATABASE_URL": URL, "CDC_ENCRYPTION_KEY": KEY, "ZOHO_REFRESH_TOKEN": ""})
    settings = load_settings()
    assert settings.has_crm
    assert settings.zoho_refresh_token is None


def test_sample_data_never_goes_to_a_real_crm(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, ZOHO)
    with pytest.raises(ConfigError, match="DATABASE_URL is not: sample data must not get into a real CRM"):
        load_settings()


def test_a_real_database_needs_an_encryption_key(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", URL)
    with pytest.raises(ConfigError, match="CDC_ENCRYPTION_KEY is not set") as caught:
        load_settings()
    assert "openssl rand -base64 32" in str(caught.value)
