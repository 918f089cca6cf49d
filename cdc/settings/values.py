"""Kinds of values that more than one subject has, and how they are checked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

from cdc.settings.words import secrets_in

SHORTEST_SECRET = 16
"""Characters that a secret of a webhook has at least."""
THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that `http` is good enough for."""


def upper(value: object) -> object:
    """Give text in upper case, and anything else as it is."""
    return value.upper() if isinstance(value, str) else value


def lower(value: object) -> object:
    """Give text in lower case, and anything else as it is."""
    return value.lower() if isinstance(value, str) else value


def check_long_enough(secrets: Collection[str]) -> None:
    """Refuse a list of secrets that is empty or holds a short one.

    Raises:
        ValueError: saying what was expected.
    """
    if not secrets or min(map(len, secrets)) < SHORTEST_SECRET:
        raise ValueError(f"at least {SHORTEST_SECRET} characters each expected; `openssl rand -hex 32` makes one")


def _check_secrets(value: SecretStr) -> SecretStr:
    check_long_enough(secrets_in(value))
    return value


def _check_origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("an origin such as https://www.zohoapis.eu or https://<ref>.supabase.co expected")
    if parts.scheme == "http" and parts.hostname not in THIS_MACHINE:
        raise ValueError("http is for this machine only; use https")
    return value.rstrip("/")


Secrets = Annotated[SecretStr, AfterValidator(_check_secrets)]
"""Several secrets, separated by commas."""
Origin = Annotated[str, AfterValidator(_check_origin)]
"""Scheme and host of a service."""
