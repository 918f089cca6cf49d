"""Signing in: by a configured token, a token of the app, the link in the terminal, or the session that these begin."""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import Response

from cdc.settings import Settings
from cdc.state.envelope import Keyring
from cdc.web.access.attempts import Attempts
from cdc.web.access.link import VIA as LINK
from cdc.web.access.link import LoginLink
from cdc.web.access.sessions import Session, Sessions
from cdc.web.access.supabase import NOT_ACCEPTED, SupabaseTokens
from cdc.web.access.supabase import VIA as JWT
from cdc.web.access.tokens import Tokens
from cdc.web.access.visitors import Admitted, Role, SignInRefused, Visitor
from cdc.web.refusals import Refusal

log = structlog.get_logger()

CSRF_FIELD: Final = "csrf"
"""Name of the hidden field that each form carries."""
_DOTS_OF_A_JWT: Final = 2
_GUESSES: Final = frozenset({"unknown_token", "link", "signature", "algorithm", "foreign_key", "malformed", "too_long"})
"""What is counted as a try. Other refusals are of tokens that somebody really was given, as one that has run out."""


@dataclass(frozen=True, slots=True)
class Access:
    """The ways in.

    Attributes:
        tokens: configured ones.
        supabase: what a token of the app must be; None if none is taken.
        link: that of the terminal; None where something else is configured.
    """

    tokens: Tokens
    supabase: SupabaseTokens | None
    link: LoginLink | None
    sessions: Sessions
    attempts: Attempts = field(default_factory=Attempts)

    @classmethod
    def configured(cls, settings: Settings, encryption_key: str) -> Access | None:
        """Take the ways in from the settings; None if the dashboard is to be off.

        Without any way in there is the link, but only where nobody but this machine can reach the server.
        """
        keyring = Keyring.parse(encryption_key)
        tokens = Tokens.configured(settings, keyring.derive("dashboard tokens"))
        sessions = Sessions(keyring.derive("dashboard sessions"))
        if settings.has_dashboard_access:
            return cls(tokens, SupabaseTokens.configured(settings), None, sessions)
        return None if settings.is_http_public else cls(tokens, None, LoginLink(), sessions)

    @property
    def start_path(self) -> str:
        """Give what is to be opened in a browser, below the server's address. With the link in it, it is a secret."""
        return "/" if self.link is None else self.link.path

    async def check(self, credential: str, address: str) -> Admitted:
        """Check a token of either kind.

        Args:
            credential: as it was given.
            address: whose tries are counted.

        Raises:
            SignInRefused: with a word for the log and a sentence for the visitor; also after too many tries.
        """
        self._let_try(address)
        try:
            return await self._admit(credential)
        except SignInRefused as refused:
            self._note(refused, address)
            raise

    def open_link(self, given: str, address: str) -> Admitted:
        """Let somebody in by the link of the terminal.

        Raises:
            SignInRefused: if there is none, or another one, or it was used up.
        """
        self._let_try(address)
        admitted = None if self.link is None else self.link.open(given)
        if admitted is None:
            refused = SignInRefused("link", "This link is used up or from an earlier start. Take the newest one.")
            self._note(refused, address)
            raise refused
        return admitted

    async def _admit(self, credential: str) -> Admitted:
        admitted = self.tokens.find(credential)
        if admitted is not None:
            return admitted
        if self.supabase is None or credential.count(".") != _DOTS_OF_A_JWT:
            raise SignInRefused("unknown_token", NOT_ACCEPTED)
        return await self.supabase.check(credential)

    def accepts(self, session: Session) -> bool:
        """Tell whether the way that a session began by is still open: a token that was taken away ends its sessions."""
        ways = {*self.tokens.prints, *([LINK] if self.link else []), *([JWT] if self.supabase else [])}
        return session.via in ways

    def _let_try(self, address: str) -> None:
        seconds = self.attempts.wait(address)
        if seconds > 0:
            raise SignInRefused("too_many_tries", f"Too many tries. Wait {math.ceil(seconds)} seconds.", 429)

    def _note(self, refused: SignInRefused, address: str) -> None:
        if refused.word in _GUESSES:
            self.attempts.failed(address)
        log.warning("dashboard_sign_in_refused", reason=refused.word, address=address)


def access_of(request: Request) -> Access:
    """Give the ways in of the application that answers."""
    access: Access = request.app.state.access
    return access


def address_of(request: Request) -> str:
    """Give the address of whoever asks."""
    return request.client.host if request.client is not None else "unknown"


async def require(request: Request, role: Role) -> Visitor:
    """Give the visitor, who has at least this role. `Authorization: Bearer` counts before a cookie.

    Raises:
        Refusal: 401 for nobody, 403 for somebody who may not, 429 after too many tries.
    """
    visitor = await visitor_of(request)
    if visitor is None:
        raise Refusal(401, "not_signed_in", "sign in first", {"www-authenticate": "Bearer"})
    if visitor.role < role:
        raise Refusal(403, "forbidden", f"this needs the role {role.word}; you are signed in as {visitor.role.word}")
    return visitor


async def visitor_of(request: Request) -> Visitor | None:
    """Give the visitor; None for nobody.

    Raises:
        Refusal: if a bearer token is given and isn't accepted.
    """
    if not hasattr(request.state, "visitor"):
        given = request.headers.get("authorization")
        if given is None:
            session = session_of(request)
            request.state.visitor = None if session is None else session.visitor
        else:
            request.state.session = None
            request.state.visitor = await _bearer(request, given)
    visitor: Visitor | None = request.state.visitor
    return visitor


async def _bearer(request: Request, given: str) -> Visitor:
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer":
        raise Refusal(401, "not_signed_in", "a bearer token is expected", {"www-authenticate": "Bearer"})
    try:
        return (await access_of(request).check(token.strip(), address_of(request))).visitor
    except SignInRefused as refused:
        headers = {"www-authenticate": "Bearer"} if refused.status == 401 else {}
        raise Refusal(refused.status, refused.word, refused.sentence, headers) from None


def session_of(request: Request) -> Session | None:
    """Give the session that the cookie names, if it is good."""
    if not hasattr(request.state, "session"):
        access, cookie = access_of(request), request.cookies.get(cookie_name(request))
        session = None if cookie is None else access.sessions.read(cookie)
        request.state.session = session if session is not None and access.accepts(session) else None
    session_: Session | None = request.state.session
    return session_


def csrf_token(request: Request) -> str:
    """Give what the forms of this visitor carry in the hidden field `csrf`; empty for a caller without a cookie."""
    session = session_of(request)
    return "" if session is None else session.csrf


def check_csrf(request: Request, form: Mapping[str, object]) -> None:
    """Make sure that a form was sent from a page of ours, if it came by cookie.

    Raises:
        Refusal: 403.
    """
    check_origin(request)
    session = session_of(request)
    given = form.get(CSRF_FIELD)
    if session is not None and not (
        isinstance(given, str) and hmac.compare_digest(given.encode("utf-8", "replace"), session.csrf.encode())
    ):
        raise Refusal(403, "csrf", "this form is out of date; load the page again and send it once more")


def check_origin(request: Request) -> None:
    """Make sure that no other site's page sent this.

    A browser says so itself in Sec-Fetch-Site; one that doesn't names at least the Origin. Programs name neither.

    Raises:
        Refusal: 403.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_ours = site in {"same-origin", "none"}
    else:
        is_ours = origin is None or _netloc(origin) == request.headers.get("host", "").lower()
    if not is_ours:
        raise Refusal(403, "foreign_origin", "this was sent from another site")


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def cookie_name(request: Request) -> str:
    """Name the session's cookie. Ports of one machine share their cookies, so the port is in it."""
    if request.url.scheme == "https":
        return "__Host-cdc_session"
    return f"cdc_session_{request.url.port or 80}"


def set_session(request: Request, response: Response, admitted: Admitted) -> Session:
    """Begin a session and put it into a cookie."""
    access = access_of(request)
    session = access.sessions.begin(admitted)
    response.set_cookie(
        cookie_name(request), access.sessions.seal(session), path="/", httponly=True, samesite="lax",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    log.info("dashboard_signed_in", role=admitted.visitor.role.word, address=address_of(request))
    return session


def end_session(request: Request, response: Response) -> None:
    """End the session, here and in the browser."""
    session = session_of(request)
    if session is not None:
        access_of(request).sessions.end(session)
    response.delete_cookie(
        cookie_name(request), path="/", httponly=True, samesite="lax", secure=request.url.scheme == "https"
    )
