"""A day of optio-cdc as a database shows it: made-up people, some failures, something held. The same in every run.

For the dashboard's tests and for the pictures in the documentation.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import SecretStr

from cdc.routing.feeds import load_profile
from cdc.runtime.plans import Daily, Every
from cdc.settings import Settings
from cdc.state.database import Pool, open_pool
from cdc.watch.status import Status, read_status
from cdc.web.access import Access
from cdc.web.dashboard.dashboard import Dashboard
from cdc.web.dashboard.ground import Ground
from cdc.web.server import receiving
from cdc.web.sharing import StatusFeed
from sinks.base import FieldValue, Held, Readable
from sinks.errors import SinkError
from tests.support.postgres import Database

SLOT: Final = "optio_cdc_shown"
"""A name of its own: slots belong to the whole server, which other tests use too."""
OPERATOR, VIEWER = "operator-token-of-a-test", "viewer-token-of-a-test"
LEDGER_KEY: Final = b"k" * 32
_KEY: Final = "bm90IGEgcmVhbCBrZXksIG9ubHkgb25lIGZvciB0ZXM="
_LIMIT: Final = 50_250
_FAILURES: Final = (
    ("contacts", "PICKLIST_VALUE_UNKNOWN", "INVALID_DATA User_Type", 9),
    ("contacts", "FIELD_TOO_LONG", "INVALID_DATA Last_Name", 3),
    ("quest_completions", "FIELD_NOT_IN_CRM", "INVALID_DATA Quest_Title", 2),
    ("badges_earned", "DUPLICATE_IN_CRM", "DUPLICATE_DATA Event_ID", 1),
)


@dataclass(frozen=True, slots=True)
class Reader:
    """Holds what a test says, or fails as it says."""

    fields: Mapping[str, FieldValue]
    error: SinkError | None = None

    async def read(self, record_id: str, crm_id: str | None, columns: Sequence[str]) -> Held | None:
        if self.error is not None:
            raise self.error
        return Held(crm_id=crm_id or "6100000000000042", fields={name: self.fields.get(name) for name in columns})

    def same(self, column: str, ours: FieldValue, theirs: object) -> bool:
        return ours == theirs


@asynccontextmanager
async def served(
    database: Database,
    *,
    readers: Mapping[str, Readable] | None = None,
    port: int = 0,
    fresh_seconds: float = 0,
    slot: str = SLOT,
) -> AsyncIterator[str]:
    """Serve the dashboard over a database, as `cdc run` does; gives the address."""
    settings = Settings(
        _env_file=None, cdc_http_port=port, cdc_dashboard_tokens=SecretStr(f"ada:{OPERATOR}"),
        cdc_dashboard_view_tokens=SecretStr(f"vera:{VIEWER}"),
    )  # type: ignore[call-arg]  # fmt: skip
    profile = load_profile("core")
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(database.dsn, purpose="test", size=8))
        status = feed(pool, fresh_seconds, slot)
        ground = Ground(
            status=status, source=pool, state=pool, profile=profile, slot=slot, hash_key=LEDGER_KEY,
            readers=readers or {}, plans={"reconcile": Daily((time(3),)), "volume": Every(30)},
        )  # fmt: skip
        dashboard = Dashboard(ground)
        stack.push_async_callback(dashboard.close)
        access = Access.configured(settings, _KEY)
        url = await stack.enter_async_context(
            receiving(settings, profile, pool, status=status, access=access, routes=dashboard.routes())
        )
        assert url is not None
        yield url


def feed(pool: Pool, fresh_seconds: float = 0, slot: str = SLOT) -> StatusFeed:
    """What the pages share; read anew for each request, so that a test sees what it did."""

    async def read() -> Status:
        async with pool.connection() as source, pool.connection() as state:
            return await read_status(source, state, slot, credit_limit=_LIMIT)

    return StatusFeed(read, fresh_seconds=fresh_seconds)


def a_day(database: Database, slot: str = SLOT) -> None:
    """Fill a database with the profile, its people, and a day's traces of delivering them."""
    database.apply_profile("core", sample=True)
    database.apply_state()
    chance, now = random.Random(7), datetime.now(UTC)
    people = [str(row[0]) for row in database.execute("select user_id from cdc.contacts order by user_id")]
    _place(database, now, slot)
    _deliver(database, people, chance, now)
    _park(database, people, chance, now)
    _spend(database, chance, now)
    _sample(database, now, slot)
    _reconcile(database, now, slot)
    for actor, action, subject, count, because, minutes in (
        ("cli:ops@cdc-1", "failures.retry", "reason TIMEOUT_UNKNOWN_OUTCOME", 12, "", 212),
        ("web:ada", "held.approve", "feed contacts, kind rewrite", 140, "new picklist, agreed with sales", 131),
        ("web:ada", "person.reveal", f"feed contacts, key {people[3]}", 1, "", 44),
    ):
        database.execute(
            "insert into cdc.audit (at, actor, action, subject, count, because) values (%s, %s, %s, %s, %s, %s)",
            [now - timedelta(minutes=minutes), actor, action, subject, count, because],
        )


_SAVE: Final = """
create schema saved;
create table saved.outbox as table cdc.outbox;
create table saved.audit as table cdc.audit;
create table saved.log as table cdc.zoho_sync_log;
"""
_RESTORE: Final = """
truncate cdc.outbox, cdc.audit, cdc.zoho_sync_log, cdc.pause, cdc.alert_rule;
update cdc.alert set acked_at = null, acked_by = null;
insert into cdc.outbox table saved.outbox;
insert into cdc.audit overriding system value table saved.audit;
insert into cdc.zoho_sync_log table saved.log;
"""


def save(database: Database) -> None:
    """Keep what people's actions change, for `restore`: much quicker than making the day anew."""
    database.execute(_SAVE)


def restore(database: Database) -> None:
    """Let the day be as it was."""
    database.execute(_RESTORE)


def _place(database: Database, now: datetime, slot: str) -> None:
    """A slot that is really there, a position at its end, and processes that were heard of just now."""
    database.execute(f"select pg_create_logical_replication_slot('{slot}', 'pgoutput')")
    database.execute(
        "insert into cdc.position (slot, system_id, timeline, lsn, committed_at, swept_at)"
        " values (%s, '1', 1, pg_current_wal_lsn(), now(), %s)",
        [slot, now - timedelta(hours=9)],
    )
    for host, pid, role, hours in (("cdc-1", 412, "capture", 31), ("cdc-2", 97, "delivery", 7)):
        database.execute(
            "insert into cdc.worker (id, host, pid, role, started_at, seen_at) values (%s, %s, %s, %s, %s, %s)",
            [f"{host}-{pid}", host, pid, role, now - timedelta(hours=hours), now + timedelta(minutes=10)],
        )
    database.execute(
        "insert into cdc.zoho_tokens (id, refresh_token, expires_at, minted_at) values ('zoho', 'sealed', %s, %s)",
        [now + timedelta(minutes=37), [now - timedelta(minutes=3)]],
    )


def _reconcile(database: Database, now: datetime, slot: str) -> None:
    began = now.replace(hour=3, minute=0, second=0) - timedelta(days=now.hour < 4)
    database.execute(
        "insert into cdc.reconcile_run (slot, kind, requested_by, started_at, ended_at, verdict, complete, compared,"
        " differing, fixed, remaining, counts, crm_counts, credits_before, credits_planned, credits_used, mapping)"
        " values (%s, 'fix', 'schedule', %s, %s, 'fixed', true, 782, 8, 7, 0,"
        ' \'{"contacts": {"missing": 3, "stale": 4, "orphan": 1}}\', \'{"contacts": 253}\', 48000, 5, 5, \'m\')',
        [slot, began, began + timedelta(seconds=19)],
    )

    for name, due in (("reconcile", began), ("volume", now - timedelta(minutes=12))):
        database.execute(
            "insert into cdc.job_run (name, due_at, actor, started_at, leased_until, ended_at, outcome)"
            " values (%s, %s, 'cdc-1-412', %s, %s, %s, 'done')",
            [name, due, due, due, due + timedelta(seconds=19)],
        )

    database.execute(
        "insert into cdc.alert (pipeline, name, severity, value, opened_at) values (%s, 'CdcHeld', 'warning', 6, %s)",
        [slot, now - timedelta(minutes=26)],
    )


def _deliver(database: Database, people: list[str], chance: random.Random, now: datetime) -> None:
    lines = []
    for minutes in range(24 * 60):
        at = now - timedelta(minutes=minutes)
        busy = 0.5 + 0.5 * math.sin((at.hour + at.minute / 60 - 9) / 24 * 2 * math.pi)
        for _ in range(round(chance.random() * 7 * busy)):
            feed_name = chance.choices(("contacts", "quest_completions", "badges_earned"), (6, 3, 1))[0]
            latency = round(min(9_000, chance.lognormvariate(6.2, 0.5)))
            stamp = at - timedelta(seconds=chance.random() * 59)
            lines.append(
                (chance.choice(people), feed_name, "update", "success", latency, None, None, 0, stamp),
            )
        if chance.random() < 0.01 + 0.1 * (200 < minutes < 300):
            lines.append(
                (chance.choice(people), "contacts", "update", "failed", None, "PICKLIST_VALUE_UNKNOWN",
                 "INVALID_DATA User_Type", 1, at)
            )  # fmt: skip
    with database.connect() as conn, conn.cursor() as cursor:
        cursor.executemany(
            "insert into cdc.zoho_sync_log (record_id, sync_type, action, status, latency_ms, reason, error_message,"
            " attempts, created_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            lines,
        )
    database.execute(
        "insert into cdc.ledger (feed, record_id, key, state, crm_id, delivered_at)"
        " select 'contacts', user_id::text, user_id::text, 'sent', '61' || row_number() over (order by user_id),"
        " now() from cdc.contacts offset 15"
    )
    for feed_name, count in (("quest_completions", 418), ("badges_earned", 96)):
        database.execute(
            "insert into cdc.ledger (feed, record_id, key, state, crm_id) select %s, gen_random_uuid()::text, 'k' || n,"
            " 'sent', '62' || n from generate_series(1, %s) n",
            [feed_name, count],
        )


def _park(database: Database, people: list[str], chance: random.Random, now: datetime) -> None:
    rows: list[tuple[Any, ...]] = []
    names = iter(people)
    for feed_name, reason, detail, count in _FAILURES:
        for _ in range(count):
            key = next(names) if feed_name == "contacts" else str(UUID(int=chance.getrandbits(128), version=4))
            parked = now - timedelta(minutes=chance.random() * 300)
            rows.append((feed_name, key, "live", parked, parked - timedelta(seconds=2), reason, detail, parked, 1))
    for _ in range(6):
        held = now - timedelta(minutes=26)
        rows.append(("contacts", next(names), "bulk", held, held, "HELD_BY_BREAKER", "rewrite: Level", held, 0))
    for n in range(31):
        at = now - timedelta(seconds=2 + n * 0.4)
        lane = "live" if n < 11 else "rollup"
        rows.append(
            ("contacts", next(names), lane, at if n < 11 else now + timedelta(minutes=4), at, None, None, None, 0)
        )
    with database.connect() as conn, conn.cursor() as cursor:
        cursor.executemany(
            "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, reason, detail, parked_at, attempts, first_lsn,"
            " last_lsn, cause) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, '0/1A2B3C8', '0/1A2B3C8', 'sweep')",
            rows,
        )


def _spend(database: Database, chance: random.Random, now: datetime) -> None:
    quarter = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
    for n in range(96):
        for kind, calls, price in (("upsert", 14, 1), ("update", 22, 1), ("coql", 1, 3)):
            made = round(calls * chance.random() * (1 + math.sin(n / 15)))
            if made:
                database.execute(
                    "insert into cdc.credit_usage values (%s, %s, %s, %s)",
                    [quarter - timedelta(minutes=15 * n), kind, made, made * price],
                )


def _sample(database: Database, now: datetime, slot: str) -> None:
    for n in range(144):
        held = (18 + 9 * math.sin(n / 5) + (n % 12) * 1.5 + (60 if 30 < n < 36 else 0)) * 1024 * 1024
        database.execute(
            "insert into cdc.slot_sample (slot, at, end_lsn, safe_wal_bytes, retained_wal_bytes)"
            " values (%s, %s, pg_current_wal_lsn(), null, %s)",
            [slot, now - timedelta(minutes=10 * n + 1), round(held)],
        )
