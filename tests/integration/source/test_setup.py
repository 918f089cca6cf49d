"""Set-up: makes exactly what is missing, says why, and leaves the application able to write."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from cdc.connection import connect
from cdc.errors import ProfileError, SourceError
from cdc.routing.feeds import load_profile
from cdc.source.setup import plan_setup
from cdc.source.statements import run_setup
from cdc.state.database import migrate
from tests.support.capture import FEEDS, SCHEMA, VIEWS, Source, write_profile
from tests.support.postgres import Database
from tests.support.waiting import until

IDENTITIES = """
select c.relname::text, c.relreplident::text from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relreplident <> 'd'
"""
PUBLISHED = "select tablename::text, attnames::text[] from pg_publication_tables where pubname = %s"
ALL_KINDS = (
    "select pubinsert and pubupdate and pubdelete and pubtruncate and not puballtables from pg_publication"
    " where pubname = %s"
)


def published(source: Source) -> dict[str, set[str]]:
    return {table: set(columns) for table, columns in source.database.execute(PUBLISHED, [source.name])}


@pytest.fixture
async def core(database: Database) -> Source:
    """The shipped profile on its own tables, as they are before any set-up."""
    database.apply_profile("core", sample=True)
    database.execute("drop schema cdc cascade")
    source = Source(database, load_profile("core"), database.name)
    await migrate(database.dsn)
    return source


async def test_the_shipped_profile_publishes_what_routing_needs_and_nothing_else(core: Source) -> None:
    assert await core.set_up() != []
    everything = core.database.execute(
        "select array_agg(column_name::text) from information_schema.columns where table_name = 'user_badges'"
    )
    assert published(core) == {
        "users": {"id"},
        "user_quests": {"id", "user_id"},
        "user_skill_xp": {"id", "user_id"},
        "quest_task_completions": {"id", "user_id"},
        "parent_student_links": {"id", "parent_user_id", "student_user_id"},
        "lms_integrations": {"id", "user_id"},
        "user_badges": set(everything[0][0]),  # identity FULL, and Postgres allows no column list with that
    }
    assert dict(core.database.execute(IDENTITIES)) == {
        "user_quests": "i",
        "user_skill_xp": "i",
        "quest_task_completions": "i",
        "parent_student_links": "i",
        "lms_integrations": "i",
        "user_badges": "f",
    }
    assert core.database.execute(ALL_KINDS, [core.name]) == [(True,)]


async def test_a_second_run_has_nothing_to_do(core: Source) -> None:
    await core.set_up()
    assert await core.set_up() == []


async def test_every_statement_says_why_and_planning_changes_nothing(core: Source) -> None:
    conn = await connect(core.database.dsn, purpose="setup")
    try:
        plan = await plan_setup(conn, core.profile, publication=core.name, slot=core.name)
        assert all(statement.why for statement in plan)
        assert plan == await plan_setup(conn, core.profile, publication=core.name, slot=core.name)
    finally:
        await conn.close()
    assert published(core) == {}
    assert core.database.execute(IDENTITIES) == []


async def test_views_are_made_anew_when_their_text_changes_and_only_then(source: Source, tmp_path: Path) -> None:
    assert await source.set_up() == []
    changed = VIEWS.replace('name as "Last_Name"', 'upper(name) as "Last_Name", bio as "Description"')
    write_profile(tmp_path / "shop", views=changed)
    (statement,) = await source.set_up()
    assert "create view cdc.people" in statement
    source.database.execute("insert into people values ('ada', 'Ada', 'x')")
    assert source.database.execute("select * from cdc.people") == [("ada", "ADA", "x")]
    assert await source.set_up() == []


async def test_views_that_do_not_compile_leave_the_old_ones(source: Source, tmp_path: Path) -> None:
    write_profile(tmp_path / "shop", views=VIEWS + "create view cdc.broken as select nothing from nowhere;")
    with pytest.raises(SourceError, match='relation "nowhere" does not exist'):
        await source.set_up()
    assert source.database.execute("select count(*) from cdc.people") == [(0,)]


async def test_a_table_that_is_no_longer_watched_leaves_the_publication(source: Source, tmp_path: Path) -> None:
    assert set(published(source)) == {"people", "items", "visits"}
    write_profile(tmp_path / "shop", feeds=FEEDS.replace('visits = { key = "owner", lane = "rollup" }\n', ""))
    narrower = Source(source.database, load_profile(str(tmp_path / "shop")), source.name)
    (statement,) = await narrower.set_up()
    assert statement.startswith("alter publication")
    assert set(published(narrower)) == {"people", "items"}


@pytest.mark.parametrize(
    "misdeed",
    [
        "alter publication {p} drop table people",
        "alter publication {p} add table noise",
        "alter publication {p} set table people",
        "alter publication {p} set (publish = 'insert')",
        "alter publication {p} set table people (id) where (id <> 'secret'), items, visits (id, owner)",
        "drop publication {p}",
    ],
)
async def test_a_publication_that_somebody_changed_is_put_right(source: Source, misdeed: str) -> None:
    before = published(source)
    source.database.execute(misdeed.format(p=source.name))
    assert await source.set_up() != []
    assert published(source) == before
    assert source.database.execute(ALL_KINDS, [source.name]) == [(True,)]
    assert await source.set_up() == []


@pytest.mark.parametrize(
    "prepare",
    [
        "alter table people replica identity nothing",
        "alter table visits replica identity nothing",
        "alter table items replica identity nothing",
        "alter table visits replica identity full",
        "create unique index own on visits (id, owner); alter table visits replica identity using index own",
    ],
)
async def test_the_application_can_write_whatever_the_identity_was(
    database: Database, tmp_path: Path, prepare: str
) -> None:
    """Postgres refuses updates and deletes on a published table without an identity."""
    source = await Source.make(database, tmp_path, SCHEMA + prepare)
    database.execute("insert into people values ('ada', ''); insert into items values (1, 'ada')")
    database.execute("insert into visits values (1, 'ada'); update people set name = 'x'; update visits set at = 1")
    async with source.capturing("stream"):
        database.execute("update items set body = 'x'; delete from items; delete from visits; delete from people")
        await source.drained("marker")
    assert source.entries()[-3:] == [
        ("D", "items", ("ada", "1")),
        ("D", "visits", ("ada",)),
        ("D", "people", ("ada",)),
    ]
    assert await source.set_up() == []


@pytest.mark.parametrize(
    "prepare",
    [
        "alter table people drop constraint people_pkey",
        "alter table people drop constraint people_pkey; alter table people add primary key (id) deferrable",
    ],
)
async def test_a_table_without_a_usable_key_is_refused_before_anything_is_made(
    database: Database, tmp_path: Path, prepare: str
) -> None:
    with pytest.raises(ProfileError, match=r"public\.people has no primary key that") as caught:
        await Source.make(database, tmp_path, SCHEMA + prepare)
    assert "REPLICA IDENTITY FULL" in str(caught.value)
    assert database.execute("select 1 from pg_publication where pubname = %s", [database.name]) == []
    database.execute("insert into people values ('ada'); update people set name = 'x'; delete from people")


async def test_a_partitioned_table_is_captured_under_its_own_name(database: Database, tmp_path: Path) -> None:
    """By default a publication names the partitions, which no feed watches."""
    schema = SCHEMA.replace(
        "create table visits (id bigint primary key, owner text not null, at int);",
        "create table visits (id bigint, owner text not null, at int, primary key (id, owner)) partition by hash (id);"
        "create table visits_0 partition of visits for values with (modulus 1, remainder 0);",
    )
    source = await Source.make(database, tmp_path, schema)
    assert await source.set_up() == []
    async with source.capturing("stream"):
        database.execute("insert into visits values (1, 'ada'); delete from visits; truncate visits")
        await source.drained("marker")
    assert source.entries() == [("I", "visits", ("ada",)), ("D", "visits", ("ada",)), ("T", "visits", ())]


async def test_an_open_transaction_that_holds_up_the_slot_is_named(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc.source.statements._SLOT_SECONDS", 1)
    source.database.execute("select pg_drop_replication_slot(%s)", [source.name])
    with source.database.connect() as writer, writer.transaction():
        writer.execute("insert into noise (body) values ('still writing')")
        pid = writer.info.backend_pid
        age = f"select now() - xact_start > interval '2.1 s' from pg_stat_activity where pid = {pid}"
        await until(lambda: source.database.execute(age) == [(True,)], what="the transaction to be old enough")
        with pytest.raises(SourceError, match="make the replication slot") as caught:
            await source.set_up()
        assert f"pg_terminate_backend({pid})" in str(caught.value)
    assert source.database.execute("select 1 from pg_replication_slots where slot_name = %s", [source.name]) == []
    assert len(await source.set_up()) == 1


async def test_set_up_waits_for_no_lock_of_the_application_for_long(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ALTER TABLE queues behind a reader, and everybody queues behind it: it gives up instead."""
    monkeypatch.setattr("cdc.source.statements._BRIEF_LOCK_SECONDS", 1)
    source.database.execute("alter table visits replica identity default")
    with source.database.connect() as reader, reader.transaction():
        reader.execute("select * from visits")
        reader.execute("lock table visits in access share mode")
        conn = await connect(source.database.dsn, purpose="setup")
        try:
            plan = await plan_setup(conn, source.profile, publication=source.name, slot=source.name)
            begun = asyncio.get_running_loop().time()
            with pytest.raises(SourceError, match="lock timeout"):
                await run_setup(conn, plan)
            assert asyncio.get_running_loop().time() - begun < 10
        finally:
            await conn.close()


async def test_an_index_whose_build_was_broken_off_is_made_anew(source: Source) -> None:
    """Postgres takes it as an identity all the same, and then refuses the application's updates."""
    database = source.database
    database.execute("insert into visits values (1, 'ada')")
    invalid = "update pg_index set indisvalid = false where indexrelid = 'cdc_identity_visits'::regclass"
    with database.connect() as conn:
        conn.execute("set allow_system_table_mods = on")
        conn.execute(invalid)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="replica identity"):
        database.execute("update visits set at = 1")
    statements = await source.set_up()
    assert any(text.startswith("drop index concurrently") for text in statements)
    database.execute("update visits set at = 2")
    assert await source.set_up() == []


async def test_an_unfinished_index_is_never_taken_as_identity(database: Database, tmp_path: Path) -> None:
    """The build fails for a while: nothing is published meanwhile, and the next run puts it right."""
    source = Source(database, write_profile(tmp_path / "shop"), database.name)
    database.execute(SCHEMA + "; insert into visits values (1, 'ada')")
    await migrate(database.dsn)
    conn = await connect(database.dsn, purpose="setup")
    try:
        plan = await plan_setup(conn, source.profile, publication=source.name, slot=source.name)
        database.execute("create unique index cdc_identity_visits on visits (id, owner)")
        database.execute("update pg_index set indisvalid = false where indexrelid = 'cdc_identity_visits'::regclass")
        with pytest.raises(SourceError, match="isn't finished"):
            await run_setup(conn, plan)
    finally:
        await conn.close()
    assert published(source) == {}
    database.execute("update visits set at = 1")
    await source.set_up()
    database.execute("update visits set at = 2")
    assert await source.set_up() == []
