"""The pages for signing in and out."""

from __future__ import annotations

import math
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from cdc.web.access.access import (
    access_of,
    address_of,
    check_csrf,
    check_origin,
    end_session,
    session_of,
    set_session,
)
from cdc.web.access.visitors import Admitted, SignInRefused
from cdc.web.bodies import read_form
from cdc.web.rendering import page

HOME: Final = "/"
_LONGEST_NEXT: Final = 1000
_OURS: Final = ("/login", "/logout")


def routes() -> list[Route]:
    """Routes to mount."""
    return [
        Route("/login", _ask, methods=["GET"]),
        Route("/login", _sign_in, methods=["POST"]),
        Route("/logout", _sign_out, methods=["POST"]),
    ]


async def _ask(request: Request) -> Response:
    """Show the form, or let somebody in by the link of the terminal."""
    target = local_path(request.query_params.get("next", HOME))
    if session_of(request) is not None:
        return RedirectResponse(target, 303)
    given = request.query_params.get("link")
    if given is None or request.method != "GET":  # a HEAD looks, and uses nothing up
        return _form(request, target)
    try:
        return _let_in(request, access_of(request).open_link(given, address_of(request)), target)
    except SignInRefused as refused:
        return _form(request, target, refused)


async def _sign_in(request: Request) -> Response:
    check_origin(request)
    form = await read_form(request)
    target = local_path(form.get("next", HOME))
    try:
        admitted = await access_of(request).check(form.get("token", "").strip(), address_of(request))
    except SignInRefused as refused:
        return _form(request, target, refused)
    return _let_in(request, admitted, target)


async def _sign_out(request: Request) -> Response:
    check_csrf(request, await read_form(request))
    answer = RedirectResponse("/login", 303)
    end_session(request, answer)
    return answer


def _let_in(request: Request, admitted: Admitted, target: str) -> Response:
    answer = RedirectResponse(target, 303)
    set_session(request, answer, admitted)
    return answer


def _form(request: Request, target: str, refused: SignInRefused | None = None) -> Response:
    access = access_of(request)
    answer = page(
        "login.html", 200 if refused is None else refused.status, next=target,
        sentence=None if refused is None else refused.sentence,
        takes_token=access.link is None, takes_jwt=access.supabase is not None,
    )  # fmt: skip
    if refused is not None and refused.status == 429:
        answer.headers["retry-after"] = str(math.ceil(access.attempts.wait(address_of(request))) or 1)
    return answer


def local_path(text: str) -> str:
    r"""Give a path of this server, to go on to; `/` for anything that a browser might take for another place.

    Browsers read `//host`, `/\host` and a path with a tab or a line end in it as addresses of other servers.
    """
    is_plain = text.isascii() and text.isprintable() and " " not in text and "\\" not in text
    is_local = text.startswith("/") and not text.startswith("//")
    is_another = text.partition("?")[0].rstrip("/") not in _OURS
    return text if is_plain and is_local and is_another and len(text) <= _LONGEST_NEXT else HOME
