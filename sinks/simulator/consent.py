"""What a person sees in a browser: the question whether a program may, for both ways of asking it.

https://www.zoho.com/accounts/protocol/oauth/web-apps/authorization.html
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from sinks.simulator.simulation import Simulation


@dataclass(frozen=True, slots=True)
class _Question:
    """A consent that was asked for by a redirect."""

    scopes: tuple[str, ...]
    redirect_uri: str
    state: str | None
    offline: bool


class Consent:
    """The pages over one simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._sim = simulation
        self._questions: dict[str, _Question] = {}
        self._has_consented = False
        self._templates = Environment(loader=PackageLoader("sinks.simulator"), autoescape=True, trim_blocks=True)

    def routes(self) -> list[Route]:
        """Routes to mount."""
        return [
            Route("/oauth/v2/auth", self._ask, methods=["GET"]),
            Route("/oauth/v2/auth", self._decide, methods=["POST"]),
            Route("/oauth/v3/device", self._ask_device, methods=["GET"]),
            Route("/oauth/v3/device", self._decide_device, methods=["POST"]),
        ]

    async def _ask(self, request: Request) -> Response:
        query, config = request.query_params, self._sim.config
        if query.get("client_id") != config.client_id:
            return self._refused("invalid_client")
        redirect_uri = query.get("redirect_uri", "")
        if redirect_uri not in config.redirect_uris:  # to the letter; and an unknown address is never redirected to
            return self._refused("invalid_redirect_uri")
        if query.get("response_type") != "code":
            return self._refused("invalid_response_type")
        scopes = self._sim.tokens.scopes_of(query.get("scope", ""))
        if scopes is None:
            return self._refused("invalid_scope")
        # A refresh token comes with the first consent, and later only if consent is asked for again.
        offline = query.get("access_type") == "offline" and (
            query.get("prompt") == "consent" or not self._has_consented
        )
        number = secrets.token_urlsafe(16)
        self._questions[number] = _Question(scopes, redirect_uri, query.get("state"), offline)
        return self._page(scopes=scopes, action="/oauth/v2/auth", name="question", value=number, goes_to=redirect_uri)

    async def _decide(self, request: Request) -> Response:
        async with request.form() as form:
            number, allowed = str(form.get("question", "")), form.get("decision") == "accept"
        question = self._questions.pop(number, None)
        if question is None:
            return self._refused("invalid_request")
        back = {"state": question.state} if question.state is not None else {}
        if not allowed:
            return RedirectResponse(f"{question.redirect_uri}?{urlencode({**back, 'error': 'access_denied'})}", 302)
        self._has_consented = True
        home = self._sim.devices.home or self._sim.devices
        code = home.tokens.consent_code(question.scopes, question.redirect_uri, offline=question.offline)
        back |= {"code": code, "location": home.location, "accounts-server": home.url}
        return RedirectResponse(f"{question.redirect_uri}?{urlencode(back)}", 302)

    async def _ask_device(self, request: Request) -> Response:
        user_code = request.query_params.get("user_code", "")
        waiting = self._sim.devices.waiting(user_code)
        if waiting is None:
            problem = "No device waits with this code." if user_code else ""
            return self._page(problem=problem, action="/oauth/v3/device", asks_code=True)
        return self._page(scopes=waiting.scopes, action="/oauth/v3/device", name="user_code", value=waiting.user_code)

    async def _decide_device(self, request: Request) -> Response:
        async with request.form() as form:
            user_code, allowed = str(form.get("user_code", "")), form.get("decision") == "accept"
        waiting = self._sim.devices.waiting(user_code)
        if waiting is None:
            return self._refused("invalid_user_code")
        waiting.allowed = allowed
        return self._page(problem="The device may go on." if allowed else "The device was turned away.")

    def _refused(self, error: str) -> Response:
        return self._page(problem=f"ERROR_{error}", status=400)

    def _page(self, *, status: int = 200, goes_to: str = "", **shown: object) -> Response:
        nonce = secrets.token_urlsafe(12)
        # A form's target must allow where its answer redirects to.
        parts = urlsplit(goes_to)
        away = f" {parts.scheme}://{parts.netloc}" if goes_to else ""
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'{away}; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
        html = self._templates.get_template("consent.html").render(nonce=nonce, goes_to=goes_to, **shown)
        return HTMLResponse(html, status, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})
