"""How long the dashboard's pages take at a size that no page may notice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import httpx

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.state.database import open_pool
from tests.support.postgres import Database
from tests.support.shown import OPERATOR, a_day, feed, served

LEDGER, PARKED, LOGGED = 1_000_000, 100_000, 1_000_000
ROUNDS = 15
PAGES = (
    "/", "/fragment/status", "/?status=failed", "/?feed=rare", "/failures", "/failures?reason=RARE",
    "/failures?since=24h&reason=WRONG_TYPE", "/failures?after={cursor}", "/held", "/audit",
    "/record?feed=contacts&key=k500000",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Times:
    """In milliseconds: median and longest of the rounds."""

    p50: float
    longest: float


@dataclass(frozen=True, slots=True)
class PageTimes:
    """What was measured.

    Attributes:
        pages: from request to answer, with a status that is at hand.
        status: reading it, with the operations spread over ninety days.
        status_busy: the same with all of them within 24 hours.
        export_seconds: of all failures.
    """

    pages: Mapping[str, Times]
    status: Times
    status_busy: Times
    export_seconds: float


def measure_pages() -> PageTimes:
    """Fill a database and visit each page again and again."""
    with EmbeddedPostgres.start() as server:
        database = Database("postgres", server.dsn)
        a_day(database)
        _fill(database)
        _log(database, "24 hours")
        busy = asyncio.run(_status(database))
        _log(database, "90 days")
        return asyncio.run(_measure(database, busy))


def _fill(database: Database) -> None:
    for statement in (
        "insert into cdc.ledger (feed, record_id, key, state, crm_id, row_hash, field_hashes, delivered_at)"
        " select (array['contacts', 'quest_completions', 'badges_earned'])[1 + n % 3], 'r' || n, 'k' || n, 'sent',"
        " '61' || n, decode(md5(n::text), 'hex'), jsonb_build_object('Last_Name', md5(n::text), 'Email', md5('e')),"
        f" now() from generate_series(1, {LEDGER}) n",
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, parked_at, reason, detail, attempts)"
        " select case when n % 5 = 0 then 'badges_earned' else 'contacts' end, 'p' || n, 'live', now(), now(),"
        " now() - interval '1 s' * n, case when n % 20_000 = 0 then 'RARE' when n % 3 = 0 then 'WRONG_TYPE' else"
        f" 'PICKLIST_VALUE_UNKNOWN' end, 'INVALID_DATA Level', 1 from generate_series(1, {PARKED}) n",
        "vacuum analyze",
    ):
        database.execute(statement)


def _log(database: Database, length: str) -> None:
    """Write the sync log anew, over so long a time."""
    for statement in (
        "truncate cdc.zoho_sync_log",
        "insert into cdc.zoho_sync_log (sync_type, action, status, record_id, latency_ms, reason, created_at)"
        " select case when n = 1 then 'rare' else 'contacts' end, 'update', case when n % 200 = 0 then 'failed' else"
        " 'success' end, 'k' || n % 700_000, n % 3000, case when n % 200 = 0 then 'WRONG_TYPE' end,"
        f" now() - interval '{length}' * (n::float / {LOGGED}) from generate_series(1, {LOGGED}) n",
        "vacuum analyze cdc.zoho_sync_log",
    ):
        database.execute(statement)


async def _measure(database: Database, busy: Times) -> PageTimes:
    async with (
        served(database, fresh_seconds=3_600) as url,
        httpx.AsyncClient(base_url=url, timeout=60, headers={"accept": "text/html"}) as http,
    ):
        await http.post("/login", data={"token": OPERATOR})
        cursor = (await http.get("/failures")).text.partition("after=")[2].partition('"')[0]
        await http.get("/")
        pages = {path: await _times(http, path.format(cursor=cursor)) for path in PAGES}
        began = time.perf_counter()
        await http.get("/failures.csv")
        export = time.perf_counter() - began
    return PageTimes(pages, await _status(database), busy, export)


async def _status(database: Database) -> Times:
    took = []
    async with open_pool(database.dsn, purpose="bench") as pool:
        await feed(pool).now()
        for _ in range(5):
            began = time.perf_counter()
            await feed(pool).now()
            took.append((time.perf_counter() - began) * 1000)
    return Times(median(took), max(took))


async def _times(http: httpx.AsyncClient, path: str) -> Times:
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = await http.get(path)
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, (path, answer.status_code)
    return Times(median(took), max(took))
