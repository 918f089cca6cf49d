"""Each check of our own tables is made to fail; the fix that it names makes it pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cdc.lsn import Lsn
from cdc.routing.feeds import load_profile
from cdc.runtime.doctor.finding import Level
from cdc.runtime.housekeeping import keep_house
from cdc.settings import load_settings
from cdc.source.capture import Capture
from cdc.state.database import open_pool
from cdc.state.envelope import Keyring
from cdc.state.secrets import keep_hash_key
from cdc.state.tokens import StoredTokens
from sinks.tokens import TokenRecord
from tests.integration.runtime.doctor.conftest import PUBLICATION, Patient
from tests.support.capture import Source
from tests.support.waiting import until

OTHER_KEY = "bm90IGEgcmVhbCBrZXksIG9ubHkgb25lIGZvciB0ZXM="


@dataclass(frozen=True)
class Case:
    """One way to break the state. `{name}` is the database's and the slot's."""

    check: str
    misdeed: str
    words: str
    fix: str
    level: Level = Level.WARNING


PARKED = (
    "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, parked_at, reason)"
    " values ('people', 'p', 'live', now(), now(), now(), '{reason}')"
)
CASES = (
    Case("state.migrations", "drop table cdc.doorbell; drop table if exists cdc.realtime_canary;"
         " delete from cdc.migration where version = 6", "missing migrations: 0006", "cdc setup", Level.PROBLEM),
    Case("state.parked", PARKED.format(reason="FIELD_TOO_LONG"), "1 parked in people: FIELD_TOO_LONG",
         "cdc failures retry --feed people --reason FIELD_TOO_LONG"),
    Case("state.held", PARKED.format(reason="HELD_BY_BREAKER"), "the breaker holds 1 of people",
         "cdc held approve people"),
    Case("state.pauses", "insert into cdc.pause values ('people', 'infinity', 'ada')",
         "people is paused by ada until it is resumed: BY_HAND", "cdc resume people"),
    Case("state.pauses", "insert into cdc.pause values ('bulk lane', 'infinity', 'ada')", "bulk lane is paused",
         "cdc backfill resume"),
    Case("state.workers", PARKED.replace("parked_at, reason", "reason").replace("now(), now(), now()", "now(), now()"),
         "nobody delivers, and 1 keys wait", "cdc run"),
    Case("state.tables", "alter table cdc.credit_usage set (autovacuum_enabled = false);"
         " insert into cdc.credit_usage select now() - n * interval '1 s', 'x' from generate_series(1, 60000) n;"
         " delete from cdc.credit_usage; select pg_stat_force_next_flush()",
         "cdc.credit_usage holds mostly dead rows", "VACUUM (ANALYZE) cdc.credit_usage"),
)  # fmt: skip


async def test_what_is_broken_is_named_and_mended_by_its_fix(patient: Patient) -> None:
    for case in CASES:
        patient.database.execute("delete from cdc.outbox; delete from cdc.worker")
        assert await patient.is_well(case.check), case
        patient.database.execute(case.misdeed)

        [found] = await patient.see(case.check)

        assert (found.level, bool(found.why)) == (case.level, True), (case, found)
        assert case.words in found.what
        assert case.fix in found.fix
        if case.check == "state.workers":  # what `cdc run` does first of all
            patient.database.execute("insert into cdc.worker (id, host, pid, role) values ('w', 'h', 1, 'capture')")
        else:
            await patient.mend(found.fix)
        assert await patient.is_well(case.check), (case, await patient.see(case.check))


async def test_a_program_that_is_older_than_its_tables_is_named(patient: Patient) -> None:
    patient.database.execute("insert into cdc.migration (version, name) values (9999, 'later')")
    [found] = await patient.see("state.migrations")
    assert "migration 9999, which this program doesn't know" in found.what
    assert found.fix == "upgrade optio-cdc on this machine"


async def seal(patient: Patient, **changes: str) -> None:
    """Store tokens, as a running pipeline does."""
    settings = load_settings()
    assert settings.cdc_encryption_key is not None
    keyring = Keyring.parse(settings.cdc_encryption_key.get_secret_value())
    async with (
        open_pool(patient.database.dsn, purpose="test", size=1) as pool,
        StoredTokens(pool, keyring).locked() as slot,
    ):
        await slot.save(TokenRecord(**{"refresh_token": "1000.refresh", **changes}))


async def test_another_key_than_the_stored_tokens_are_sealed_with(patient: Patient) -> None:
    await seal(patient)
    assert await patient.is_well("state.key")
    patient.set(OLD_KEY=load_settings().cdc_encryption_key.get_secret_value(), CDC_ENCRYPTION_KEY=OTHER_KEY)
    [found] = await patient.see("state.key")
    assert found.level is Level.PROBLEM
    assert "is encrypted with key" in found.what
    with_the_old_key, without_it = found.fix.splitlines()
    await patient.mend(with_the_old_key)
    assert await patient.is_well("state.key")
    patient.set(CDC_ENCRYPTION_KEY=OTHER_KEY)
    await patient.mend(without_it)
    assert await patient.is_well("state.key")


async def test_the_ledger_s_key_is_looked_at_as_well(patient: Patient) -> None:
    keyring = Keyring.parse(OTHER_KEY)
    async with open_pool(patient.database.dsn, purpose="test", size=1) as pool, pool.connection() as conn:
        await keep_hash_key(conn, keyring)
    [found] = await patient.see("state.key")
    assert f"cdc.secret.sealed of row ledger is encrypted with key {keyring.ids[0]}" in found.what
    await patient.mend(found.fix.splitlines()[1])
    assert await patient.is_well("state.key")


@asynccontextmanager
async def capturing(patient: Patient) -> AsyncIterator[Capture]:
    """Capture, as `cdc run` does."""
    profile = load_profile(load_settings().cdc_profile)
    source = Source(patient.database, profile, patient.database.name)
    async with source.capturing("stream", publication=PUBLICATION) as capture:
        await until(lambda: capture.stats.state == "capturing", what="it captures")
        yield capture


async def test_nobody_captures_then_one_does_and_is_not_disturbed(patient: Patient) -> None:
    [found] = await patient.see("state.capture")
    assert (found.level, found.fix) == (Level.WARNING, "cdc run")
    async with capturing(patient) as capture:
        patient.database.execute(
            "insert into cdc.worker (id, host, pid, role) values ('a', 'one', 1, 'capture'), ('b', 'two', 2, 'capture')"
        )
        [found] = await patient.see("state.capture")
        assert found.level is Level.OK
        assert found.what == "one process captures, and 1 stand by: one 1, two 2"
        before = (capture.stats.state, patient.database.execute("select * from cdc.control"))
        everything = await patient.findings()
        assert [f for f in everything if f.level is Level.PROBLEM] == []
        assert (capture.stats.state, patient.database.execute("select * from cdc.control")) == before
        locks = "select count(*) from pg_stat_activity where application_name like 'cdc doctor%'"

        assert patient.database.execute(locks) == [(0,)]
    assert [f.level for f in await patient.see("state.capture")] == [Level.WARNING]


async def test_a_slot_that_is_gone_is_made_anew_by_the_next_run(patient: Patient) -> None:
    async with capturing(patient):
        pass
    assert await patient.is_well("state.journal")
    patient.database.execute("select pg_drop_replication_slot(%s)", [patient.database.name])
    [found] = await patient.see("source.slot")
    assert (found.level, found.fix.partition("  #")[0]) == (Level.PROBLEM, "cdc run")
    assert found.what.endswith("is gone")
    async with capturing(patient):
        assert await patient.is_well("source.slot")
        [gap] = await patient.see("state.gaps")
        assert (gap.level, gap.fix.partition("  #")[0]) == (Level.WARNING, "cdc run")
    await patient.command("sweep")
    patient.database.execute("update cdc.gap set repaired_at = coalesce(repaired_at, now())")  # as the run's sweep does
    assert await patient.is_well("state.gaps")


async def test_another_cluster_than_the_position_s_is_named(patient: Patient) -> None:
    async with capturing(patient):
        pass
    assert await patient.is_well("state.footing")
    patient.database.execute("update cdc.position set system_id = '1'")
    [found] = await patient.see("state.footing")
    assert found.level is Level.PROBLEM
    assert found.fix.startswith("cdc slot repair")


async def test_a_change_that_waits_for_long_is_named(patient: Patient) -> None:
    patient.database.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at)"
        " values ('people', 'p', 'live', now(), now() - interval '1 hour')"
    )
    [found] = await patient.see("state.outbox")
    assert (found.level, found.what) == (Level.WARNING, "1 keys wait, the oldest for 60 min")
    patient.database.execute("delete from cdc.outbox")  # a worker has delivered it
    assert await patient.is_well("state.outbox")


async def test_old_samples_are_removed_by_a_run(patient: Patient) -> None:
    patient.database.execute(
        "insert into cdc.slot_sample (slot, at, end_lsn) values ('s', now() - interval '27 hours', %s::pg_lsn)",
        [str(Lsn(1))],
    )
    [found] = await patient.see("state.housekeeping")
    assert (found.level, found.what) == (Level.OK, "it goes on with the next `cdc run`")
    async with capturing(patient):
        [found] = await patient.see("state.housekeeping")
        assert found.level is Level.WARNING
        assert found.fix.startswith("cdc run")
        async with open_pool(patient.database.dsn, purpose="test", size=1) as pool:
            await keep_house(pool, load_settings())  # a job of every run
        assert [f.level for f in await patient.see("state.housekeeping")] == [Level.OK]


async def test_sessions_of_another_state_database_are_looked_at_too(patient: Patient) -> None:
    [found] = await patient.see("state.session")
    assert found.what == "the same database as the source"
    patient.set(CDC_STATE_DSN=f"{patient.database.dsn} options='-c idle_session_timeout=60000'")
    [found] = await patient.see("state.session")
    assert found.level is Level.WARNING
    assert "idle_session_timeout" in found.what
    patient.set(CDC_STATE_DSN=f"{patient.database.dsn} port=1")
    [found] = [f for f in await patient.findings("state.parked") if f.check == "state.reachable"]
    assert found.level is Level.PROBLEM
