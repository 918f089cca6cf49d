"""Of a configured and a stored refresh token the one counts that a person changed last."""

from __future__ import annotations

import pytest

from sinks.tokens import TokenRecord
from sinks.zoho.auth import choose_tokens
from sinks.zoho.config import ZohoConfig

FROM_CONFIGURATION = TokenRecord(refresh_token="env-1", access_token="a")
SIGNED_IN = TokenRecord(refresh_token="login", access_token="a", client_id="C", data_center="EU", supersedes="env-1")


def config(refresh_token: str = "", client_id: str = "C") -> ZohoConfig:
    return ZohoConfig(client_id=client_id, client_secret="s", refresh_token=refresh_token)


@pytest.mark.parametrize(
    ("configured", "stored", "chosen"),
    [
        ("env-1", None, "env-1"),  # the first start
        ("env-1", FROM_CONFIGURATION, "env-1"),
        ("env-2", FROM_CONFIGURATION, "env-2"),  # changed since
        ("", FROM_CONFIGURATION, "env-1"),  # taken out of the configuration: what is stored is still good
        ("", SIGNED_IN, "login"),
        ("env-1", SIGNED_IN, "login"),  # still there, and replaced by the sign-in
        ("env-3", SIGNED_IN, "env-3"),  # changed after the sign-in
    ],
)
def test_the_later_one_counts(configured: str, stored: TokenRecord | None, chosen: str) -> None:
    found = choose_tokens(config(configured), stored)
    assert found is not None
    assert found.refresh_token == chosen
    assert (found.access_token is not None) == (stored is not None and stored.refresh_token == chosen)


def test_without_either_there_is_nothing() -> None:
    assert choose_tokens(config(), None) is None


def test_a_sign_in_is_of_no_use_to_another_client() -> None:
    assert choose_tokens(config(client_id="OTHER"), SIGNED_IN) is None
    again = choose_tokens(config("env-1", client_id="OTHER"), SIGNED_IN)
    assert again == TokenRecord(refresh_token="env-1")
