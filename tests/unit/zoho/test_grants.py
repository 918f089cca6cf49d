"""The OAuth server's answers, data centres, and when a token is due. No I/O."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.tokens import TokenRecord
from sinks.zoho.auth import MINTS, due_at, note_mint, wait_before_mint
from sinks.zoho.config import DATA_CENTERS, ZohoConfig, center_of, is_origin
from sinks.zoho.grants import Grant, read_grant
from sinks.zoho.transport import RawAnswer

CONFIG = ZohoConfig(client_id="1000.ID", client_secret="s3cret", refresh_token="1000.refresh", data_center="EU")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OK = {
    "access_token": "1000.access",
    "api_domain": "https://www.zohoapis.eu",
    "token_type": "Bearer",
    "expires_in": 3600,
}


def answer(body: Any, status: int = 200, *, is_json: bool = True) -> RawAnswer:
    return RawAnswer(status=status, headers=httpx.Headers(), json=body, is_json=is_json)


def refusal(body: Any, status: int = 200, *, is_json: bool = True, config: ZohoConfig = CONFIG) -> SinkError:
    found = read_grant(answer(body, status, is_json=is_json), config)
    assert isinstance(found, SinkError)
    return found


def test_a_grant_is_read() -> None:
    assert read_grant(answer(OK), CONFIG) == Grant(
        access_token="1000.access", lifetime=3600.0, api_domain="https://www.zohoapis.eu"
    )


def test_an_old_form_with_milliseconds_is_read() -> None:
    grant = read_grant(answer(OK | {"expires_in": 3_600_000, "expires_in_sec": 3600}), CONFIG)
    assert isinstance(grant, Grant)
    assert grant.lifetime == 3600.0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": "invalid_code"}, Reason.TOKEN_INVALID),
        ({"error": "invalid_client"}, Reason.CLIENT_INVALID),
        ({"error": "invalid_client_secret"}, Reason.CLIENT_INVALID),
        ({"error": "access_denied"}, Reason.TOKEN_INVALID),
        ({"error": "Access Denied", "error_description": "You have made too many requests"}, Reason.TOKEN_THROTTLED),
        ({"error": "something_new"}, Reason.BAD_ANSWER),
        ({}, Reason.BAD_ANSWER),
        (["x"], Reason.BAD_ANSWER),
        (OK | {"access_token": ""}, Reason.BAD_ANSWER),
        (OK | {"api_domain": "https://www.zohoapis.eu/evil?x"}, Reason.BAD_ANSWER),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_is_judged_by_its_body_and_not_by_its_status(body: Any, reason: Reason, status: int) -> None:
    assert refusal(body, status).reason is reason


def test_a_throttle_says_how_long() -> None:
    assert refusal({"error": "Access Denied"}, 400).retry_after == 600.0


def test_a_page_or_a_server_fault_is_unavailable() -> None:
    assert refusal(None, 502, is_json=False).reason is Reason.UNAVAILABLE
    assert refusal(None, 200, is_json=False).reason is Reason.UNAVAILABLE
    assert refusal({}, 500).reason is Reason.UNAVAILABLE


def test_another_data_centre_is_named_together_with_ours() -> None:
    error = refusal(OK | {"api_domain": "https://www.zohoapis.com.au"})
    assert error.reason is Reason.TOKEN_INVALID
    assert all(name in error.detail for name in ("AU", "EU", "zohoapis.com.au", "zohoapis.eu", "ZOHO_DATA_CENTER"))


def test_an_explicit_api_domain_settles_the_question() -> None:
    config = replace(CONFIG, api_domain="https://www.zohoapis.com.au")
    assert isinstance(read_grant(answer(OK | {"api_domain": "https://www.zohoapis.com.au"}), config), Grant)


@pytest.mark.parametrize("host", ["sandbox", "developer", "www"])
def test_sandbox_hosts_belong_to_their_data_centre(host: str) -> None:
    assert center_of(f"https://{host}.zohoapis.eu") == "EU"
    assert center_of(f"https://{host}.zohoapis.com.cn") == "CN"


def test_every_data_centre_is_told_from_every_other() -> None:
    for name, center in DATA_CENTERS.items():
        assert is_origin(center.accounts)
        assert center.api is None or center_of(center.api) == name
    assert center_of("http://127.0.0.1:8000") is None
    assert center_of("https://zohoapis.evil.example") is None


def test_explicit_addresses_win_over_the_data_centre() -> None:
    assert CONFIG.token_url == "https://accounts.zoho.eu/oauth/v2/token"
    assert CONFIG.upload_origin == "https://content.zohoapis.eu"
    ours = replace(CONFIG, accounts_url="http://127.0.0.1:1/", upload_url="http://127.0.0.1:2/")
    assert ours.token_url == "http://127.0.0.1:1/oauth/v2/token"
    assert ours.upload_origin == "http://127.0.0.1:2"


@pytest.mark.parametrize(
    "change", [{"data_center": "MOON"}, {"api_domain": "www.zohoapis.eu"}, {"accounts_url": "https://a:b@zoho.eu"}]
)
def test_a_bad_configuration_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"unknown Zoho data centre|must be an origin"):
        replace(CONFIG, **change)


def test_secrets_do_not_show() -> None:
    shown = repr(CONFIG) + repr(TokenRecord(refresh_token="1000.refresh", access_token="1000.access"))
    assert not any(secret in shown for secret in ("s3cret", "1000.refresh", "1000.access"))


def record(*minted: timedelta) -> TokenRecord:
    return TokenRecord(
        refresh_token="1000.refresh",
        access_token="1000.access",
        expires_at=NOW + timedelta(hours=1),
        minted_at=tuple(NOW + m for m in minted),
    )


def test_a_token_is_due_at_four_fifths_of_its_life() -> None:
    assert due_at(record(timedelta())) == NOW + timedelta(minutes=48)
    assert due_at(replace(record(timedelta()), access_token=None)) is None


def test_after_a_failed_refresh_it_is_due_at_four_fifths_of_what_is_left() -> None:
    assert due_at(record(timedelta(), timedelta(minutes=50))) == NOW + timedelta(minutes=58)


@given(st.lists(st.floats(0, 3600), max_size=40))
def test_no_window_of_ten_minutes_ever_holds_more_than_our_limit(pauses: list[float]) -> None:
    now, kept, asked = NOW, TokenRecord(refresh_token="1000.refresh"), []
    for pause in pauses:
        now += timedelta(seconds=pause)
        wait = wait_before_mint(kept, now)
        assert 0 <= wait <= 600
        if wait == 0:
            kept = note_mint(kept, now)
            asked.append(now)
    for moment in asked:
        assert sum(moment - timedelta(minutes=10) < a <= moment for a in asked) <= MINTS
    assert kept.minted_at[-1:] == tuple(asked[-1:])
