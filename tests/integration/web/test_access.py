"""Signing in to the dashboard, over HTTP: who gets in, who doesn't, and what either is told."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.integration.web.conftest import OPERATOR, PAGE, VIEWER, Serve, Site


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
            for path in ("/", "/login", "/api/status", "/static/access.css"):
                assert (await http.get(path)).status_code == 404
