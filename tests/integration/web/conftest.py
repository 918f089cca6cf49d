"""A server with a dashboard, as `cdc run` puts it together."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from cdc.routing.feeds import load_profile
from cdc.settings import Settings
from cdc.state.database import Pool
from cdc.watch.status import Status
from cdc.web.access import Access
from cdc.web.api import Api
from cdc.web.server import receiving
from cdc.web.sharing import StatusFeed
from tests.support.status import status

OPERATOR, VIEWER = "operator-token-of-a-test", "viewer-token-of-a-test"
KEY = "bm90IGEgcmVhbCBrZXksIG9ubHkgb25lIGZvciB0ZXM="
PAGE = {"accept": "text/html"}


@dataclass
class Site:
    """A running server, and a browser-like client of it."""

    http: httpx.AsyncClient
    access: Access | None

    def browser(self, **options: Any) -> httpx.AsyncClient:
        """Give another client, with cookies of its own."""
        return httpx.AsyncClient(base_url=self.http.base_url, timeout=30, **options)

    async def sign_in(self, token: str = OPERATOR, **fields: str) -> httpx.Response:
        return await self.http.post("/login", data={"token": token, **fields}, headers=PAGE)

    async def csrf(self) -> str:
        """Read what a form of ours carries, from the page."""
        found = re.search(r'name="csrf" value="([^"]+)"', (await self.http.get("/", headers=PAGE)).text)
        assert found
        return found[1]


Serve = Callable[..., Any]


@pytest.fixture
def nowhere() -> Pool:
    """A pool that is never opened: for what needs no database."""
    return AsyncConnectionPool("", open=False, kwargs={"autocommit": True})


@pytest.fixture
def serve(nowhere: Pool) -> Serve:
    """Serve with some settings, for the length of a block; everything is fine unless a test says otherwise."""

    async def fine() -> Status:
        return status()

    @asynccontextmanager
    async def serving(now: StatusFeed | None = None, state: Pool = nowhere, **values: Any) -> AsyncIterator[Site]:
        chosen: dict[str, Any] = {
            "cdc_http_port": 0, "cdc_dashboard_tokens": SecretStr(OPERATOR),
            "cdc_dashboard_view_tokens": SecretStr(f"vera:{VIEWER}"), **values,
        }  # fmt: skip
        settings = Settings(_env_file=None, **chosen)
        access, feed = Access.configured(settings, KEY), now or StatusFeed(fine)
        routes = Api(feed, state).routes()
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(
                receiving(settings, load_profile("core"), state, status=feed, access=access, routes=routes)
            )
            assert url is not None
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
            yield Site(http, access)

    return serving


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    async with serve() as made:
        yield made
