"""An environment without a variable of ours, and made-up values to put into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from cdc.settings import Settings

PASSWORD = "s3cr3t-pa55"
URL = f"postgresql://app:{PASSWORD}@db.example.org:5432/app"
KEY = "bm90LWEtcmVhbC1rZXktYnV0LTMyLWJ5dGVzLWxvbmc="
ZOHO = {"ZOHO_CLIENT_ID": "1000.ID", "ZOHO_CLIENT_SECRET": "zoho-secret", "ZOHO_REFRESH_TOKEN": "1000.refresh"}


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
