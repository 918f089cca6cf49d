"""Options of `cdc replay` and `cdc explain` that make no sense are refused before anything is connected to."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdc.errors import ConfigError
from tests.support.cli import app


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "CDC_PROFILE", "ZOHO_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("replay", "say from when"),
        ("replay --since 1x", "neither a time nor an age"),
        ("replay --from-lsn 0/1 --since 1h", "the same thing twice"),
        ("replay --resume --since 1h", "--resume goes on as it was asked for"),
        ("replay --resume --force", "--resume goes on as it was asked for"),
        ("replay --since 1h --dry-run --wait", "--dry-run marks nothing"),
        ("replay --since 1h --feed people", "no feed 'people'"),
        ("replay --since 1h", "DATABASE_URL is not set"),
        ("journal", "DATABASE_URL is not set"),
        ("explain people x", "no feed 'people'"),
        ("explain contacts x y", "one record at a time"),
        ("explain contacts x --reveal", "to a terminal only"),
        ("explain contacts x --reveal --json", "to a terminal only"),
    ],
)
def test_refused(arguments: str, words: str) -> None:
    result = CliRunner().invoke(app, arguments.split())
    assert isinstance(result.exception, ConfigError)
    assert words in result.exception.message
    assert result.exception.fix
