"""Is a request from whom it says? Two ways: a bearer token, or a signature over time and body.

All comparisons take the same time whatever is right or wrong, and every accepted secret is tried, so that secrets can
be rotated. Source of the header names and of the `v1,` form: https://www.standardwebhooks.com. Of the signed text only
the id is left out: a doorbell may ring twice, so there is nothing to tell apart.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final

TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
TOLERANCE_SECONDS: Final = 300
_SIGNATURE: Final = re.compile(r"v1,([A-Za-z0-9+/]{43}=)(?![A-Za-z0-9+/=])")
_MOST_SIGNATURES: Final = 8


def has_token(headers: Mapping[str, str], tokens: Sequence[str]) -> bool:
    """Tell whether `Authorization: Bearer <token>` names an accepted token; without any, none is accepted."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    digest = _digest(given.strip().encode("latin-1", "replace"))
    matches = [hmac.compare_digest(digest, _digest(token.encode())) for token in tokens]
    return scheme.lower() == "bearer" and any(matches)


def is_timely(headers: Mapping[str, str], now: float) -> bool:
    """Tell whether the request says a time within five minutes of ours: an old one may be a replayed one."""
    stated = headers.get(TIMESTAMP_HEADER, "")
    return re.fullmatch(r"[0-9]{1,12}", stated) is not None and abs(now - int(stated)) <= TOLERANCE_SECONDS


def is_signed(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
    """Tell whether one of the signatures was made with one of the secrets; none is if there are none.

    Args:
        headers: of the request, names in lower case.
        body: exactly as it came.
        secrets: accepted ones, as text; their UTF-8 bytes are the key.
    """
    stated = headers.get(TIMESTAMP_HEADER, "")
    given = [_decoded(found) for found in _SIGNATURE.findall(headers.get(SIGNATURE_HEADER, ""))[:_MOST_SIGNATURES]]
    right = [signature(secret, stated, body) for secret in secrets]
    matches = [hmac.compare_digest(one, other) for one in given for other in right]
    return any(matches)


def signature(secret: str, timestamp: str, body: bytes) -> bytes:
    """Give HMAC-SHA256 over `<timestamp>.<body>`: 32 bytes."""
    return hmac.digest(secret.encode(), timestamp.encode("latin-1", "replace") + b"." + body, "sha256")


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
