"""Who may ring: bearer tokens and signatures, and whom neither lets in."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from cdc.web.signatures import has_token, is_signed, is_timely

OLD, NEW = "old-secret-of-the-app", "new-secret-of-the-app"
BODY = b'{"user_id": "1"}'


def sign(secret: str, timestamp: str, body: bytes = BODY) -> str:
    """By the text of the documentation, without the code under test."""
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


@pytest.mark.parametrize("token", [OLD, NEW])
def test_each_of_two_tokens_is_accepted_while_they_are_rotated(token: str) -> None:
    assert has_token({"authorization": f"Bearer {token}"}, (OLD, NEW))
    assert has_token({"authorization": f"bearer {token}"}, (OLD, NEW))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": f"Basic {OLD}"},
        {"authorization": f"Bearer {OLD}x"},
        {"authorization": f"Bearer {OLD[:-1]}"},
        {"authorization": "Bearer \xff\xfe"},
    ],
)
def test_anything_else_is_not(headers: dict[str, str]) -> None:
    assert not has_token(headers, (OLD, NEW))


def test_without_a_secret_nobody_is_let_in() -> None:
    assert not has_token({"authorization": "Bearer "}, ())
    headers = {"webhook-timestamp": "100", "webhook-signature": sign("", "100")}
    assert not is_signed(headers, BODY, ())


@pytest.mark.parametrize("secret", [OLD, NEW])
@pytest.mark.parametrize("form", ["{}", "{} v1,AAAA", "v1a,xyz {}", "{0}, {0}"])
def test_a_signature_with_either_secret_fits_beside_others(secret: str, form: str) -> None:
    headers = {"webhook-timestamp": "100", "webhook-signature": form.format(sign(secret, "100"))}
    assert is_signed(headers, BODY, (OLD, NEW))


@pytest.mark.parametrize(
    ("timestamp", "signature", "body"),
    [
        ("101", sign(OLD, "100"), BODY),  # another time
        ("100", sign(OLD, "100"), BODY + b" "),  # another body
        ("100", sign("a third secret, unknown", "100"), BODY),
        ("100", sign(OLD, "100").replace("v1,", "v2,"), BODY),
        ("100", sign(OLD, "100")[:-2], BODY),
        ("100", "", BODY),
        ("100", "v1,", BODY),
    ],
)
def test_a_signature_over_anything_else_does_not_fit(timestamp: str, signature: str, body: bytes) -> None:
    headers = {"webhook-timestamp": timestamp, "webhook-signature": signature}
    assert not is_signed(headers, body, (OLD, NEW))


@pytest.mark.parametrize(
    ("stated", "timely"),
    [
        ("1000", True), ("700", True), ("1300", True), ("699", False), ("1301", False), ("", False), ("now", False),
        ("1000.5", False), ("-1000", False), ("٣", False), ("9" * 5000, False),
    ],
)  # fmt: skip
def test_only_five_minutes_around_now_count(stated: str, timely: bool) -> None:
    assert is_timely({"webhook-timestamp": stated}, now=1000.0) is timely
