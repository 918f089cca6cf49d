"""What every answer has, and what no request gets by with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc.routing.feeds import load_profile
from cdc.settings import Settings
from cdc.state.database import Pool
from cdc.web.access import Access
from cdc.web.server import receiving
from tests.integration.web.conftest import KEY, OPERATOR, PAGE, Serve, Site

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


@pytest.mark.parametrize(
    "path", ["/", "/login", "/livez", "/readyz", "/nothing", "/static/access.css", "/static/nothing", "/api/status"]
)
async def test_every_answer_has_the_headers_that_a_browser_obeys(site: Site, path: str) -> None:
    for accept in ("text/html", "*/*"):
        headers = (await site.http.get(path, headers={"accept": accept})).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "server" not in headers
        assert "strict-transport-security" not in headers, "this is http"
        if not path.startswith("/static/a"):
            assert headers["cache-control"] == "no-store"


async def test_pages_hold_nothing_that_the_policy_forbids(site: Site) -> None:
    await site.sign_in()
    for path in ("/", "/login?next=%2F", "/nothing"):
        text = (await site.http.get(path, headers=PAGE)).text
        for forbidden in ("<script>", "style=", "onclick", "javascript:", "http://", "https://"):
            assert forbidden not in text


HOSTS = [
    ("localhost", 401), ("127.0.0.1:1", 401), ("[::1]:8080", 401), ("LocalHost:80", 401),
    ("evil.example", 421), ("localhost.evil.example", 421), ("127.0.0.1.evil.example:80", 421), ("", 421),
    ("localhost@evil.example", 421), ("evil.example:localhost", 421), ("localhost:80:80", 421), ("127.1", 421),
    ("ops.example.org", 421),
]  # fmt: skip


@pytest.mark.parametrize(("host", "status"), HOSTS)
async def test_a_name_that_is_not_ours_reaches_nothing(site: Site, host: str, status: int) -> None:
    answer = await site.http.get("/api/status", headers={"host": host})
    assert answer.status_code == status
    assert "evil" not in answer.text


async def test_names_behind_a_proxy_are_given_and_probes_come_by_any(serve: Serve) -> None:
    async with serve(cdc_http_allowed_hosts="Ops.example.org, [fd00::1]") as site:
        statuses = {
            host: (await site.http.get("/api/status", headers={"host": host})).status_code
            for host in ("ops.example.org", "ops.example.org:443", "[fd00::1]:80", "localhost", "www.example.org")
        }
        assert list(statuses.values()) == [401, 401, 401, 401, 421]
        for path, status in (("/livez", 200), ("/healthz", 200), ("/readyz", 503), ("/syncz", 200)):
            assert (await site.http.get(path, headers={"host": "10.1.2.3:8080"})).status_code == status
        webhook = await site.http.post("/api/webhooks/supabase", headers={"host": "tunnel.example"})
        assert webhook.status_code == 401


async def test_at_a_public_address_any_name_may_be_called_until_some_are_given(serve: Serve) -> None:
    for allowed, status in ((None, 401), ("ops.example.org", 421)):
        async with serve(cdc_http_host="0.0.0.0", cdc_http_allowed_hosts=allowed) as site:  # noqa: S104
            url = f"http://127.0.0.1:{site.http.base_url.port}/api/status"
            async with httpx.AsyncClient() as http:
                assert (await http.get(url, headers={"host": "www.example.org"})).status_code == status


FORWARDED = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9, 198.51.100.7", "host": "ops.example.org"}


async def test_behind_a_proxy_that_is_trusted_cookies_are_for_https_alone(serve: Serve) -> None:
    async with serve(cdc_trusted_proxies="127.0.0.0/8", cdc_http_allowed_hosts="ops.example.org") as site:
        sent = {**PAGE, **FORWARDED, "origin": "https://ops.example.org"}
        answer = await site.http.post("/login", data={"token": OPERATOR}, headers=sent)
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-cdc_session=")
        assert "Secure" in cookie
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        again = await site.http.get("/", headers={**sent, "cookie": cookie.partition(";")[0]})
        assert again.status_code == 200
        for _ in range(10):
            await site.http.post("/login", data={"token": "wrong"}, headers=sent)
        assert (await site.http.post("/login", data={"token": "wrong"}, headers=sent)).status_code == 429
        other = {**sent, "x-forwarded-for": "203.0.113.9, 198.51.100.8"}
        assert (await site.http.post("/login", data={"token": "wrong"}, headers=other)).status_code == 401


async def test_a_proxy_that_is_not_trusted_is_not_believed(serve: Serve) -> None:
    async with serve(cdc_trusted_proxies="10.0.0.0/8", cdc_http_allowed_hosts="ops.example.org") as site:
        answer = await site.http.post("/login", data={"token": OPERATOR}, headers=FORWARDED)
        assert answer.headers["set-cookie"].startswith("cdc_session_80=")
        assert "strict-transport-security" not in answer.headers
        for n in range(11):  # a new address each time helps nobody
            headers = {**FORWARDED, "x-forwarded-for": f"203.0.113.{n}"}
            refused = await site.http.post("/login", data={"token": "wrong"}, headers=headers)
        assert refused.status_code == 429


TRICKS = [
    "/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/%2e%2e/settings.py", "/static/....//server.py",
    "/static/../../../../../../etc/passwd", "/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/..%5cserver.py",
    "/static/%00", "/static/access.css%00.html", "/static/", "/static", "/static/" + "x" * 5000,
    "/static/" + "a/" * 2000, "/templates/login.html", "//evil.example/", "/%2e%2e/", "/login/../api/status",
]  # fmt: skip


@pytest.mark.parametrize("path", TRICKS, ids=range(len(TRICKS)))
async def test_no_path_leads_out_of_the_folder(site: Site, path: str) -> None:
    status, body = await raw(site, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n")
    assert status in {303, 307, 400, 404}
    for words in (b"root:", b"import", b"{% "):
        assert words not in body


async def raw(site: Site, head: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send what no client of ours would."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.http.base_url.port)
    writer.write(head.encode("latin-1") + b"Connection: close\r\n\r\n" + body)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return int(answer.split(b" ", 2)[1]), answer


@pytest.mark.parametrize(
    "target",
    ["/%0d%0aset-cookie:%20x=y", "//evil.example", "/\\evil.example", "https://evil.example", "/\r\nx: y", "\x00"],
)
async def test_nothing_that_is_sent_becomes_a_header_or_another_place(site: Site, target: str) -> None:
    answer = await site.sign_in(next=target)
    assert answer.headers["location"] in {"/", "/%0d%0aset-cookie:%20x=y"}
    assert list(answer.headers.get_list("set-cookie")) == [answer.headers["set-cookie"]]
    assert "evil" not in str(answer.headers)


async def test_two_hosts_are_none(site: Site) -> None:
    head = "GET /api/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n"
    status, _ = await raw(site, head)
    assert status in {400, 421}


async def test_a_form_that_is_too_large_is_refused_before_it_is_read(site: Site) -> None:
    await site.sign_in()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 65_536

    headers = {"content-type": "application/x-www-form-urlencoded"}
    for path in ("/login", "/logout"):
        assert (await site.http.post(path, data={"token": "x" * 70_000})).status_code == 413
        assert (await site.http.post(path, content=endless(), headers=headers)).status_code == 413
        assert (await site.http.post(path, json={"token": OPERATOR})).status_code == 415
        many = "&".join(f"f{n}=" for n in range(2000))
        assert (await site.http.post(path, content=many, headers=headers)).status_code == 422


async def test_what_goes_wrong_here_is_told_without_a_word_of_it(nowhere: Pool) -> None:
    async def fail(_: Request) -> Response:
        raise psycopg.errors.InvalidTextRepresentation("MARKED")

    async def wait(_: Request) -> Response:
        raise TimeoutError("MARKED")

    settings = Settings(_env_file=None, cdc_http_port=0)
    routes = [Route("/fail", fail), Route("/wait", wait)]
    access = Access.configured(settings, KEY)
    async with (
        receiving(settings, load_profile("core"), nowhere, access=access, routes=routes) as url,
        httpx.AsyncClient(base_url=url or "") as http,
    ):
        for path, status, word in (("/fail", 500, "internal"), ("/wait", 503, "database_away")):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["error"]) == (status, word)
            page = await http.get(path, headers=PAGE)
            assert "<h1>" in page.text
            assert "MARKED" not in page.text + answer.text
            assert answer.headers["content-security-policy"] == POLICY
