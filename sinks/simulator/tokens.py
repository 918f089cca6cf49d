"""OAuth: refresh tokens, access tokens and the throttles that lock a careless client out.

https://www.zoho.com/accounts/protocol/oauth/token-limits.html
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from sinks.simulator.answers import Answer, Json, Refusal
from sinks.simulator.clock import Clock
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.org import ORG_ID
from sinks.simulator.scopes import fold

LIVE_TOKENS = 10
REFRESH_TOKENS = 20
MINT_WINDOW = 600.0
CODE_LIFETIME = 180.0


def _token() -> str:
    return f"1000.{secrets.token_hex(16)}.{secrets.token_hex(16)}"


@dataclass(slots=True)
class _Grant:
    """What access tokens are minted from: a refresh token, or the client itself."""

    scopes: tuple[str, ...]
    live: deque[str] = field(default_factory=deque)
    window_start: float = float("-inf")
    minted: int = 0


@dataclass(frozen=True, slots=True)
class _Access:
    scopes: frozenset[str]
    expires: float


class Tokens:
    """Every token of the one client and the one user."""

    def __init__(self, config: SimulatorConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._client = _Grant(config.scopes)
        self._refresh: OrderedDict[str, _Grant] = OrderedDict({config.refresh_token: _Grant(config.scopes)})
        self._access: dict[str, _Access] = {}
        self._codes: dict[str, tuple[tuple[str, ...], float]] = {}
        self.api_domain = ""

    def token(self, form: Mapping[str, str]) -> Answer:
        """`POST /oauth/v2/token`. Errors come with status 200, as Zoho's do, except the throttle's."""
        if form.get("client_id") != self._config.client_id:
            return _failed("invalid_client")
        if not secrets.compare_digest(form.get("client_secret", "").encode(), self._config.client_secret.encode()):
            return _failed("invalid_client_secret")
        match form.get("grant_type"):
            case "refresh_token":
                grant = self._refresh.get(form.get("refresh_token", ""))
                return self._mint(grant) if grant else _failed("invalid_code")
            case "authorization_code":
                return self._exchange(form.get("code", ""))
            case "client_credentials":
                return self._client_credentials(form)
            case _:
                return _failed("unsupported_grant_type")

    def _mint(self, grant: _Grant, scopes: tuple[str, ...] | None = None, refresh_token: str | None = None) -> Answer:
        now = self._clock.now()
        if now - grant.window_start >= MINT_WINDOW:
            grant.window_start, grant.minted = now, 0
        if grant.minted >= self._config.mints_in_ten_minutes:
            return _throttled()
        grant.minted += 1
        granted = grant.scopes if scopes is None else scopes
        access = _token()
        self._access[access] = _Access(fold(granted), now + self._config.token_lifetime)
        grant.live.append(access)
        if len(grant.live) > LIVE_TOKENS:
            self._access.pop(grant.live.popleft(), None)
        body: Json = {
            "access_token": access,
            "scope": " ".join(granted),
            "api_domain": self.api_domain,
            "token_type": "Bearer",
            "expires_in": int(self._config.token_lifetime),
        }
        return Answer(body=body | ({"refresh_token": refresh_token} if refresh_token else {}))

    def _exchange(self, code: str) -> Answer:
        scopes, expires = self._codes.pop(code, ((), 0.0))
        if expires <= self._clock.now():
            return _failed("invalid_code")
        refresh_token = _token()
        grant = self._refresh[refresh_token] = _Grant(scopes)
        if len(self._refresh) > REFRESH_TOKENS:
            self._drop(next(iter(self._refresh)))
        return self._mint(grant, refresh_token=refresh_token)

    def _client_credentials(self, form: Mapping[str, str]) -> Answer:
        soid = form.get("soid")
        if not soid:
            return _failed("missing_org_info")
        if soid != f"ZohoCRM.{ORG_ID}":
            return _failed("invalid_org_info")
        asked = tuple(form.get("scope", "").replace(",", " ").split())
        if not asked or not fold(asked) <= fold(self._config.scopes):
            return _failed("invalid_scope")
        return self._mint(self._client, asked)

    def new_code(self, scopes: tuple[str, ...] | None = None) -> str:
        """An authorization code, as a self client's owner makes it in the API console. It works once."""
        code = _token()
        self._codes[code] = (scopes or self._config.scopes, self._clock.now() + CODE_LIFETIME)
        return code

    def revoke(self, token: str) -> Answer:
        """`POST /oauth/v2/token/revoke`, of a refresh token or an access token."""
        if token in self._refresh:
            self._drop(token)
        elif self._access.pop(token, None) is None:
            return Answer(status=400, body={"error": "invalid_token"})
        return Answer(body={"status": "success"})

    def revoke_all(self) -> None:
        """Revoke every refresh token."""
        for token in list(self._refresh):
            self._drop(token)

    def invalidate_access_tokens(self) -> None:
        """Make every access token invalid before its time; refresh tokens live on."""
        self._access.clear()

    def restore(self) -> None:
        """Bring the configured refresh token back, with a fresh throttle."""
        self.revoke_all()
        self._refresh[self._config.refresh_token] = _Grant(self._config.scopes)
        self._client = _Grant(self._config.scopes)

    def _drop(self, refresh_token: str) -> None:
        for access in self._refresh.pop(refresh_token).live:
            self._access.pop(access, None)

    def authorise(self, header: str | None) -> frozenset[str]:
        """The scopes of the token in an `Authorization` header.

        Raises:
            Refusal: 401, no token, or one that is not or no longer valid.
        """
        scheme, _, token = (header or "").partition(" ")
        if scheme != "Zoho-oauthtoken" or not token:
            raise Refusal(401, "AUTHENTICATION_FAILURE", "Authentication failed")
        access = self._access.get(token.strip())
        if access is None or access.expires <= self._clock.now():
            raise Refusal(401, "INVALID_TOKEN", "invalid oauth token")
        return access.scopes


def _failed(error: str) -> Answer:
    return Answer(body={"error": error})


def _throttled() -> Answer:
    body = {
        "error": "Access Denied",
        "error_description": "You have made too many requests continuously. Please try again after some time.",
        "status": "failure",
    }
    return Answer(status=400, body=body)
