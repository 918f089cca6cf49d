"""Health and status: who is told what, and when the answer is no."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from cdc.runtime.connections import Connections
from cdc.settings import Settings
from cdc.state.credits import CreditLedger
from cdc.state.database import Pool, migrate, open_pool
from cdc.watch.status import Status, read_status
from cdc.web.health import Check
from cdc.web.sharing import StatusFeed
from tests.integration.web.conftest import OPERATOR, VIEWER, Serve, Site
from tests.support.postgres import Database
from tests.support.status import pause, slot, status

SIGNED_IN = {"authorization": f"Bearer {VIEWER}"}


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    await migrate(database.dsn)
    async with open_pool(database.dsn, purpose="test") as opened:
        yield opened


@pytest.fixture
async def real(serve: Serve, pool: Pool) -> AsyncIterator[Site]:
    """A server over a database of its own."""

    async def read() -> Status:
        async with pool.connection() as conn:
            return await read_status(None, conn, "optio_cdc", credit_limit=50_250)

    async with serve(StatusFeed(read), pool) as made:
        yield made


def feed(of: Status | Exception) -> StatusFeed:
    async def read() -> Status:
        if isinstance(of, Exception):
            raise of
        return of

    return StatusFeed(read)


@pytest.mark.parametrize("path", ["/livez", "/healthz"])
async def test_alive_is_whoever_answers_whatever_the_database_does(site: Site, path: str) -> None:
    answer = await site.http.get(path)
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_ready_is_who_has_a_database_that_is_up_to_date(real: Site) -> None:
    answer = await real.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    verbose = await real.http.get("/readyz?verbose", headers=SIGNED_IN)
    assert verbose.text == "[+]state database ok\n[+]migrations ok\n"


Spoil = Callable[[Database], Any]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda db: db.execute("delete from cdc.migration where version = 8"), "[+]state database ok\n[-]migrations"),
        (lambda db: db.execute("insert into cdc.migration values (9999, 'x')"), "[+]state database ok\n[-]migrations"),
        (lambda db: db.execute("drop schema cdc cascade"), "[+]state database ok\n[-]migrations"),
    ],
)
async def test_a_state_that_does_not_fit_is_not_ready(real: Site, database: Database, spoil: Spoil, said: str) -> None:
    spoil(database)
    answer = await real.http.get("/readyz?verbose", headers=SIGNED_IN)
    assert answer.status_code == 503
    assert answer.text.startswith(said)


async def test_a_database_that_is_away_is_not_ready(real: Site, database: Database) -> None:
    with database.connect() as other, other.transaction():
        other.execute("lock table cdc.migration")
        answer = await real.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})


@pytest.mark.parametrize(
    ("now", "code", "word"),
    [
        (status(), 200, "healthy"), (status(slot=slot(exists=False)), 503, "slot_lost"),
        (status(slot=slot(wal_status="lost")), 503, "slot_lost"),
        (status(pauses=[pause("TOKEN_INVALID")]), 503, "auth_broken"),
        (status(pauses=[pause()]), 200, "paused"),
    ],
)  # fmt: skip
async def test_in_step_is_who_gets_changes_through(serve: Serve, now: Status, code: int, word: str) -> None:
    """A CRM that is away, or a pause, is nothing that a probe should act on."""
    async with serve(feed(now)) as site:
        plain = await site.http.get("/syncz")
        assert (plain.status_code, plain.json()) == (code, {"status": "in step" if code == 200 else "not in step"})
        verbose = await site.http.get("/syncz?verbose", headers=SIGNED_IN)
        sign, end = ("+", "ok") if code == 200 else ("-", "failed")
        assert (verbose.status_code, verbose.text) == (code, f"[+]status ok\n[{sign}]sync {word} {end}\n")


async def test_a_status_that_cannot_be_read_is_out_of_step(serve: Serve) -> None:
    async with serve(feed(TimeoutError())) as site:
        assert (await site.http.get("/syncz")).status_code == 503
        answer = await site.http.get("/api/status", headers=SIGNED_IN)
        assert (answer.status_code, answer.json()["error"]) == (503, "database_away")


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"cookie": "cdc_session_80=x"}])
async def test_the_list_of_checks_is_for_whoever_is_signed_in(site: Site, headers: dict[str, str]) -> None:
    for path in ("/readyz?verbose", "/syncz?verbose"):
        answer = await site.http.get(path, headers=headers)
        assert set(answer.json()) == {"status"}, "the answer itself stays, so that a probe isn't wrong"


async def test_a_status_is_read_although_the_source_is_away(pool: Pool, nowhere: Pool) -> None:
    async with CreditLedger(pool) as ledger:
        for source, is_asked in ((nowhere, False), (pool, True)):
            connections = Connections(source, pool, ledger, cast("Any", None), b"")
            status_ = await StatusFeed.of(connections, Settings(_env_file=None)).now()
            assert (status_.slot is not None) is is_asked
            assert status_.credits.limit == 50_250


async def test_status_is_what_the_command_prints(serve: Serve) -> None:
    now = status(pauses=[pause()])
    async with serve(feed(now)) as site:
        answer = await site.http.get("/api/status", headers=SIGNED_IN)
        assert answer.json() == now.as_json()


async def test_the_apps_administration_sees_credits_queue_and_log(real: Site, database: Database) -> None:
    database.execute(
        "insert into cdc.zoho_sync_log (user_id, sync_type, action, status, record_id, reason, error_message, attempts)"
        " values ('u1', 'contacts', 'update', 'failed', 'u1', 'INVALID_VALUE', 'discarded: PRIVATE words', 3),"
        " (null, 'contacts', 'approve', 'success', '*', null, null, 0)"
    )
    database.execute("insert into cdc.credit_usage (bucket, kind, calls, credits) values (now(), 'upsert', 2, 7)")
    database.execute(
        "insert into cdc.outbox (feed, key, lane, generation, dirty_at, due_at)"
        " values ('contacts', 'k', 'live', 1, now(), now())"
    )

    answer = await real.http.get("/api/admin/zoho/sync-status", headers=SIGNED_IN)

    told = answer.json()
    assert told["credits"] == {"used_24h": 7, "limit_24h": 50_250, "by_kind": {"upsert": 7}}
    assert told["queue_depth"] == 1
    assert told["queue"] == [{"feed": "contacts", "lane": "live", "depth": 1, "parked": 0}]
    [line] = told["recent"]
    assert (line["key"], line["action"], line["status"], line["reason"], line["attempts"]) == (
        "u1", "update", "failed", "INVALID_VALUE", 3,
    )  # fmt: skip
    assert "PRIVATE" not in answer.text


async def test_how_things_stand_is_for_whoever_may_look(real: Site) -> None:
    for path in ("/api/status", "/api/admin/zoho/sync-status"):
        assert (await real.http.get(path)).status_code == 401
        assert (await real.http.post(path)).status_code == 405
        assert (await real.http.get(path, headers={"authorization": f"Bearer {OPERATOR}"})).status_code == 200


def test_a_check_is_written_as_kubernetes_does() -> None:
    assert [str(Check("x", is_ok=ok)) for ok in (True, False)] == ["[+]x ok", "[-]x failed"]
