"""Whatever comes as a token, a cookie, a form or an address to go on to: it lets nobody in, and breaks nothing."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from cdc.settings import Settings
from cdc.web.access.sessions import Sessions
from cdc.web.access.signin import local_path
from cdc.web.access.supabase import SupabaseTokens
from cdc.web.access.visitors import Admitted, Role, SignInRefused, Visitor, plain_name
from cdc.web.bodies import read_form
from cdc.web.refusals import Refusal
from cdc.web.rendering import templates
from tests.support.jwks import with_mac

SECRET = "the-legacy-secret-of-a-project-that-is-none"
TOKENS = SupabaseTokens.configured(Settings(_env_file=None, supabase_jwt_secret=SECRET, cdc_dashboard_jwt="secret"))
SESSIONS = Sessions(b"k" * 32)
TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CLAIMS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("exp", "nbf", "iat", "aud", "sub", "iss", "email", "is_anonymous"), JSON)
)


def check(token: str) -> Admitted | SignInRefused:
    assert TOKENS is not None
    try:
        return asyncio.run(TOKENS.check(token))
    except SignInRefused as refused:
        return refused


def good(**changes: Any) -> dict[str, Any]:
    claims = {"aud": "authenticated", "sub": "u", "exp": int(time.time()) + 600, "app_metadata": {"role": "admin"}}
    return {**claims, **changes}


@given(st.text() | st.lists(st.text(), min_size=3, max_size=3).map(".".join))
def test_no_text_is_a_token(token: str) -> None:
    assert isinstance(check(token), SignInRefused)


@given(CLAIMS)
def test_signed_nonsense_is_refused_with_a_word(claims: dict[str, Any]) -> None:
    """An administrator's claims, some of them replaced: it is let in only with all of them as they must be."""
    found = check(with_mac({"alg": "HS256"}, good(**claims), SECRET.encode()))
    if isinstance(found, Admitted):
        assert (
            claims.get("aud", "authenticated") in ("authenticated", ["authenticated"])
            or "authenticated" in claims["aud"]
        )
        assert found.ends_at is not None
        assert found.ends_at > time.time() - 60
        assert found.visitor.name.isprintable()
    else:
        assert found.word.isidentifier()


@given(JSON)
def test_no_other_shape_of_metadata_is_a_role(value: Any) -> None:
    role = value.get("role") if isinstance(value, dict) else None
    named = [name for name in (role if isinstance(role, list) else [role]) if isinstance(name, str)]
    found = check(with_mac({"alg": "HS256"}, good(app_metadata=value), SECRET.encode()))
    assert isinstance(found, Admitted) == bool({"admin", "superadmin"} & set(named))


@given(st.data())
def test_a_token_with_any_sign_changed_is_refused(data: st.DataObject) -> None:
    token = jwt.encode(good(), SECRET, "HS256")
    at = data.draw(st.integers(0, len(token) - 2))  # bits of the last sign are padding
    sign = data.draw(st.sampled_from("abcXYZ019-_.=").filter(lambda sign: sign != token[at]))
    assert isinstance(check(token[:at] + sign + token[at + 1 :]), SignInRefused)


@given(st.text(), st.sampled_from(Role), st.floats(1, 1e6) | st.none())
def test_a_session_comes_back_as_it_was(name: str, role: Role, left: float | None) -> None:
    visitor = Visitor(plain_name(name, "somebody"), role)
    session = SESSIONS.begin(Admitted(visitor, "jwt", None if left is None else time.time() + left + 2))
    assert SESSIONS.read(SESSIONS.seal(session)) == session
    assert session.visitor.name.isprintable()
    assert Sessions(b"x" * 32).read(SESSIONS.seal(session)) is None


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_no_text_is_a_session(cookie: str) -> None:
    assert SESSIONS.read(cookie) is None


@given(st.dictionaries(st.sampled_from(["iss", "aud", "jti", "exp", "name", "role", "via", "csrf"]), JSON))
def test_nothing_is_a_session_but_what_was_begun(claims: dict[str, Any]) -> None:
    """Even with the right key, which nobody has: it breaks nothing."""
    try:
        cookie = jwt.encode(claims, b"k" * 32, "HS256")
    except TypeError:
        return
    SESSIONS.read(cookie)
    assert SESSIONS.read(jwt.encode(claims, b"x" * 32, "HS256")) is None


STARTS = ("", "/", "//", "/\\", "\\", "/\t/", " /", "/.", "/?", "https:", "javascript:", "/%2f", "/login", "/logout?")


@given(st.sampled_from(STARTS), st.text())
def test_one_never_goes_on_to_another_site(start: str, text: str) -> None:
    target = local_path(start + text)
    assert target in {"/", start + text}
    landed = urlsplit(urljoin("https://ops.example.org/login", target))
    assert (landed.scheme, landed.netloc) == ("https", "ops.example.org")
    assert target.isprintable()


@given(st.text())
def test_a_name_is_shown_as_text_whatever_is_in_it(name: str) -> None:
    visitor = Visitor(plain_name(f"<script>{name}'\"</script>", "x"), Role.VIEWER)
    html = templates().get_template("home.html").render(visitor=visitor, csrf="c")
    assert "<script" not in html
    assert html.count("</form>") == 1


def form_of(body: bytes, kind: str = "application/x-www-form-urlencoded") -> Any:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())], "path": "/"}
    return asyncio.run(read_form(Request(scope, receive)))


@given(st.lists(st.tuples(TEXT, TEXT), max_size=20))
def test_a_form_comes_as_it_was_sent(fields: list[tuple[str, str]]) -> None:
    assert form_of(urlencode(fields).encode()).multi_items() == fields


@given(st.binary())
@settings(max_examples=50)
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    found: Any = None
    try:
        found = form_of(body)
    except Refusal as refused:
        found = refused.status
    assert found == 422 or all(isinstance(text, str) for field in found.multi_items() for text in field)


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "text/plain", "application/json", ""])
def test_a_form_of_another_kind_is_refused(kind: str) -> None:
    with pytest.raises(Refusal, match="content-type"):
        form_of(json.dumps({"token": "x"}).encode(), kind)
