"""What set-up makes for Realtime and what preflight refuses, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cdc.errors import PreflightError
from cdc.source.preflight import Readiness, check_source
from tests.support.capture import SCHEMA, write_profile
from tests.support.doorbell import House
from tests.support.postgres import Database


@pytest.fixture
async def prepared(database: Database, tmp_path: Path) -> House:
    """The tables, and the publication that every project has; nothing of ours yet."""
    database.execute(SCHEMA)
    database.execute("create publication supabase_realtime")
    return House(database, write_profile(tmp_path / "shop"), None)  # type: ignore[arg-type]  # no server is needed


@pytest.fixture
def reader(database: Database) -> Iterator[str]:
    """A role named as on Supabase; roles are shared by the whole server."""
    with database.connect() as connection:
        if not database.execute("select 1 from pg_roles where rolname = 'service_role'"):
            connection.execute("create role service_role")
        yield "service_role"
        connection.execute("drop owned by service_role")
        try:
            connection.execute("drop role service_role")
        except psycopg.errors.DependentObjectsStillExist:  # another worker's database uses it
            return


async def check(house: House, wanted: str = "realtime", *, has_realtime: bool = True) -> Readiness:
    return await check_source(
        house.database.dsn, house.profile, slot=house.database.name, wanted=wanted,  # type: ignore[arg-type]
        has_realtime=has_realtime,
    )  # fmt: skip


def published(database: Database) -> set[str]:
    query = "select schemaname || '.' || tablename from pg_publication_tables where pubname = 'supabase_realtime'"
    return {name for (name,) in database.execute(query)}


async def test_set_up_adds_what_is_missing_once_and_takes_nothing_away(prepared: House) -> None:
    prepared.database.execute("alter publication supabase_realtime add table noise, people")
    statements = await prepared.set_up()
    assert published(prepared.database) == {
        "public.noise", "public.people", "public.items", "public.visits", "cdc.realtime_canary",
    }  # fmt: skip
    assert [s for s in statements if s.startswith("alter publication")] == [
        'alter publication "supabase_realtime" add table "public"."items", "public"."visits", "cdc"."realtime_canary"'
    ]
    assert not prepared.database.execute("select 1 from pg_replication_slots where database = current_database()")
    assert await prepared.set_up() == []


async def test_a_publication_of_everything_needs_no_tables_added(prepared: House) -> None:
    prepared.database.execute("drop publication supabase_realtime; create publication supabase_realtime for all tables")
    assert not [s for s in await prepared.set_up() if "publication" in s]


async def test_where_there_is_no_publication_one_is_made(prepared: House) -> None:
    prepared.database.execute("drop publication supabase_realtime")
    await prepared.set_up()
    assert "public.people" in published(prepared.database)


async def test_a_delete_carries_the_owner_as_it_does_for_the_slot(prepared: House) -> None:
    await prepared.set_up()
    query = "select relname, relreplident::text from pg_class where relkind = 'r' and relname in ('items', 'visits')"
    assert dict(prepared.database.execute(query)) == {"items": "f", "visits": "i"}


async def test_the_role_that_realtime_reads_as_gets_the_canary_and_must_have_the_rest(
    prepared: House, reader: str
) -> None:
    with pytest.raises(PreflightError, match=r"service_role.*may not read public\.items, public\.people") as caught:
        await check(prepared)
    assert "GRANT SELECT ON public.items" in str(caught.value)
    prepared.database.execute(f"grant select on people, items, visits to {reader}")
    await check(prepared)
    await prepared.set_up()
    [(may,)] = prepared.database.execute(
        "select has_table_privilege(%s, 'cdc.realtime_canary', 'select') and has_schema_privilege(%s, 'cdc', 'usage')",
        [reader, reader],
    )
    assert may
    assert await prepared.set_up() == []


async def test_a_publication_that_leaves_deletes_out_is_refused(prepared: House) -> None:
    prepared.database.execute("alter publication supabase_realtime set (publish = 'insert, update')")
    with pytest.raises(PreflightError, match="leaves kinds of changes out"):
        await check(prepared)


async def test_what_realtime_drops_is_said_beforehand(prepared: House) -> None:
    prepared.database.execute("alter table people enable row level security; create table keyless (id int)")
    prepared.database.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [prepared.database.name])
    notes = (await check(prepared)).notes
    assert len(notes) == 2
    assert "row-level security is on for people" in notes[0]
    assert f"pg_drop_replication_slot('{prepared.database.name}')" in notes[1]


async def test_auto_takes_a_slot_where_one_can_be_had(prepared: House) -> None:
    assert (await check(prepared, "auto")).transport == "stream"


async def test_auto_takes_realtime_only_without_a_slot_and_says_why(prepared: House) -> None:
    role = f"r_{prepared.database.name}"
    prepared.database.execute(
        f"create role {role} login bypassrls; grant select on people, items, visits to {role};"
        f"grant create on database {prepared.database.name} to {role}"
    )
    try:
        dsn = psycopg.conninfo.make_conninfo(prepared.database.dsn, user=role)
        found = await check_source(dsn, prepared.profile, slot="s", wanted="auto", has_realtime=True)
        assert found.transport == "realtime"
        assert "lacks the REPLICATION attribute" in found.why
        with pytest.raises(PreflightError, match="lacks the REPLICATION attribute"):
            await check_source(dsn, prepared.profile, slot="s", wanted="auto", has_realtime=False)
    finally:
        prepared.database.execute(f"drop owned by {role}; drop role {role}")
