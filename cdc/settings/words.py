"""What a setting's text holds: lists, secrets with names, times of day; and what of it may be shown."""

from __future__ import annotations

import re
from datetime import time

from pydantic import SecretStr

# No @ behind the address: a password that isn't percent-encoded puts parts of itself where host, port or path belong.
_URL = re.compile(r"(postgres(?:ql)?://)(?:([^:@/?#]*)(?::[^/?#]*)?@)?([^@/?#]*)(/[^@?#]*)?(?:[?#][^@]*)?")
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def secrets_in(value: SecretStr | None) -> tuple[str, ...]:
    """Split a setting that holds several secrets, separated by commas."""
    parts = value.get_secret_value().split(",") if value is not None else []
    return tuple(part.strip() for part in parts if part.strip())


def named_secrets_in(value: SecretStr | None) -> list[tuple[str | None, str]]:
    """Split a setting that holds several secrets, each with a name before a colon or without: (name, secret)."""
    parted = [part.rpartition(":") for part in secrets_in(value)]
    return [(name.strip() if colon else None, secret.strip()) for name, colon, secret in parted]


def words_in(value: str | None) -> tuple[str, ...]:
    """Split a setting that holds several words, separated by commas."""
    return tuple(word.strip() for word in (value or "").split(",") if word.strip())


def times_of_day(value: str) -> tuple[time, ...]:
    """Read `02:00` or `02:00, 14:30`; nothing for `off`.

    Raises:
        ValueError: saying what was expected.
    """
    if value.strip().lower() == "off":
        return ()
    parts = [part.strip() for part in value.split(",")]
    if not all(_TIME_OF_DAY.fullmatch(part) for part in parts):
        raise ValueError("times of day in UTC, such as 02:00 or 02:00,14:00, or `off` expected")
    return tuple(sorted({time.fromisoformat(part) for part in parts}))


def redact_dsn(secret: str) -> str:
    """Show of a connection URL what helps (user, host, port, database), and of any other secret nothing."""
    url = _URL.fullmatch(secret)
    if url is None:
        return "********"
    scheme, user, address, path = url.groups(default="")
    return f"{scheme}{user}{'@' if user else ''}{address}{path}"
