"""What the pages stand on, and what every one of them shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

from psycopg import AsyncConnection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cdc.routing.feeds import Profile
from cdc.runtime.plans import Plan
from cdc.state.database import Pool
from cdc.web.access import Role, Visitor, csrf_token
from cdc.web.dashboard import formats
from cdc.web.dashboard.path import Mark
from cdc.web.rendering import page
from cdc.web.sharing import StatusFeed
from sinks.base import Readable

_CONNECTIONS: Final = 3
_FLASH: Final = "cdc_told"
_FLASH_SECONDS: Final = 60
_LONGEST_FLASH: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the pages need.

    Attributes:
        status: how things stand, shared with everybody else who shows it.
        source: pool on the database with the views.
        state: pool on the state database.
        profile: whose feeds.
        slot: name of the slot and of the pipeline.
        hash_key: keys the ledger's hashes.
        readers: by feed, what reads a record from the CRM; a feed that isn't in it can't be asked.
        plans: of the jobs that are done by the clock, by name.
        runbook: what its anchors are put behind: an address, or a path in the project, which isn't linked to.
    """

    status: StatusFeed
    source: Pool
    state: Pool
    profile: Profile
    slot: str
    hash_key: bytes = field(repr=False)
    readers: Mapping[str, Readable]
    plans: Mapping[str, Plan] = field(default_factory=dict)
    runbook: str = "docs/runbook.md"
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONNECTIONS), repr=False)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """Give a connection to the state. All pages together take three, so that lookers-on never hold up delivery."""
        async with self._turns, self.state.connection() as conn:
            yield conn

    @asynccontextmanager
    async def connections(self) -> AsyncIterator[tuple[AsyncConnection[Any], AsyncConnection[Any]]]:
        """Give one to the views, and one to the state."""
        async with self.connection() as state, self.source.connection() as source:
            yield source, state


def show(request: Request, visitor: Visitor, template: str, /, **values: Any) -> Response:
    """Make a page, with what every page shows."""
    told = request.cookies.get(_FLASH)
    answer = page(
        f"dashboard/{template}",
        visitor=visitor,
        may_act=visitor.role >= Role.OPERATOR,
        csrf=csrf_token(request),
        told=None if told is None else unquote(told)[:_LONGEST_FLASH],
        path=request.url.path,
        fmt=formats,
        Mark=Mark,
        link=link,
        **values,
    )
    if told is not None:
        answer.delete_cookie(_FLASH, path="/", httponly=True, samesite="lax")
    return answer


def go(request: Request, location: str, words: str) -> Response:
    """Answer an action: go on to a page, which says once what was done. A reload there does nothing again."""
    answer = RedirectResponse(location, 303)
    answer.set_cookie(
        _FLASH, quote(words[:_LONGEST_FLASH]), max_age=_FLASH_SECONDS, path="/", httponly=True, samesite="lax",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer


def link(path: str, **query: object) -> str:
    """Write an address with those parameters that have a value."""
    given = {name: str(value) for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def record_path(feed: str, key: str) -> str:
    """Give the address of a record's page. The key is a parameter: it may be of any signs, dots and slashes too."""
    return link("/record", feed=feed, key=key)
