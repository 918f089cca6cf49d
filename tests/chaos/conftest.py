"""A database with the application's tables, a simulator, and the pipeline set up between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.pipeline import Crm, Site
from tests.support.postgres import Database

MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
async def make_site(database: Database, tmp_path: Path) -> AsyncIterator[MakeSite]:
    """Set everything up; nothing runs yet. Takes the transport and further settings of the commands."""
    async with AsyncExitStack() as stack:

        async def make(transport: str = "stream", **settings: str) -> Site:
            crm = await stack.enter_async_context(Crm.open())
            site = Site(database, crm, tmp_path, transport, settings)
            stack.push_async_callback(site.close)
            await site.set_up()
            return site

        yield make
