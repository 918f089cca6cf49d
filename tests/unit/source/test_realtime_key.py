"""The key for Realtime: where it comes from, and when a token in it runs out."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdc.errors import ConfigError
from cdc.source.realtime_key import RealtimeKey, expires_at


def token(claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{body}.c2ln"


def test_a_token_says_when_it_runs_out() -> None:
    assert expires_at(token({"role": "service_role", "exp": 2_000_000_000})) == datetime.fromtimestamp(2e9, UTC)


@pytest.mark.parametrize(
    "key",
    [
        "sb_secret_abc", "sb.secret.abc", "", "a.b", "a.b.c.d", token({"role": "service_role"}), token([1]), token("x"),
        token({"exp": "soon"}), token({"exp": 1e300}), "a.\ud800.c",
    ],
)  # fmt: skip
def test_any_other_key_never_does(key: str) -> None:
    assert expires_at(key) is None


def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "key"
    key = RealtimeKey(file=file)
    for text in ("first\n", "second"):
        file.write_text(text)
        assert key.read() == text.strip()


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_a_file_without_a_key_is_named_and_not_shown(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="SUPABASE_SERVICE_ROLE_KEY_FILE") as caught:
        RealtimeKey(file=file).read()
    assert str(file) in str(caught.value)


def test_the_key_is_not_in_its_repr() -> None:
    assert "hidden" not in repr(RealtimeKey("hidden"))
