"""A server with a dashboard, as `cdc run` puts it together."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cdc.routing.feeds import load_profile
from cdc.settings import Settings
from cdc.state.database import Pool, open_pool
from cdc.watch.status import Status, read_status
from cdc.web.access import Access
from cdc.web.api import Api
from cdc.web.server import receiving
from cdc.web.sharing import StatusFeed
from tests.support.postgres import Database

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
def state(database: Database) -> Database:
    database.apply_state()
    return database


@pytest.fixture
async def pool(state: Database) -> AsyncIterator[Pool]:
    async with open_pool(state.dsn, purpose="test") as opened:
        yield opened


@pytest.fixture
def serve(pool: Pool) -> Serve:
    """Serve with some settings, for the length of a block."""

    async def read() -> Status:
        async with pool.connection() as source, pool.connection() as conn:
            return await read_status(source, conn, "optio_cdc", credit_limit=50_250)

    @asynccontextmanager
    async def serving(status: StatusFeed | None = None, **values: Any) -> AsyncIterator[Site]:
        chosen: dict[str, Any] = {
            "cdc_http_port": 0, "cdc_dashboard_tokens": SecretStr(OPERATOR),
            "cdc_dashboard_view_tokens": SecretStr(f"vera:{VIEWER}"), **values,
        }  # fmt: skip
        settings = Settings(_env_file=None, **chosen)
        access, status = Access.configured(settings, KEY), status or StatusFeed(read)
        async with AsyncExitStack() as stack:
            routes = Api(status, pool).routes()
            url = await stack.enter_async_context(
                receiving(settings, load_profile("core"), pool, status=status, access=access, routes=routes)
            )
            assert url is not None
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
            yield Site(http, access)

    return serving


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    async with serve() as made:
        yield made
