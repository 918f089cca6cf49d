"""Signing in to the dashboard, over HTTP: who gets in, who doesn't, and what either is told."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote_from_bytes

import httpx
import pytest
from structlog.testing import capture_logs

from cdc.web.access.sessions import Session
from tests.integration.web.conftest import OPERATOR, PAGE, VIEWER, Serve, Site
from tests.support.jwks import SigningKey, project

FORM = "application/x-www-form-urlencoded"


async def test_a_visitor_signs_in_sees_the_page_they_wanted_and_signs_out(site: Site) -> None:
    asked = await site.http.get("/?feed=contacts", headers=PAGE)
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=%2F%3Ffeed%3Dcontacts")

    answer = await site.sign_in(next="/?feed=contacts")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?feed=contacts")
    cookie = answer.headers["set-cookie"]
    for attribute in ("HttpOnly", "SameSite=lax", "Path=/"):
        assert attribute in cookie
    assert "Secure" not in cookie, "http on this machine"
    assert OPERATOR not in cookie
    assert "operator" in (await site.http.get("/", headers=PAGE)).text

    copied = dict(site.http.cookies)
    gone = await site.http.post("/logout", data={"csrf": await site.csrf()}, headers=PAGE)
    assert (gone.status_code, gone.headers["location"]) == (303, "/login")
    assert (await site.http.get("/", headers=PAGE)).status_code == 303
    async with site.browser(cookies=copied) as copy:
        assert (await copy.get("/", headers=PAGE)).status_code == 303, "a copy of the cookie is worth nothing either"


async def test_a_role_is_what_the_token_says(site: Site) -> None:
    await site.sign_in(VIEWER)
    page = (await site.http.get("/", headers=PAGE)).text
    assert "vera (viewer)" in page


@pytest.mark.parametrize("token", [OPERATOR, VIEWER])
async def test_a_program_comes_with_a_bearer_token_and_no_cookie(site: Site, token: str) -> None:
    answer = await site.http.get("/api/status", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert answer.json()["dirty"] == 0
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x", f"Bearer {OPERATOR}x", f"Basic {OPERATOR}"])
async def test_a_wrong_credential_is_refused_even_beside_a_good_cookie(site: Site, authorization: str) -> None:
    await site.sign_in()
    answer = await site.http.get("/api/status", headers={"authorization": authorization})
    assert answer.status_code == 401
    assert set(answer.json()) == {"error", "message"}
    assert OPERATOR not in answer.text


async def test_the_link_of_the_terminal_signs_in_and_can_be_opened_again_shortly_after(serve: Serve) -> None:
    async with serve(cdc_dashboard_tokens=None, cdc_dashboard_view_tokens=None) as site:
        path = site.access.start_path
        assert (await site.http.head(path)).status_code == 200, "a look uses nothing up"
        assert (await site.http.get(path, headers=PAGE)).headers["location"] == "/"
        assert (await site.http.get("/", headers=PAGE)).status_code == 200
        async with site.browser() as another:
            assert (await another.get(path)).status_code == 303
        async with site.browser() as third:
            wrong = await third.get("/login?link=nothing", headers=PAGE)
        assert wrong.status_code == 401
        assert "used up" in wrong.text


async def test_without_a_way_in_the_dashboard_is_off_where_others_can_reach_it(serve: Serve) -> None:
    values: dict[str, Any] = {"cdc_dashboard_tokens": None, "cdc_dashboard_view_tokens": None}
    async with serve(cdc_http_host="0.0.0.0", **values) as site:  # noqa: S104 - that is the point
        assert site.access is None
        http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{site.http.base_url.port}")
        async with http:
            assert (await http.get("/livez")).status_code == 200
            for path in ("/", "/login", "/api/status", "/static/cdc.css"):
                assert (await http.get(path)).status_code == 404


@pytest.mark.parametrize("csrf", [None, "", "x", "é", "\udcff"])
async def test_a_form_without_its_sessions_token_does_nothing(site: Site, csrf: str | None) -> None:
    await site.sign_in()
    answer = await site.http.post("/logout", content=b"" if csrf is None else b"csrf=" + quote_from_bytes(
        csrf.encode("utf-8", "surrogateescape")).encode(), headers={"content-type": FORM})  # fmt: skip
    assert answer.status_code in {403, 422}
    assert (await site.http.get("/", headers=PAGE)).status_code == 200, "still signed in"


async def test_the_form_of_another_session_is_not_ours(site: Site) -> None:
    await site.sign_in()
    other = await site.csrf()
    await site.http.get("/", headers=PAGE)
    site.http.cookies.clear()
    await site.sign_in()
    assert (await site.http.post("/logout", data={"csrf": other})).status_code == 403


ORIGINS = [
    ({"origin": "https://evil.example"}, 403),
    ({"origin": "null"}, 403),
    ({"origin": "http://["}, 403),
    ({"origin": ""}, 403),
    ({"sec-fetch-site": "cross-site"}, 403),
    ({"sec-fetch-site": "same-site"}, 403),
    ({"sec-fetch-site": "Same-Origin"}, 403),
    ({"sec-fetch-site": "cross-site", "origin": "{own}"}, 403),
    ({"sec-fetch-site": "same-origin", "origin": "null"}, 303),
    ({"sec-fetch-site": "same-origin"}, 303),
    ({"origin": "{own}"}, 303),
    ({}, 303),
]


@pytest.mark.parametrize(("headers", "status"), ORIGINS, ids=range(len(ORIGINS)))
async def test_another_sites_form_neither_signs_in_nor_out(site: Site, headers: dict[str, str], status: int) -> None:
    own = str(site.http.base_url).rstrip("/")
    sent = {name: value.replace("{own}", own) for name, value in headers.items()}
    async with site.browser() as browser:
        signed = await browser.post("/login", data={"token": OPERATOR}, headers=sent)
    assert signed.status_code == status
    assert ("set-cookie" in signed.headers) is (status == 303)
    await site.sign_in()
    assert (await site.http.post("/logout", data={"csrf": await site.csrf()}, headers=sent)).status_code == status


async def test_too_many_tries_are_slowed_and_a_session_goes_on(serve: Serve) -> None:
    async with serve() as site:
        await site.sign_in()
        async with site.browser() as browser:
            statuses = [(await browser.post("/login", data={"token": f"guess-{n}"})).status_code for n in range(12)]
            told = await browser.post("/login", data={"token": OPERATOR}, headers=PAGE)
            bearer = await browser.get("/api/status", headers={"authorization": f"Bearer {OPERATOR}"})
        assert statuses == [401] * 10 + [429] * 2
        assert told.status_code == bearer.status_code == 429
        assert 1 <= int(told.headers["retry-after"]) <= 30
        assert "Too many tries" in told.text
        assert (await site.http.get("/", headers=PAGE)).status_code == 200


async def test_a_person_of_the_app_signs_in_with_their_token_and_leaves_with_it(serve: Serve) -> None:
    key = SigningKey.make("one")
    with project() as supabase:
        supabase.publish(key)
        async with serve(supabase_url=supabase.url, cdc_dashboard_jwt="jwks") as site:
            name = "<script>alert('x')</script>'; drop table cdc.audit; --"
            token = key.sign(supabase.claims(email=name, exp=int(time.time()) + 90))
            assert "access token of the app" in (await site.http.get("/login", headers=PAGE)).text
            answer = await site.sign_in(token)
            assert answer.status_code == 303
            assert token not in answer.headers["set-cookie"]
            page = (await site.http.get("/", headers=PAGE)).text
            assert "<script" not in page
            assert "&lt;script&gt;alert(&#39;x&#39;)" in page
            session = await _session(site)
            assert session.ends_at <= time.time() + 90, "no longer than the token itself"
            bearer = {"authorization": f"Bearer {token}"}
            async with site.browser() as program:
                assert (await program.get("/api/status", headers=bearer)).status_code == 200
                refused = await program.post("/login", data={"token": key.sign(supabase.claims(exp=1))}, headers=PAGE)
            assert refused.status_code == 401
            assert "has run out" in refused.text
            supabase.status = 500
    async with serve(supabase_url=supabase.url, cdc_dashboard_jwt="jwks") as site:
        away = await site.http.get("/api/status", headers=bearer)
        assert (away.status_code, away.json()["error"]) == (503, "keys_unavailable")


async def _session(site: Site) -> Session:
    assert site.access is not None
    [cookie] = [cookie.value for cookie in site.http.cookies.jar if cookie.value]
    session = site.access.sessions.read(cookie)
    assert session is not None
    return session


async def test_no_reason_and_no_log_line_holds_a_token(serve: Serve) -> None:
    key = SigningKey.make("one")
    with project() as supabase, capture_logs() as logs:
        supabase.publish(key)
        async with serve(supabase_url=supabase.url, cdc_dashboard_jwt="jwks") as site:
            tokens = [
                key.sign(supabase.claims(**changes)) for changes in ({"exp": 1}, {"aud": "x"}, {"app_metadata": {}})
            ]
            answers = [await site.sign_in(token) for token in (*tokens, "MARKED-token-of-nobody")]
            await site.sign_in()
    assert [answer.status_code for answer in answers] == [401, 401, 403, 401]
    words = [line["reason"] for line in logs if line["event"] == "dashboard_sign_in_refused"]
    assert words == ["expired", "foreign_audience", "no_role", "unknown_token"]
    said = repr(logs) + "".join(answer.text for answer in answers)
    assert not [token for token in (*tokens, "MARKED", OPERATOR, VIEWER, "ada@example.org") if token in said]
