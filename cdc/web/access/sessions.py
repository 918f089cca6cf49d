"""Sessions: a signed cookie says who somebody is, and until when. The server keeps nothing but what was signed out of.

The cookie is a JWT of our own, HS256 with a key that is derived from `CDC_ENCRYPTION_KEY` and used for nothing else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import jwt

from cdc.web.access.visitors import Admitted, Role, Visitor

SECONDS: Final = 8 * 3600
"""How long a session lasts."""
_ALGORITHM: Final = "HS256"
_ISSUER: Final = "optio-cdc"
_AUDIENCE: Final = "dashboard session"
_LONGEST: Final = 4096
_FAULTS: Final = (jwt.PyJWTError, ValueError, TypeError, KeyError, RecursionError)


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody's stay.

    Attributes:
        id: random.
        via: which way they came, see `Admitted`.
        csrf: what a form must carry.
        ends_at: in seconds since 1970.
    """

    id: str
    visitor: Visitor
    via: str
    ends_at: float
    csrf: str = field(repr=False)


class Sessions:
    """Makes sessions, and reads them back.

    Args:
        key: 32 bytes.
        clock: seconds since 1970.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock
        self._ended: dict[str, float] = {}

    def begin(self, admitted: Admitted) -> Session:
        """Begin a session: eight hours, or less if the credential runs out before."""
        ends_at = self._clock() + SECONDS
        if admitted.ends_at is not None:
            ends_at = min(ends_at, admitted.ends_at)
        return Session(
            secrets.token_urlsafe(12), admitted.visitor, admitted.via, float(int(ends_at)), secrets.token_urlsafe(24)
        )

    def seal(self, session: Session) -> str:
        """Write a session as the value of a cookie."""
        claims = {
            "iss": _ISSUER, "aud": _AUDIENCE, "jti": session.id, "exp": int(session.ends_at),
            "name": session.visitor.name, "role": int(session.visitor.role), "via": session.via, "csrf": session.csrf,
        }  # fmt: skip
        return jwt.encode(claims, self._key, _ALGORITHM)

    def read(self, cookie: str) -> Session | None:
        """Read a cookie; None if it isn't ours, was changed, has run out or was signed out of."""
        if len(cookie) > _LONGEST:
            return None
        try:
            claims = jwt.decode(
                cookie, self._key, algorithms=[_ALGORITHM], audience=_AUDIENCE, issuer=_ISSUER,
                options={"require": ["exp", "jti"], "verify_exp": False},
            )  # fmt: skip
            session = Session(
                claims["jti"], Visitor(claims["name"], Role(claims["role"])), claims["via"], float(claims["exp"]),
                claims["csrf"],
            )  # fmt: skip
        except _FAULTS:
            return None
        return None if session.ends_at <= self._clock() or session.id in self._ended else session

    def end(self, session: Session) -> None:
        """Let a session's cookie be worth nothing from now on, copies of it too."""
        now = self._clock()
        self._ended = {known: ends_at for known, ends_at in self._ended.items() if ends_at > now}
        self._ended[session.id] = session.ends_at
