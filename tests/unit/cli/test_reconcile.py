"""What `cdc reconcile` refuses before it connects to anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdc.errors import ConfigError
from tests.support.cli import app

ENVIRONMENT = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere",
    "CDC_ENCRYPTION_KEY": "0" * 64,
    "ZOHO_CLIENT_ID": "id",
    "ZOHO_CLIENT_SECRET": "secret",
    "ZOHO_REFRESH_TOKEN": "token",
    "CDC_REPORT_DIR": "",
    "CDC_PROFILE": "core",
}


@pytest.mark.parametrize(
    ("arguments", "changed", "words"),
    [
        (["--apply", "plan.json", "--fix"], {}, "--apply carries a plan out as it is"),
        (["--apply", "plan.json", "--feed", "contacts"], {}, "--apply carries a plan out as it is"),
        (["--reveal"], {}, "no file is written"),
        (["--feed", "badges_earned"], {}, "can't be compared with the CRM"),
        (["--feed", "nobody"], {}, "no feed 'nobody' in profile core"),
        (
            [],
            dict.fromkeys(("ZOHO_CLIENT_ID", "ZOHO_CLIENT_SECRET", "ZOHO_REFRESH_TOKEN"), ""),
            "no CRM to compare with",
        ),
    ],
)
def test_what_cannot_be_meant(
    arguments: list[str], changed: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of somebody's
    result = CliRunner().invoke(app, ["reconcile", *arguments], env={**ENVIRONMENT, **changed})
    assert isinstance(result.exception, ConfigError), result.exception
    assert words in str(result.exception)
