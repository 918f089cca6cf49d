"""Settings: read once, refused with a name and a fix, and never shown with a secret in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc.errors import ConfigError
from cdc.settings import describe, load_settings, unknown_variables
from tests.unit.settings.conftest import KEY, PASSWORD, URL, ZOHO, set_all

SECRETS = (PASSWORD, KEY, "zoho-secret", "1000.refresh")


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


def test_known_and_foreign_variables_are_no_news() -> None:
    quiet = {"PATH": "x", "DATABASE_URL": "x", "cdc_slot": "x", "CDC_TEST_DSN": "x", "CDC_POSTGRES_BIN": "x"}
    assert unknown_variables(quiet) == []


def test_unknown_variables_of_the_dotenv_file_are_found(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CDC_PROFIL=core\n")
    assert "CDC_PROFIL is not a setting; did you mean CDC_PROFILE?" in unknown_variables()
