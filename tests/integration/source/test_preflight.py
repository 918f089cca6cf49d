"""Preflight: one clear error with cause and fix, and nothing changed in the source."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.errors import CdcError, PreflightError, ProfileError, SourceUnavailable
from cdc.routing.feeds import Profile
from cdc.source.preflight import check_source
from cdc.source.views import plan_views
from tests.support.capture import SCHEMA, write_profile
from tests.support.postgres import Database, fresh_database
from tests.support.proxy import proxy

PASSWORD = "s3cr3t"


@pytest.fixture
def profile(database: Database, tmp_path: Path) -> Profile:
    database.execute(SCHEMA)
    return write_profile(tmp_path / "shop")


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    """A role that owns nothing, with all that capture needs; as its name, the database's."""
    name = sql.Identifier(database.name)
    with database.connect() as conn:
        conn.execute(sql.SQL("create role {} login replication bypassrls password {}").format(name, PASSWORD))
        conn.execute(sql.SQL("grant create on database {} to {}").format(name, name))
        conn.execute(sql.SQL("grant select on all tables in schema public to {}").format(name))
    yield database.name
    with database.connect() as conn:
        conn.execute(sql.SQL("drop owned by {0}; drop role {0}").format(name))


def objects(database: Database) -> list[tuple[Any, ...]]:
    """All that set-up could leave behind."""
    return database.execute(
        "select 'schema', nspname::text from pg_namespace where nspname = 'cdc' "
        "union all select 'publication', pubname from pg_publication "
        "union all select 'slot', slot_name from pg_replication_slots where database = current_database() "
        "union all select 'identity', relname from pg_class where relkind = 'r' and relreplident <> 'd' "
        "and relnamespace = 'public'::regnamespace "
        "union all select 'index', relname from pg_class where relname like 'cdc%'"
    )


@asynccontextmanager
async def refused(database: Database, kind: type[CdcError]) -> AsyncIterator[pytest.ExceptionInfo[CdcError]]:
    """The block ends with this error, which says what to do and no secret; nothing was made meanwhile."""
    before = objects(database)
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.fix
    assert PASSWORD not in str(caught.value)
    assert objects(database) == before


async def test_a_source_in_order_is_taken_as_a_stream(database: Database, profile: Profile) -> None:
    ready = await check_source(database.dsn, profile, slot=database.name, wanted="auto")
    assert (ready.transport, ready.why) == ("stream", "a replication connection works")
    assert ready.server_version >= 150_000
    assert objects(database) == []
    assert (await check_source(database.dsn, profile, slot=database.name, wanted="poll")).transport == "poll"


async def test_a_role_with_just_the_rights_it_needs_will_do(database: Database, profile: Profile, role: str) -> None:
    dsn = make_conninfo(database.dsn, user=role, password=PASSWORD)
    assert (await check_source(dsn, profile, slot=role, wanted="auto")).transport == "stream"


async def test_a_role_needs_no_right_to_make_views_that_are_there(
    database: Database, profile: Profile, role: str
) -> None:
    database.execute("create schema cdc")
    dsn = make_conninfo(database.dsn, user=role, password=PASSWORD)
    async with refused(database, PreflightError) as caught:
        await check_source(dsn, profile, slot=role, wanted="auto")
    assert "may not make the schema cdc" in caught.value.message
    async with await psycopg.AsyncConnection.connect(database.dsn, autocommit=True) as owner:
        script = await plan_views(owner, profile)
        assert script is not None
        await owner.execute(script.encode())
    database.execute(f"grant usage on schema cdc to {role}")
    await check_source(dsn, profile, slot=role, wanted="auto")


@pytest.mark.parametrize(
    ("misdeed", "cause"),
    [
        ("alter role {role} noreplication", "lacks the REPLICATION attribute"),
        ("revoke select on items from {role}", "may not read public.items"),
        ("alter table people enable row level security; alter role {role} nobypassrls", "hides rows of people"),
        ("revoke create on database {role} from {role}", "may not make the schema cdc"),
        ("alter role {role} nologin", "may not log in"),
    ],
)
async def test_a_right_that_is_missing_is_named(
    database: Database, profile: Profile, role: str, misdeed: str, cause: str
) -> None:
    database.execute(misdeed.format(role=role))
    async with refused(database, PreflightError) as caught:
        await check_source(make_conninfo(database.dsn, user=role, password=PASSWORD), profile, slot=role, wanted="auto")
    assert cause in caught.value.message
    assert caught.value.exit_code == 2


async def test_forced_row_security_hides_rows_from_the_owner_too(
    database: Database, profile: Profile, role: str
) -> None:
    database.execute(f"alter table people owner to {role}; alter table people enable row level security")
    database.execute(f"alter role {role} nobypassrls")
    dsn = make_conninfo(database.dsn, user=role, password=PASSWORD)
    await check_source(dsn, profile, slot=role, wanted="auto")
    database.execute("alter table people force row level security")
    async with refused(database, PreflightError) as caught:
        await check_source(dsn, profile, slot=role, wanted="auto")
    assert "BYPASSRLS" in str(caught.value)


@pytest.mark.parametrize(
    ("misdeed", "cause"),
    [
        ("drop table visits", "feed people: watches table public.visits, which doesn't exist"),
        ("alter table visits rename to v; create view visits as select * from v", "which doesn't exist"),
        ("alter table items rename column owner to keeper", "key column public.items.owner doesn't exist"),
    ],
)
async def test_a_profile_that_does_not_fit_is_named_with_file_and_feed(
    database: Database, profile: Profile, misdeed: str, cause: str
) -> None:
    database.execute(misdeed)
    with pytest.raises(ProfileError, match=cause) as caught:
        await check_source(database.dsn, profile, slot=database.name, wanted="auto")
    assert str(profile.feeds_file) in caught.value.message
    assert objects(database) == []


async def test_a_slot_of_another_plugin_is_not_touched(database: Database, profile: Profile) -> None:
    database.execute("select pg_create_logical_replication_slot(%s, 'test_decoding')", [database.name])
    async with refused(database, PreflightError) as caught:
        await check_source(database.dsn, profile, slot=database.name, wanted="auto")
    assert "exists already, for plugin test_decoding" in caught.value.message


async def test_a_slot_of_another_database_is_not_touched(
    database: Database, profile: Profile, postgres_dsn: str
) -> None:
    with fresh_database(postgres_dsn) as other:
        other.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [other.name])
        async with refused(database, PreflightError) as caught:
            await check_source(database.dsn, profile, slot=other.name, wanted="auto")
        assert f"in database {other.name}" in caught.value.message


async def test_a_missing_database_is_named(database: Database, profile: Profile) -> None:
    async with refused(database, PreflightError) as caught:
        await check_source(make_conninfo(database.dsn, dbname="nowhere"), profile, slot="s", wanted="auto")
    assert "there is no database nowhere" in caught.value.message


async def test_a_port_where_nobody_listens_is_worth_another_try(database: Database, profile: Profile) -> None:
    with socket.socket() as probe:  # bound and never listening
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        async with refused(database, SourceUnavailable) as caught:
            dsn = f"postgresql://app:{PASSWORD}@127.0.0.1:{port}/app"
            await check_source(dsn, profile, slot="s", wanted="auto")
    assert f"127.0.0.1:{port} can't be reached" in caught.value.message


@pytest.mark.parametrize("wanted", ["auto", "stream", "poll"])
async def test_the_transaction_pooler_is_refused_before_anybody_is_called(profile: Profile, wanted: Any) -> None:
    with pytest.raises(PreflightError, match="pooler in transaction mode"):
        await check_source(
            "postgresql://postgres:x@db.example.supabase.co:6543/postgres", profile, slot="s", wanted=wanted
        )


def as_session_pooler(dsn: str) -> str:
    """An address that is called as a session pooler's and leads to the given server."""
    return make_conninfo(dsn, host="aws-0-eu-west-1.pooler.supabase.com", hostaddr="127.0.0.1")


async def test_the_session_pooler_is_polled_and_never_streamed_from(database: Database, profile: Profile) -> None:
    async with proxy(database.dsn) as through:
        dsn = as_session_pooler(through.dsn)
        ready = await check_source(dsn, profile, slot=database.name, wanted="auto")
        assert ready.transport == "poll"
        assert "session pooler doesn't carry the replication protocol" in ready.why
        async with refused(database, PreflightError) as caught:
            await check_source(dsn, profile, slot=database.name, wanted="stream")
    assert "CDC_TRANSPORT=poll" in str(caught.value)


async def test_a_pooler_that_drops_the_replication_parameter_is_seen_through(
    database: Database, profile: Profile
) -> None:
    """Such a one gives an ordinary session, in which replication commands are syntax errors."""
    async with proxy(database.dsn, strip=["replication"]) as through:
        ready = await check_source(through.dsn, profile, slot=database.name, wanted="auto")
        assert ready.transport == "poll"
        assert "a pooler stands between us and Postgres" in ready.why
        async with refused(database, PreflightError) as caught:
            await check_source(through.dsn, profile, slot=database.name, wanted="stream")
    assert "took IDENTIFY_SYSTEM for SQL" in caught.value.message


@asynccontextmanager
async def own_server(settings: dict[str, str], options: dict[str, str], tmp_path: Path) -> AsyncIterator[Any]:
    """A server of other settings, restarted with `options`, which the launcher itself would not give it."""
    with EmbeddedPostgres.start(settings=settings, listen_tcp=True) as server, fresh_database(server.dsn) as database:
        database.execute(SCHEMA)
        if options:
            server._options = {**server._options, **options}
            server.halt()
            server.resume()
        yield server, database, write_profile(tmp_path / "shop")


async def test_a_server_without_logical_wal_is_refused(tmp_path: Path) -> None:
    async with (
        own_server({}, {"wal_level": "replica"}, tmp_path) as (_, database, profile),
        refused(database, PreflightError) as caught,
    ):
        await check_source(database.dsn, profile, slot="s", wanted="auto")
    assert "wal_level is replica" in caught.value.message
    assert "ALTER SYSTEM SET wal_level" in str(caught.value)


async def test_a_full_server_and_a_wrong_password(tmp_path: Path) -> None:
    """One server for both, since it takes a second to make."""
    async with own_server({"max_replication_slots": "1"}, {}, tmp_path) as (server, database, profile):
        database.execute("select pg_create_physical_replication_slot('forgotten')")
        async with refused(database, PreflightError) as caught:
            await check_source(database.dsn, profile, slot="s", wanted="auto")
        assert "all 1 of max_replication_slots are taken" in caught.value.message
        assert "pg_drop_replication_slot('forgotten')" in str(caught.value)

        database.execute("create role app login password 'the right one'")
        hba = server.folder / "data" / "pg_hba.conf"
        hba.write_text(
            "local all all trust\nhost all app 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
        )
        database.execute("select pg_reload_conf()")
        with pytest.raises(psycopg.OperationalError):  # the new rules are in force
            psycopg.connect(make_conninfo(database.dsn, user="app", password="another")).close()
        async with refused(database, PreflightError) as caught:
            dsn = make_conninfo(database.dsn, user="app", password=PASSWORD)
            await check_source(dsn, profile, slot="s", wanted="auto")
        assert "the password for app at 127.0.0.1 is wrong" in caught.value.message
