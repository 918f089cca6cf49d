"""The device flow: a program without a browser shows a code, and asks until a person has typed it in elsewhere.

https://www.zoho.com/accounts/protocol/oauth/devices/initiation-request.html and polling-request.html beside it. The
pages don't say whether `interval` and `expires_in` are seconds; answers seen in the open are in milliseconds.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from sinks.simulator.answers import Answer
from sinks.simulator.clock import Clock
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.tokens import Tokens, failed

LIFETIME = 300.0
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


@dataclass(slots=True)
class Request:
    """A device that waits.

    Attributes:
        allowed: what the person said; None while they haven't.
        polled: when it last asked.
    """

    scopes: tuple[str, ...]
    offline: bool
    expires: float
    user_code: str
    allowed: bool | None = None
    polled: float = float("-inf")


class Devices:
    """Devices that wait for a person.

    Attributes:
        url: origin of this data centre.
        home: where the person lives, if it is another data centre than this; tokens are to be had there alone.
    """

    def __init__(self, config: SimulatorConfig, clock: Clock, tokens: Tokens) -> None:
        self._config = config
        self._clock = clock
        self._tokens = tokens
        self._requests: dict[str, Request] = {}
        self.url = ""
        self.home: Devices | None = None

    @property
    def location(self) -> str:
        """The data centre's name as answers have it."""
        return self._config.location

    @property
    def tokens(self) -> Tokens:
        """What makes this data centre's tokens."""
        return self._tokens

    def begin(self, form: Mapping[str, str]) -> Answer:
        """`POST /oauth/v3/device/code`."""
        if form.get("client_id") != self._config.client_id:
            return failed("invalid_client")
        if form.get("grant_type") != "device_request":
            return failed("unsupported_grant_type")
        scopes = self._tokens.scopes_of(form.get("scope", ""))
        if scopes is None:
            return failed("invalid_scope")
        letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
        request = Request(
            scopes=scopes,
            offline=form.get("access_type") == "offline",
            expires=self._clock.now() + LIFETIME,
            user_code=f"{letters[:4]}-{letters[4:]}",
        )
        device_code = f"1004.{secrets.token_hex(16)}.{secrets.token_hex(16)}"
        self._requests[device_code] = request
        page = f"{self.url}/oauth/v3/device"
        return Answer(
            body={
                "user_code": request.user_code,
                "device_code": device_code,
                "interval": int(self._config.device_interval * 1000),
                "verification_url": page,
                "verification_uri_complete": f"{page}?user_code={request.user_code}",
                "expires_in": int(LIFETIME * 1000),
            }
        )

    def poll(self, form: Mapping[str, str]) -> Answer:
        """`POST /oauth/v3/device/token`. A device code gives tokens once."""
        stranger = self._tokens.stranger(form)
        if stranger is not None:
            return failed(stranger)
        if form.get("grant_type") != "device_token":
            return failed("unsupported_grant_type")
        code = form.get("code", "")
        request = self._requests.get(code)
        if request is None:
            return failed("invalid_code")
        now = self._clock.now()
        early, request.polled = now - request.polled < self._config.device_interval, now
        if early:
            return failed("slow_down")
        if request.expires <= now:
            return failed("expired")
        if request.allowed is None:
            return failed("authorization_pending")
        if not request.allowed:
            return failed("access_denied")
        if self.home is not None:
            request.polled = float("-inf")
            self.home._requests[code] = request  # noqa: SLF001  # the same class at another place
            return Answer(body={"user_location": self.home.location, "error": "other_dc"})
        del self._requests[code]
        return self._tokens.issue(request.scopes, offline=request.offline)

    def waiting(self, user_code: str) -> Request | None:
        """The device that shows this code and still waits."""
        wanted = user_code.strip().upper()
        now = self._clock.now()
        for request in self._requests.values():
            if request.user_code == wanted and request.allowed is None and request.expires > now:
                return request
        return None
