"""Settings, profile, key and HTTP are made wrong; the fix, carried out, makes them right. No secret is ever said."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from cdc.runtime.doctor import machine
from cdc.runtime.doctor.finding import Level
from tests.integration.runtime.doctor.conftest import ROLE_PASSWORD, Patient
from tests.integration.runtime.doctor.test_state import seal

SECRETS = {
    "DATABASE_URL": "postgresql://app:planted-password@127.0.0.1:1/app",
    "CDC_STATE_DSN": "postgresql://app:planted-state@127.0.0.1:1/app",
    "CDC_ENCRYPTION_KEY": "cGxhbnRlZC1rZXktcGxhbnRlZC1rZXktcGxhbnRlZC0=",
    "CDC_WEBHOOK_TOKENS": "planted-webhook-token",
    "CDC_WEBHOOK_SIGNING_SECRETS": "planted-signing-secret",
    "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_planted",
    "ZOHO_CLIENT_ID": "1000.ID",
    "ZOHO_CLIENT_SECRET": "planted-client-secret",
    "ZOHO_REFRESH_TOKEN": "1000.planted-refresh",
}


async def test_several_settings_that_are_wrong_are_all_named(patient: Patient) -> None:
    patient.set(CDC_SLOT="No Such Slot!", CDC_LEASE_SECONDS="1", CDC_TRANSPORT="realtime")
    found = await patient.see("runtime.settings")
    assert {f.level for f in found} == {Level.PROBLEM}
    said = " ".join(f.what for f in found)
    assert all(name in said for name in ("CDC_SLOT", "CDC_LEASE_SECONDS", "SUPABASE_URL"))
    for name in ("CDC_SLOT", "CDC_LEASE_SECONDS", "CDC_TRANSPORT"):
        patient.environment.delenv(name)
    assert await patient.is_well("runtime.settings")


async def test_a_misspelt_variable_is_named_with_what_was_meant(patient: Patient) -> None:
    patient.set(CDC_PROFLE="core")
    [found] = await patient.see("runtime.unknown")
    assert found.level is Level.WARNING
    assert "did you mean CDC_PROFILE?" in found.what
    await patient.mend(found.fix)
    assert await patient.is_well("runtime.unknown")


async def test_a_profile_that_can_not_be_read(patient: Patient, tmp_path: Path) -> None:
    patient.set(CDC_PROFILE="kore")
    [found] = await patient.see("runtime.profile")
    assert "no profile 'kore'" in found.what
    assert "set CDC_PROFILE to one of: 2026, core" in found.fix
    feeds = tmp_path / "shop" / "feeds.toml"
    feeds.write_text(feeds.read_text().replace("zoho.tasks", "zoho.deals"))
    patient.set(CDC_PROFILE=str(tmp_path / "shop"))
    [found] = await patient.see("runtime.profile")
    assert "no sink zoho.deals" in found.what
    assert {f.what for f in await patient.see("source.tables")} == {"not looked at: runtime.profile failed"}


@pytest.mark.parametrize("key", ["", "too short"])
async def test_a_key_that_is_missing_or_malformed(patient: Patient, key: str) -> None:
    patient.set(CDC_ENCRYPTION_KEY=key)
    [found] = await patient.see("runtime.key")
    assert found.level is Level.PROBLEM
    await patient.mend(found.fix)
    assert await patient.is_well("runtime.key")


async def test_a_server_that_everybody_may_reach(patient: Patient) -> None:
    patient.set(CDC_HTTP_PORT="0", CDC_HTTP_HOST="::")
    [found] = await patient.see("runtime.http")
    assert found.level is Level.PROBLEM
    await patient.mend(found.fix)
    assert await patient.is_well("runtime.http")
    patient.set(CDC_DASHBOARD_TOKENS="", CDC_METRICS_TOKENS="m" * 32)
    [found] = await patient.see("runtime.http")
    assert (found.level, "the dashboard is off" in found.what) == (Level.OK, True), "as `cdc run` sees it"
    patient.set(CDC_HTTP_HOST="127.0.0.1", CDC_METRICS_TOKENS="")
    [found] = await patient.see("runtime.http")
    assert (found.level, "the link" in found.what) == (Level.OK, True)


async def test_nobody_who_is_told(patient: Patient) -> None:
    patient.environment.delenv("CDC_ALERT_SLACK_URL")
    [found] = await patient.see("runtime.alerts")
    assert (found.level, "no alert channel" in found.what) == (Level.WARNING, True)
    await patient.mend(found.fix)
    assert await patient.is_well("runtime.alerts")


async def test_a_disk_that_is_full(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much is free is the machine's affair; what is made of it is ours."""
    assert await patient.is_well("runtime.disk")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 1 << 40, 1 << 20))
    found = await patient.see("runtime.disk")
    assert {f.level for f in found} == {Level.WARNING}
    assert all(f.fix.startswith("du -xh") for f in found)
    assert machine._LITTLE > 1 << 20


async def test_without_any_settings_it_says_what_is_missing(bare: Patient) -> None:
    for name in ("DATABASE_URL", "CDC_ENCRYPTION_KEY", "CDC_PROFILE"):
        bare.environment.delenv(name)
    found = await bare.findings()
    assert [(f.check, f.level) for f in found if f.needs_a_person] == [("runtime.settings", Level.WARNING)]
    assert next(f.fix for f in found if f.needs_a_person).startswith("export DATABASE_URL=")
    assert {f.level for f in found if f.check.startswith(("source.", "state.", "crm."))} == {Level.SKIPPED}


async def test_no_secret_is_ever_said(patient: Patient) -> None:
    planted = [ROLE_PASSWORD, *(value.rpartition(":")[2] for value in SECRETS.values())]
    planted += ["planted", "stored-access"]
    await seal(patient, access_token="1000.stored-access", api_domain="https://www.zohoapis.eu")
    dsn = patient.database.dsn
    patient.as_role()
    said = [f.as_json() for f in await patient.findings()]
    patient.set(DATABASE_URL=dsn, **{k: v for k, v in SECRETS.items() if k not in {"DATABASE_URL", "CDC_STATE_DSN"}})
    patient.set(ZOHO_ACCOUNTS_URL="http://127.0.0.1:1", ZOHO_API_DOMAIN="http://127.0.0.1:1")
    said += [f.as_json() for f in await patient.findings()]
    patient.set(**SECRETS)
    said += [f.as_json() for f in await patient.findings()]
    torn = "postgresql://app:pla@nted@planted-password@h/app"
    patient.set(DATABASE_URL=torn, CDC_ENCRYPTION_KEY="planted", CDC_LOG="planted-form")
    said += [f.as_json() for f in await patient.findings()]
    text = json.dumps(said)
    assert len(said) > 4 * 40
    assert [secret for secret in planted if secret in text] == []
