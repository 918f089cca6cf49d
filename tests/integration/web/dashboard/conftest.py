"""The dashboard over a day's traces, in a real database and over real HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from sinks.base import Readable
from tests.support.postgres import Database, fresh_database
from tests.support.shown import OPERATOR, VIEWER, Reader, a_day, restore, save, served

PAGE = {"accept": "text/html"}


class Forms(HTMLParser):
    """Finds a page's forms: their address, and the fields that they send."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append((given.get("action", ""), {}))
        elif tag == "input" and self.found and "name" in given:
            self.found[-1][1][given["name"]] = given.get("value", "")


@dataclass
class Visit:
    """Somebody who is signed in, with a browser of their own."""

    http: httpx.AsyncClient
    database: Database
    reader: Reader
    csrf: str = field(default="")

    async def get(self, path: str, **params: str) -> str:
        answer = await self.http.get(path, params=params or None, headers=PAGE)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def post(self, path: str, *, follow: bool = True, **fields: Any) -> httpx.Response:
        """Send a form of ours; the answer is that of the page it goes on to."""
        answer = await self.http.post(path, data={"csrf": self.csrf, **fields}, headers=PAGE)
        return (
            await self.http.get(answer.headers["location"], headers=PAGE) if follow and answer.is_redirect else answer
        )

    async def confirm(self, path: str, *, typed: str = "", because: str = "", **params: str) -> httpx.Response:
        """Go through a page that asks whether one is sure."""
        text = await self.get(path, **params)
        action, fields = next((a, f) for a, f in Forms(text).found if a not in {"/logout", ""})
        given = {**fields, **({"typed": typed} if typed else {}), **({"because": because} if because else {})}
        return await self.post(action, **given)

    def audit(self) -> list[tuple[str, str, str, int, str]]:
        """What was written down since the day began, oldest first."""
        rows = self.database.execute(
            "select actor, action, subject, count, because from cdc.audit order by id offset 3"
        )
        return [tuple(row) for row in rows]  # type: ignore[misc]

    def keys(self, reason: str) -> list[str]:
        """What is parked for a reason."""
        found = self.database.execute(
            "select key from cdc.outbox where reason = %s and parked_at is not null order by key", [reason]
        )
        return [row[0] for row in found]


def told(answer: httpx.Response | str) -> str:
    """What the page says about what was done."""
    text = answer if isinstance(answer, str) else answer.text
    found = re.search(r'<p class="told" role="status">(.*?)</p>', text, re.DOTALL)
    return found[1] if found else ""


@pytest.fixture(scope="package")
def shown_day(postgres_dsn: str) -> Iterator[Database]:
    """One database for all of these tests."""
    with fresh_database(postgres_dsn) as made:
        a_day(made)
        save(made)
        yield made


@asynccontextmanager
async def visiting(
    database: Database, *, token: str = OPERATOR, readers: Mapping[str, Readable] | None = None
) -> AsyncIterator[Visit]:
    """Serve, and sign in."""
    reader = Reader({})
    async with (
        served(database, readers={"contacts": reader} if readers is None else readers) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        answer = await http.post("/login", data={"token": token}, headers=PAGE)
        assert answer.status_code == 303
        visit = Visit(http, database, reader)
        found = re.search(r'name="csrf" value="([^"]+)"', await visit.get("/audit"))
        assert found
        visit.csrf = found[1]
        yield visit


@pytest.fixture
def day(shown_day: Database) -> Database:
    """The same, as it was at first."""
    restore(shown_day)
    return shown_day


@pytest.fixture
async def looker(day: Database) -> AsyncIterator[Visit]:
    """A viewer."""
    async with visiting(day, token=VIEWER) as visit:
        yield visit


@pytest.fixture
async def operator(day: Database) -> AsyncIterator[Visit]:
    """An operator, on a database that may be changed."""
    async with visiting(day) as visit:
        yield visit
