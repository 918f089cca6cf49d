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
"""Seconds that a code made by hand in the API console lives, if nobody chose more."""
CONSENT_LIFETIME = 60.0
"""Seconds that a code lives which a browser was sent away with. Older pages say so; the newer ones say nothing."""


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


@dataclass(frozen=True, slots=True)
class _Code:
    """What an authorization code can be exchanged for.

    Attributes:
        redirect_uri: where a browser took it; None for one made by hand.
        offline: whether a refresh token comes with it.
    """

    scopes: tuple[str, ...]
    expires: float
    redirect_uri: str | None
    offline: bool


class Tokens:
    """Every token of the one client and the one user."""

    def __init__(self, config: SimulatorConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._client = _Grant(config.scopes)
        self._refresh: OrderedDict[str, _Grant] = OrderedDict({config.refresh_token: _Grant(config.scopes)})
        self._access: dict[str, _Access] = {}
        self._codes: dict[str, _Code] = {}
        self.api_domain = ""

    def token(self, form: Mapping[str, str]) -> Answer:
        """`POST /oauth/v2/token`. Errors come with status 200, as Zoho's do, except the throttle's."""
        stranger = self.stranger(form)
        if stranger is not None:
            return failed(stranger)
        match form.get("grant_type"):
            case "refresh_token":
                grant = self._refresh.get(form.get("refresh_token", ""))
                return self._mint(grant) if grant else failed("invalid_code")
            case "authorization_code":
                return self._exchange(form)
            case "client_credentials":
                return self._client_credentials(form)
            case _:
                return failed("unsupported_grant_type")

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

    def stranger(self, form: Mapping[str, str]) -> str | None:
        """Say why a caller isn't the client; None if it is. One of another data centre is as unknown as any."""
        if form.get("client_id") != self._config.client_id:
            return "invalid_client"
        if not secrets.compare_digest(form.get("client_secret", "").encode(), self._config.client_secret.encode()):
            return "invalid_client_secret"
        return None

    def scopes_of(self, text: str) -> tuple[str, ...] | None:
        """Read a list of scopes; None if it is empty or holds one that isn't to be had."""
        asked = tuple(text.replace(",", " ").split())
        return asked if asked and fold(asked) <= fold(self._config.scopes) else None

    def _exchange(self, form: Mapping[str, str]) -> Answer:
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.expires <= self._clock.now():
            return failed("invalid_code")
        if code.redirect_uri is not None and form.get("redirect_uri") != code.redirect_uri:
            return failed("invalid_redirect_uri")
        return self.issue(code.scopes, offline=code.offline)

    def issue(self, scopes: tuple[str, ...], *, offline: bool) -> Answer:
        """Answer a consent with tokens; without `offline` there is no refresh token among them."""
        if not offline:
            return self._mint(_Grant(scopes))
        refresh_token = _token()
        grant = self._refresh[refresh_token] = _Grant(scopes)
        if len(self._refresh) > REFRESH_TOKENS:
            self._drop(next(iter(self._refresh)))
        return self._mint(grant, refresh_token=refresh_token)

    def _client_credentials(self, form: Mapping[str, str]) -> Answer:
        soid = form.get("soid")
        if not soid:
            return failed("missing_org_info")
        if soid != f"ZohoCRM.{ORG_ID}":
            return failed("invalid_org_info")
        asked = self.scopes_of(form.get("scope", ""))
        if asked is None:
            return failed("invalid_scope")
        return self._mint(self._client, asked)

    def new_code(self, scopes: tuple[str, ...] | None = None, *, lifetime: float = CODE_LIFETIME) -> str:
        """An authorization code, as a self client's owner makes it in the API console. It works once."""
        return self._keep(_Code(scopes or self._config.scopes, self._clock.now() + lifetime, None, offline=True))

    def consent_code(self, scopes: tuple[str, ...], redirect_uri: str, *, offline: bool) -> str:
        """An authorization code for a browser to carry away. It works once, and only with the same address."""
        return self._keep(_Code(scopes, self._clock.now() + CONSENT_LIFETIME, redirect_uri, offline))

    def _keep(self, code: _Code) -> str:
        name = _token()
        self._codes[name] = code
        return name

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


def failed(error: str) -> Answer:
    """An error of the OAuth server: status 200, and one key."""
    return Answer(body={"error": error})


def _throttled() -> Answer:
    body = {
        "error": "Access Denied",
        "error_description": "You have made too many requests continuously. Please try again after some time.",
        "status": "failure",
    }
    return Answer(status=400, body=body)
