"""What the text of a setting holds, and what of a secret is shown."""

from __future__ import annotations

from datetime import time

import pytest

from cdc.settings import redact_dsn, times_of_day
from tests.unit.settings.conftest import KEY, URL


@pytest.mark.parametrize(
    ("written", "read"), [("02:00", [time(2)]), (" 14:30, 02:05 ", [time(2, 5), time(14, 30)]), ("OFF", [])]
)
def test_times_of_day(written: str, read: list[time]) -> None:
    assert list(times_of_day(written)) == read


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
