"""Each setting by itself: what it takes, and what it refuses."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import BaseModel

from cdc.errors import ConfigError
from cdc.settings import Settings, describe, load_settings, named_secrets_in, secrets_in, words_in
from tests.unit.settings.conftest import set_all


def test_every_check_of_a_subject_is_in_force() -> None:
    """Pydantic keeps one check of a name: of two subjects that call theirs alike, one would be unchecked."""
    names = Counter(name for subject in Settings.__bases__ for name in checks(subject))
    assert names
    assert set(names.values()) == {1}
    assert set(names) == checks(Settings)


def checks(model: type[BaseModel]) -> set[str]:
    decorators = model.__pydantic_decorators__
    return {*decorators.field_validators, *decorators.validators, *decorators.model_validators}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CDC_TRANSPORT", "carrier-pigeon"),
        ("CDC_SLOT", "Not A Slot"),
        ("CDC_SLOT", "x" * 64),
        ("CDC_PUBLICATION", "1st"),
        ("CDC_POLL_SECONDS", "0"),
        ("CDC_GROUP_CHANGES", "0"),
        ("CDC_GROUP_CHANGES", "many"),
        ("CDC_LEASE_SECONDS", "1"),
        ("CDC_ROLLUP_SECONDS", "-1"),
        ("CDC_JOURNAL_DAYS", "0"),
        ("CDC_LOG", "loud"),
        ("CDC_LOG_LEVEL", "trace"),
        ("CDC_SWEEP_AT", "7:15"),
        ("CDC_SWEEP_AT", "24:15"),
        ("CDC_SWEEP_AT", "07:15,"),
        ("CDC_RECONCILE_AT", "0 3 * * *"),
        ("CDC_HEALTHCHECK_MINUTES", "-1"),
        ("ZOHO_DATA_CENTER", "MOON"),
        ("ZOHO_EDITION", "gold"),
        ("ZOHO_USERS", "0"),
        ("ZOHO_CONCURRENCY", "26"),
        ("ZOHO_SYNC_ENABLED", "perhaps"),
        ("ZOHO_API_DOMAIN", "crm.example.org"),
        ("ZOHO_ACCOUNTS_URL", "http://accounts.zoho.eu"),
        ("ZOHO_UPLOAD_URL", "ftp://content.zohoapis.eu"),
        ("SUPABASE_URL", "abcdefgh.supabase.co"),
        ("SUPABASE_URL", "http://abcdefgh.supabase.co"),
        ("CDC_REALTIME_CANARY_SECONDS", "0"),
        ("CDC_REALTIME_SWEEP_SECONDS", "0"),
        ("CDC_HTTP_PORT", "65536"),
        ("CDC_WEBHOOK_TOKENS", "long-enough-to-be-taken,short"),
        ("CDC_WEBHOOK_TOKENS", " , "),
        ("CDC_WEBHOOK_SIGNING_SECRETS", "too-short"),
        ("CDC_DASHBOARD_TOKENS", "long-enough-to-be-taken,short"),
        ("CDC_DASHBOARD_TOKENS", "a-long-name-in-front-of-it:short"),
        ("CDC_DASHBOARD_TOKENS", "<b>anna</b>:long-enough-to-be-taken"),
        ("CDC_DASHBOARD_VIEW_TOKENS", " , "),
        ("CDC_DASHBOARD_JWT", "maybe"),
        ("CDC_DASHBOARD_ROLE_CLAIM", "app_metadata..role"),
        ("CDC_DASHBOARD_ROLE_CLAIM", "user_metadata.role"),
        ("CDC_DASHBOARD_ROLE_CLAIM", "raw_user_meta_data.role"),
        ("CDC_DASHBOARD_ROLE_CLAIM", "nested.user_metadata.role"),
        ("CDC_DASHBOARD_ROLE_CLAIM", "email"),
        ("CDC_DASHBOARD_OPERATOR_ROLES", "admin, authenticated"),
        ("CDC_DASHBOARD_VIEWER_ROLES", "anon"),
        ("CDC_HTTP_ALLOWED_HOSTS", "https://ops.example.org"),
        ("CDC_HTTP_ALLOWED_HOSTS", "ops.example.org:8080"),
        ("CDC_HTTP_ALLOWED_HOSTS", "*"),
        ("CDC_TRUSTED_PROXIES", "everybody"),
        ("CDC_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("CDC_TRUSTED_PROXIES", "*"),
        ("SUPABASE_JWT_SECRET", "shorter-than-32-characters"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_not_repeated(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(ConfigError, match=f"^{name}: ") as caught:
        load_settings()
    assert caught.value.exit_code == 2
    if len(value) > 3:
        assert value not in str(caught.value)


def test_secrets_of_webhooks_come_in_lists_and_are_not_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CDC_WEBHOOK_TOKENS", "the-old-token-of-ours, the-new-token-of-ours")
    settings = load_settings()
    assert secrets_in(settings.cdc_webhook_tokens) == ("the-old-token-of-ours", "the-new-token-of-ours")
    assert secrets_in(settings.cdc_webhook_signing_secrets) == ()
    assert "token-of-ours" not in str(describe(settings)) + repr(settings)


def test_tokens_have_names_and_hosts_and_networks_come_in_lists(environment: pytest.MonkeyPatch) -> None:
    set_all(
        environment,
        {
            "CDC_DASHBOARD_TOKENS": "anna:a-token-of-the-dashboard, another-token-of-the-dashboard==",
            "CDC_HTTP_ALLOWED_HOSTS": "ops.example.org, [fd00::1]",
            "CDC_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        },
    )
    settings = load_settings()
    assert named_secrets_in(settings.cdc_dashboard_tokens) == [
        ("anna", "a-token-of-the-dashboard"),
        (None, "another-token-of-the-dashboard=="),
    ]
    assert words_in(settings.cdc_http_allowed_hosts) == ("ops.example.org", "[fd00::1]")
    assert "token-of-the-dashboard" not in str(describe(settings)) + repr(settings)


def test_http_is_allowed_for_this_machine(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ZOHO_API_DOMAIN", "http://127.0.0.1:8080/")
    assert load_settings().zoho_api_domain == "http://127.0.0.1:8080"
