"""What the OAuth server's answers mean. No I/O.

It answers errors with status 200 as readily as with 400, so an answer is judged by its body.
https://www.zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.config import ZohoConfig, center_of, is_origin
from sinks.zoho.transport import JsonValue, RawAnswer

THROTTLE_SECONDS = 600.0
"""How long the OAuth server turns us away after too many access tokens."""

_LIFETIME_SECONDS = 3600.0

_REASONS: Mapping[str, Reason] = MappingProxyType(
    {
        "invalid_code": Reason.TOKEN_INVALID,  # also the answer to a revoked or evicted refresh token
        "invalid_token": Reason.TOKEN_INVALID,
        "access_denied": Reason.TOKEN_INVALID,
        "invalid_client": Reason.CLIENT_INVALID,
        "invalid_client_secret": Reason.CLIENT_INVALID,
    }
)
_WORD = re.compile(r"[A-Za-z_ ]{1,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An access token just made.

    Attributes:
        access_token: the token.
        lifetime: seconds that it is good for.
        api_domain: origin of the CRM API it is meant for; None if not named.
        refresh_token: only a consent brings one.
        scopes: what it may do; empty if the answer doesn't say.
    """

    access_token: str = field(repr=False)
    lifetime: float
    api_domain: str | None
    refresh_token: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ()


def read_grant(answer: RawAnswer, config: ZohoConfig) -> Grant | SinkError:
    """Judge the answer to a request for an access token.

    Returns:
        The grant, or the error to raise.
    """
    body = answer.json
    if isinstance(body, dict) and isinstance(body.get("error"), str):
        return _refusal(body)
    if answer.status >= 500 or not answer.is_json:
        return SinkError(Reason.UNAVAILABLE, f"OAuth server: HTTP {answer.status}")
    if answer.status == 429:
        return SinkError(Reason.TOKEN_THROTTLED, "OAuth server: HTTP 429", retry_after=THROTTLE_SECONDS)
    token = body.get("access_token") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(token, str) or not token:
        return SinkError(Reason.BAD_ANSWER, f"OAuth server: HTTP {answer.status} without an access token")
    domain = body.get("api_domain")
    if domain is not None and (not isinstance(domain, str) or not is_origin(domain)):
        return SinkError(Reason.BAD_ANSWER, "OAuth server: api_domain is not an origin")
    mismatch = _other_center(domain, config)
    if mismatch is not None:
        return mismatch
    refresh, scope = body.get("refresh_token"), body.get("scope")
    return Grant(
        access_token=token,
        lifetime=_lifetime(body),
        api_domain=domain,
        refresh_token=refresh if isinstance(refresh, str) and refresh else None,
        scopes=tuple(scope.replace(",", " ").split()) if isinstance(scope, str) else (),
    )


def _refusal(body: Mapping[str, JsonValue]) -> SinkError:
    word = body["error"]
    description = body.get("error_description")
    # "Access Denied", with a space, is the throttle; "access_denied" is a refused consent.
    if word == "Access Denied" or (isinstance(description, str) and "too many" in description.lower()):
        return SinkError(Reason.TOKEN_THROTTLED, "OAuth server: too many requests", retry_after=THROTTLE_SECONDS)
    shown = word if _WORD.fullmatch(word) else "an error"
    return SinkError(_REASONS.get(word, Reason.BAD_ANSWER), f"OAuth server: {shown}")


def _lifetime(body: Mapping[str, JsonValue]) -> float:
    # Older answers give seconds in expires_in_sec and milliseconds in expires_in.
    for key in ("expires_in_sec", "expires_in"):
        value = body.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
    return _LIFETIME_SECONDS


def _other_center(domain: str | None, config: ZohoConfig) -> SinkError | None:
    if domain is None or config.api_domain is not None:
        return None
    theirs = center_of(domain)
    if theirs is None or theirs == config.data_center:
        return None
    return SinkError(
        Reason.TOKEN_INVALID,
        f"the account lives in data centre {theirs} ({domain}), "
        f"but ZOHO_DATA_CENTER is {config.data_center} ({config.center.api or config.center.accounts})",
    )
