"""Each check of the source is made to fail; the finding names the fix, and the fix, carried out, makes it pass."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.runtime.doctor import examination
from cdc.runtime.doctor.finding import Level
from cdc.runtime.doctor.table import CHECKS
from cdc.settings import load_settings
from cdc.watch import holders
from tests.integration.runtime.doctor.conftest import SHOP, Patient
from tests.support.capture import SCHEMA, write_profile
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import Database, fresh_database


@dataclass(frozen=True)
class Case:
    """One way to break the source.

    Attributes:
        misdeed: SQL; `{name}` is the database's, and the slot's, the publication's and the role's.
        words: that the finding must say.
        fix: what the fix must say.
        as_role: the doctor comes as a role that owns nothing.
    """

    check: str
    misdeed: str
    words: str
    fix: str
    level: Level = Level.PROBLEM
    as_role: bool = False


CASES = (
    Case("source.role", "alter role {name} noreplication", "lacks the REPLICATION", "ALTER ROLE", as_role=True),
    Case("source.tables", "revoke select on items from {name}", "may not read public.items", "GRANT SELECT",
         as_role=True),
    Case("source.rls", "alter table people enable row level security; alter role {name} nobypassrls",
         "hides rows of people", "BYPASSRLS", as_role=True),
    Case("source.session", "alter role {name} in database {name} set idle_session_timeout = 60000",
         "idle_session_timeout of role {name} is 60000", 'SET "idle_session_timeout" = 0', Level.WARNING, as_role=True),
    Case("source.session", "alter database {name} set lock_timeout = 100", "lock_timeout", 'SET "lock_timeout" = 0',
         Level.WARNING, as_role=True),
    Case("source.session", "alter role {name} set default_transaction_read_only = on", "are read-only", "= off",
         as_role=True),
    Case("source.views", "revoke select on cdc.items from {name}", "cdc.items may not be read", "GRANT SELECT",
         as_role=True),
    Case("source.views", "drop view cdc.items", "view cdc.items does not exist", "cdc setup"),
    Case("source.views", "comment on view cdc.people is 'another'", "another text", "cdc setup", Level.WARNING),
    Case("source.identity", "alter table visits replica identity default", "lack keys: public.visits (owner)",
         "cdc setup"),
    Case("source.publication", "drop publication doctor", "doesn't exist", "cdc setup"),
    Case("source.publication", "alter publication doctor drop table people", "people isn't published", "cdc setup"),
    Case("source.publication", "alter publication doctor add table noise", "more than is watched: public.noise",
         "cdc setup", Level.WARNING),
    Case("source.publication", "alter publication doctor set table people, items, visits", "all columns of",
         "cdc setup", Level.WARNING),
    Case("source.slot", "select pg_drop_replication_slot('{name}')", "doesn't exist yet", "cdc setup"),
    Case("source.other-slots", "select pg_create_logical_replication_slot('{name}_old', 'pgoutput');"
         " select pg_logical_emit_message(false, 'x', repeat('x', 1000000)) from generate_series(1, 70)",
         "slot {name}_old keeps", "pg_drop_replication_slot('{name}_old')", Level.WARNING),
)  # fmt: skip


@pytest.mark.parametrize("as_role", [True, False], ids=["a role with just its rights", "the owner"])
async def test_what_is_broken_is_named_and_mended_by_its_fix(as_role: bool, patient: Patient) -> None:
    name = patient.as_role() if as_role else patient.database.name
    for case in (case for case in CASES if case.as_role is as_role):
        assert await patient.is_well(case.check), case
        patient.database.execute(case.misdeed.format(name=name))

        found = await patient.see(case.check)

        assert {f.level for f in found} == {case.level}, (case, found)
        assert case.words.format(name=name) in " ".join(f.what for f in found)
        assert all(f.why for f in found)
        assert case.fix.format(name=name) in found[0].fix
        for finding in found:
            await patient.mend(finding.fix)
        assert await patient.is_well(case.check), (case, await patient.see(case.check))


async def test_before_set_up_everything_that_is_missing_names_set_up(bare: Patient) -> None:
    missing = {"source.identity", "source.publication", "source.views", "source.slot", "state.migrations"}
    found = await bare.findings()
    assert {f.check for f in found if f.level is Level.PROBLEM} == missing
    assert {f.fix for f in found if f.level is Level.PROBLEM} == {"cdc setup"}
    await bare.mend("cdc setup")
    found = await bare.findings()
    assert [f for f in found if f.level is Level.PROBLEM] == []
    # Only that nobody runs it yet.
    assert {(f.check, f.fix) for f in found if f.needs_a_person} == {("state.capture", "cdc run")}


async def test_a_role_that_may_not_make_the_schema_is_told_who_must(bare: Patient) -> None:
    bare.database.execute("create schema cdc")
    name = bare.as_role()
    bare.database.execute(f"drop schema cdc; revoke create on database {name} from {name}")
    [found] = await bare.see("source.schema")
    assert found.level is Level.PROBLEM
    await bare.mend(found.fix.removeprefix("as the database owner: "))
    assert [f.level for f in await bare.see("source.schema")] == [Level.OK]


async def test_a_transaction_that_is_open_for_long_is_named_by_its_process(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "_WORTH_NAMING_SECONDS", 0)
    patient.examined["patience"] = 0.0
    with closing(patient.database.connect(application_name="a forgotten console")) as forgotten:
        forgotten.execute("begin")
        forgotten.execute("insert into people (id) values ('p')")
        [found] = await patient.see("source.transactions")
        assert found.level is Level.WARNING
        assert f"pid {forgotten.info.backend_pid}, a forgotten console" in found.what
        await patient.mend(found.fix)
        while (seen := await patient.see("source.transactions"))[0].level is not Level.OK:  # it takes a moment to end
            assert str(forgotten.info.backend_pid) in seen[0].what
            await asyncio.sleep(0.02)


async def test_a_clock_that_is_wrong_is_named(patient: Patient) -> None:
    patient.examined["clock"] = lambda: datetime.now(UTC) + timedelta(seconds=90)
    [found] = await patient.see("source.clock")
    assert found.level is Level.WARNING
    assert "the clock of the database is 90 s behind" in found.what
    assert "set-ntp" in found.fix


async def test_nothing_behind_a_broken_link_is_called_broken(patient: Patient) -> None:
    patient.set(DATABASE_URL=make_conninfo(patient.database.dsn, dbname="nowhere"))
    found = await patient.findings()
    assert [f.check for f in found if f.level is Level.PROBLEM] == ["source.reachable", "state.reachable"]
    assert "there is no database nowhere" in next(f.what for f in found if f.check == "source.reachable")
    behind = [
        f for f in found if f.check.startswith("source.") and f.check not in {"source.address", "source.reachable"}
    ]
    assert {f.what for f in behind} == {"not looked at: source.reachable failed"}
    assert {f.check for f in found} == {c.id for c in CHECKS if not c.on_request}
    assert all(f.level is Level.OK for f in found if f.check.startswith("runtime."))


@pytest.mark.parametrize("port", [6543])
async def test_the_transaction_pooler_is_refused_before_anybody_is_called(patient: Patient, port: int) -> None:
    patient.set(DATABASE_URL=f"postgresql://postgres:x@aws-0-eu-west-1.pooler.supabase.com:{port}/postgres")
    [found] = await patient.see("source.address")
    assert "transaction mode" in found.what
    assert "pooler.supabase.com:5432" in found.fix


async def test_a_host_without_an_address_is_named(patient: Patient) -> None:
    patient.set(DATABASE_URL="postgresql://postgres:x@db.nobody.invalid:5432/postgres")
    [found] = await patient.see("source.address")
    assert found.what == "db.nobody.invalid has no address"


async def test_a_pooler_of_ones_own_that_shares_sessions_is_found_out(patient: Patient) -> None:
    with pgbouncer(patient.database.dsn, pool_mode="transaction", default_pool_size=2) as pooler:
        patient.set(DATABASE_URL=pooler.dsn)
        [found] = await patient.see("source.sessions")
        assert found.level is Level.PROBLEM
        assert "transaction mode" in found.what
    with pgbouncer(patient.database.dsn, pool_mode="session", ignore_startup_parameters="replication") as pooler:
        patient.set(DATABASE_URL=pooler.dsn, CDC_TRANSPORT="stream")
        assert await patient.is_well("source.sessions")
        [found] = await patient.see("source.transport")
        if pooler.version >= (1, 23):  # it passes replication connections on
            assert found.level is Level.OK
            return
        assert found.level is Level.PROBLEM
        await patient.mend(found.fix)
        [found] = await patient.see("source.transport")
        assert found.level is Level.OK
        assert found.what.startswith("poll")


async def test_a_connection_that_nobody_verifies_is_said(patient: Patient) -> None:
    assert await patient.is_well("source.tls")  # a socket of this machine
    with pgbouncer(patient.database.dsn, pool_mode="session", listen_addr="127.0.0.1,127.0.0.2") as pooler:
        patient.set(DATABASE_URL=make_conninfo(pooler.dsn, host="127.0.0.2"))
        [found] = await patient.see("source.tls")
    assert found.level is Level.WARNING
    assert found.what.startswith("not encrypted, and sslmode=prefer")
    assert "sslmode=verify-full" in found.fix


@asynccontextmanager
async def own_server(patient: Patient, tmp_path: Path, **options: str) -> AsyncIterator[tuple[Any, Database]]:
    """A server of its own, whose settings may be ruined."""
    with EmbeddedPostgres.start(settings=options, listen_tcp=True) as server, fresh_database(server.dsn) as database:
        database.execute(SCHEMA)
        write_profile(tmp_path / "shop", SHOP)
        patient.set(DATABASE_URL=database.dsn)
        yield server, database


async def test_a_server_that_must_be_set_otherwise(bare: Patient, tmp_path: Path) -> None:
    """wal_level, slots and room for WAL, on one server, since it takes a second to make."""
    async with own_server(bare, tmp_path, max_replication_slots="1", max_slot_wal_keep_size="64MB") as (
        server,
        database,
    ):
        patient = Patient(database, bare.environment, bare.examined)

        def restart() -> None:
            server.halt()
            server.resume()

        options = dict(server._options)
        server._options = {**options, "wal_level": "replica"}
        restart()
        [found] = await patient.see("source.wal-level")
        assert "wal_level is replica" in found.what
        await patient.mend(found.fix)
        server._options = {k: v for k, v in options.items() if k != "wal_level"}  # the file decides
        restart()
        assert await patient.is_well("source.wal-level")

        database.execute("select pg_create_physical_replication_slot('forgotten')")
        [found] = await patient.see("source.slots")
        assert found.what == "all 1 replication slots are taken"
        await patient.mend(found.fix)
        assert await patient.is_well("source.slots")

        await patient.mend("cdc setup")
        assert await patient.is_well("source.slot-room")
        database.execute("select pg_logical_emit_message(false, 'x', repeat('x', 1000000)) from generate_series(1, 60)")
        [found] = await patient.see("source.slot-room")
        assert found.level is Level.PROBLEM
        assert "of what it may (64.0 MB)" in found.what
        server._options = {k: v for k, v in server._options.items() if k != "max_slot_wal_keep_size"}
        restart()  # given on the command line, it couldn't be changed
        database.execute("alter system set max_slot_wal_keep_size = '64MB'")
        database.execute("select pg_reload_conf()")
        [found] = await patient.see("source.slot-room")
        assert found.level is Level.PROBLEM
        await patient.mend(found.fix)
        assert await patient.is_well("source.slot-room")


async def test_a_server_that_does_not_answer_is_waited_for_once(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc.connection.CONNECT_SECONDS", 1)
    with socket.socket() as deaf:  # the kernel takes the connection, and nobody reads from it
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(8)
        patient.set(DATABASE_URL=f"postgresql://app:x@127.0.0.1:{deaf.getsockname()[1]}/app?connect_timeout=1")
        asked: list[str] = []
        real = examination.connect

        async def counted(dsn: str, **options: Any) -> Any:
            asked.append(dsn)
            return await real(dsn, **options)

        monkeypatch.setattr(examination, "connect", counted)
        found = await patient.findings()
    assert [f.check for f in found if f.level is Level.PROBLEM] == ["source.reachable", "state.reachable"]
    assert len(asked) == 1


async def test_its_sessions_can_change_nothing_and_wait_for_nobody(patient: Patient) -> None:
    async with examination.examining(examination.Examination(load_settings())) as exam:
        source = await exam.open_source()
        assert await exam.open_state() is source
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await source.execute("insert into people (id) values ('p')")
        with patient.database.connect() as owner, owner.transaction():
            owner.execute("lock table people in access exclusive mode")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await source.execute("select from people")
    assert patient.database.execute("select count(*) from people") == [(0,)]
