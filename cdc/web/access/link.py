"""The login link of a run that listens on this machine alone and has no token configured.

It works until it is used, and for ten minutes longer: browsers fetch an address ahead of the click, and people open it
again in another one. After that, what is left of it in a terminal or a history opens nothing.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

from cdc.web.access.visitors import Admitted, Role, Visitor

VIA: Final = "link"
AFTER_USE_SECONDS: Final = 600
_VISITOR: Final = Visitor("login link", Role.OPERATOR)


class LoginLink:
    """One random secret for each start.

    Args:
        clock: seconds that only go up.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_urlsafe(16)  # short enough for one line of a terminal
        self._used_at: float | None = None

    @property
    def path(self) -> str:
        """Give what is to be opened in a browser, below the server's address."""
        return f"/login?link={self._secret}"

    def open(self, given: str) -> Admitted | None:
        """Let somebody in who has the secret, if it is still worth anything."""
        fits = hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._secret.encode())
        now = self._clock()
        if not fits or (self._used_at is not None and now > self._used_at + AFTER_USE_SECONDS):
            return None
        if self._used_at is None:
            self._used_at = now
        return Admitted(_VISITOR, VIA)
