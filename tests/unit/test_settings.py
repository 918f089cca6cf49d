"""Settings: read once, refused with a name and a fix, and never shown with a secret in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from pathlib import Path

import pytest

from cdc.errors import ConfigError
from cdc.settings import (
    Settings,
    describe,
    load_settings,
    named_secrets_in,
    redact_dsn,
    secrets_in,
    times_of_day,
    unknown_variables,
    words_in,
)

PASSWORD = "s3cr3t-pa55"
URL = f"postgresql://app:{PASSWORD}@db.example.org:5432/app"
KEY = "bm90LWEtcmVhbC1rZXktYnV0LTMyLWJ5dGVzLWxvbmc="
ZOHO = {"ZOHO_CLIENT_ID": "1000.ID", "ZOHO_CLIENT_SECRET": "zoho-secret", "ZOHO_REFRESH_TOKEN": "1000.refresh"}
SECRETS = (PASSWORD, KEY, "zoho-secret", "1000.refresh")


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours, and a working directory without a .env file."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def set_all(environment: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        environment.setenv(name, value)


def test_with_nothing_set_everything_has_a_default() -> None:
    settings = load_settings()
    assert (settings.database_url, settings.cdc_profile, settings.cdc_transport) == (None, "core", "auto")
    assert not settings.has_crm


def test_environment_beats_dotenv_beats_default_and_the_command_line_beats_all(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("CDC_SLOT=from_file\nCDC_PROFILE=2026\nCDC_JOURNAL_DAYS=3\n")
    environment.setenv("CDC_SLOT", "from_environment")
    settings = load_settings(cdc_journal_days=1)
    assert (settings.cdc_slot, settings.cdc_profile, settings.cdc_journal_days) == ("from_environment", "2026", 1)
    origins = {name: origin for name, _, origin in describe(settings)}
    assert (origins["CDC_SLOT"], origins["CDC_PROFILE"], origins["CDC_LOG"]) == ("environment", ".env", "default")


def test_choices_are_read_in_any_case(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, {"CDC_TRANSPORT": "STREAM", "ZOHO_DATA_CENTER": "eu", "ZOHO_EDITION": "Enterprise"})
    settings = load_settings()
    assert (settings.cdc_transport, settings.zoho_data_center, settings.zoho_edition) == ("stream", "EU", "enterprise")


def test_an_empty_variable_is_as_good_as_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "")
    assert load_settings().database_url is None


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


def test_secrets_of_webhooks_come_in_lists_and_are_not_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CDC_WEBHOOK_TOKENS", "the-old-token-of-ours, the-new-token-of-ours")
    settings = load_settings()
    assert secrets_in(settings.cdc_webhook_tokens) == ("the-old-token-of-ours", "the-new-token-of-ours")
    assert secrets_in(settings.cdc_webhook_signing_secrets) == ()
    assert "token-of-ours" not in str(describe(settings)) + repr(settings)


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


def test_no_secret_shows_in_any_form_of_the_settings(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, {**ZOHO, "DATABASE_URL": URL, "CDC_STATE_DSN": URL, "CDC_ENCRYPTION_KEY": KEY})
    settings = load_settings()
    shown = [repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())]
    shown.append(str(describe(settings)))
    assert [secret for secret in SECRETS for text in shown if secret in text] == []
    values = {name: value for name, value, _ in describe(settings)}
    assert values["DATABASE_URL"] == "postgresql://app@db.example.org:5432/app"
    assert values["ZOHO_CLIENT_SECRET"] == "********"


def test_no_secret_shows_in_a_refusal(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, {**ZOHO, "DATABASE_URL": URL, "CDC_ENCRYPTION_KEY": KEY, "CDC_SLOT": PASSWORD + "!"})
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert [secret for secret in SECRETS if secret in str(caught.value) or secret in repr(caught.value)] == []
    assert caught.value.__suppress_context__  # pydantic's own error would be printed with the traceback


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        (URL, "postgresql://app@db.example.org:5432/app"),
        ("postgres://app:p%40ss@h/db", "postgres://app@h/db"),
        ("postgresql://app:p@ss@h/db", "postgresql://app@h/db"),
        ("postgresql://app@h/db?password=hidden&sslmode=require", "postgresql://app@h/db"),
        ("postgresql://h:5433/db", "postgresql://h:5433/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db"),
        ("postgresql://app:pw@[::1]:5432/db", "postgresql://app@[::1]:5432/db"),
    ],
)
def test_of_a_connection_url_only_what_helps_is_shown(secret: str, shown: str) -> None:
    assert redact_dsn(secret) == shown


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        "host=h user=app password=hidden",
        "postgresql://app:12/34@h/db",
        "postgresql://app:12#34@h/db",
        "postgresql://app:12?34@h/db",
        "postgresql://app:[x]/34@h/db",
        "https://app:pw@h/",
    ],
)
def test_what_is_not_surely_a_url_is_hidden_whole(secret: str) -> None:
    """A password that isn't percent-encoded puts its parts where host, port and path belong."""
    assert redact_dsn(secret) == "********"


def test_an_unknown_variable_is_named_with_the_nearest_that_exists() -> None:
    found = unknown_variables({"CDC_STATE_DNS": "x", "zoho_clientid": "x", "CDC_QQQQQQ": "x"})
    assert found == [
        "CDC_QQQQQQ is not a setting",
        "CDC_STATE_DNS is not a setting; did you mean CDC_STATE_DSN?",
        "ZOHO_CLIENTID is not a setting; did you mean ZOHO_CLIENT_ID?",
    ]


def test_a_setting_of_an_earlier_version_is_named_with_what_took_its_place() -> None:
    [warning] = unknown_variables({"CDC_SWEEP_HOURS": "6"})
    assert "CDC_SWEEP_HOURS" in warning
    assert "CDC_SWEEP_AT" in warning


@pytest.mark.parametrize(
    ("written", "read"), [("02:00", [time(2)]), (" 14:30, 02:05 ", [time(2, 5), time(14, 30)]), ("OFF", [])]
)
def test_times_of_day(written: str, read: list[time]) -> None:
    assert list(times_of_day(written)) == read


def test_known_and_foreign_variables_are_no_news() -> None:
    quiet = {"PATH": "x", "DATABASE_URL": "x", "cdc_slot": "x", "CDC_TEST_DSN": "x", "CDC_POSTGRES_BIN": "x"}
    assert unknown_variables(quiet) == []


def test_unknown_variables_of_the_dotenv_file_are_found(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CDC_PROFIL=core\n")
    assert "CDC_PROFIL is not a setting; did you mean CDC_PROFILE?" in unknown_variables()


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
