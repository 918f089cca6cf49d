"""Tables are changed under a running capture: what doesn't matter changes nothing, what does breaks its feed only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from cdc.connection import connect as connect_to
from cdc.source.capture import Capture
from cdc.source.drift import find_broken, without_missing
from cdc.source.preflight import TransportName
from cdc.state.broken import Broken
from sinks.reasons import Reason
from tests.support.capture import TRANSPORTS, Entry, Source
from tests.support.postgres import Database


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


@asynccontextmanager
async def capturing(source: Source, transport: TransportName = "stream") -> AsyncIterator[Capture]:
    async with source.capturing(transport) as capture:
        source.database.execute("insert into people values ('before'); insert into items values (1, 'before')")
        await source.drained("marker 0")
        yield capture


def people(source: Source) -> list[Entry]:
    return [e for e in source.entries() if e[1] == "people" and e[2] != ("before",)]


def control(source: Source) -> dict[str, tuple[str, str]]:
    rows = source.database.execute("select scope, reason, detail from cdc.control")
    return {scope: (reason, detail) for scope, reason, detail in rows}


async def broken(source: Source) -> dict[str, Broken]:
    conn = await connect_to(source.database.dsn, purpose="test")
    try:
        return await find_broken(conn, source.profile, source.name)
    finally:
        await conn.close()


HARMLESS = {
    "added": "alter table people add column nick text; insert into people (id, nick) values ('ada', 'x')",
    "dropped": "alter table people drop column bio cascade; insert into people (id) values ('ada')",
    "renamed": "alter table people rename bio to about; insert into people (id) values ('ada')",
    "retyped": "alter table people alter column bio type bytea using null; insert into people (id) values ('ada')",
    "in one transaction": "begin; insert into people (id) values ('ada'); alter table people add column a int;"
    " alter table people rename bio to about; update people set a = 2 where id = 'ada'; commit",
    "key between others": "alter table people add column z int default 3; alter table people drop column z;"
    " insert into people (id) values ('ada')",
}


@pytest.mark.parametrize(
    ("statement", "transport"),
    [*((statement, "stream") for statement in HARMLESS.values()), (HARMLESS["in one transaction"], "poll")],
    ids=[*HARMLESS, "in one transaction, by SQL"],
)
async def test_columns_that_hold_no_key_may_change_as_they_like(
    source: Source, statement: str, transport: TransportName
) -> None:
    """A key column can't: Postgres refuses to retype one that is published."""
    source.database.execute("drop view cdc.people cascade")  # it would stand in the way of some of these
    async with capturing(source, transport):
        source.database.execute(statement)
        await source.drained("marker 1")
    assert ("I", "people", ("ada",)) in people(source)
    assert control(source) == {}


async def test_a_large_value_that_an_update_leaves_alone_rings_all_the_same(source: Source) -> None:
    async with capturing(source):
        source.database.execute("insert into people values ('ada', 'Ada', repeat('x', 50000))")
        source.database.execute("update people set name = 'Ada L.' where id = 'ada'")
        await source.drained("marker 1")
    assert people(source) == [("I", "people", ("ada",)), ("U", "people", ("ada",))]


async def test_a_changed_primary_key_rings_for_both(source: Source) -> None:
    async with capturing(source):
        source.database.execute("insert into people values ('ada'); update people set id = 'eve' where id = 'ada'")
        await source.drained("marker 1")
    assert {("people", "ada"), ("people", "eve")} <= source.outbox().keys()


ODD = ["", " ", "'", '"', "\\", "{}", "NULL", "null", "a,b", "ä\u0301", "\U0001f600", "\ufeff", "x" * 2000, "\x01\n\t"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_odd_keys_arrive_as_they_are(source: Source, transport: TransportName) -> None:
    async with capturing(source, transport):
        with source.database.connect() as conn:
            for key in ODD:
                conn.execute("insert into people (id) values (%s)", [key])
        await source.drained("marker 1")
    assert {key for feed, key in source.outbox() if feed == "people"} >= set(ODD)


async def test_a_table_made_anew_is_followed_once_it_is_published_again(source: Source) -> None:
    async with capturing(source) as capture:
        source.database.execute(
            "drop view cdc.people cascade; drop table people; create table people (id text primary key, name text,"
            ' bio text); create view cdc.people as select id as person_id, name as "Last_Name" from people'
        )
        assert (await broken(source))["people"] == Broken(Reason.KEY_NOT_CAPTURED, "public.people isn't published")
        source.database.execute("insert into items values (2, 'bob')")
        await source.set_up()
        assert await broken(source) == {}
        source.database.execute("insert into people (id) values ('ada')")
        await source.drained("marker 1")
        assert capture.stats.state == "capturing"
    assert ("I", "people", ("ada",)) in people(source)
    assert ("I", "items", ("bob", "2")) in source.entries()


async def test_a_key_column_that_is_no_longer_published_breaks_its_feed_and_not_the_others(source: Source) -> None:
    """The items' owner rings for a person; their own id goes on ringing for the item."""
    database = source.database
    database.execute("alter table items replica identity default")
    database.execute(f"alter publication {source.name} set table people (id), visits (id, owner), items (id)")
    async with capturing(source) as capture:
        database.execute("insert into items values (2, 'bob'); insert into people (id) values ('ada')")
        await source.drained("marker 1")
        assert capture.stats.state == "capturing"
        assert control(source) == {"people": ("KEY_NOT_CAPTURED", "public.items is published without owner")}
    assert {("items", "2"), ("people", "ada")} <= source.outbox().keys()
    assert ("people", "bob") not in source.outbox()


IDENTITIES = {
    "default": ("default", {"people": "the replica identity of public.items lacks owner"}),
    "nothing": ("nothing", dict.fromkeys(("people", "items"), "the replica identity of public.items lacks ")),
}


@pytest.mark.parametrize(("identity", "expected"), IDENTITIES.values(), ids=IDENTITIES.keys())
async def test_a_replica_identity_that_carries_too_little_breaks_the_feeds_that_need_it(
    source: Source, identity: str, expected: dict[str, str]
) -> None:
    async with capturing(source):
        source.database.execute(f"alter table items replica identity {identity}")
        source.database.execute("insert into items values (2, 'bob')")
        await source.drained("marker 1")
        found = {feed: detail for feed, (_, detail) in control(source).items()}
        assert found.keys() == expected.keys()
        assert all(found[feed].startswith(words) for feed, words in expected.items())
        if identity == "nothing":
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                source.database.execute("delete from items where id = 2")
        assert (await broken(source)).keys() == expected.keys()
        await source.set_up()
        assert await broken(source) == {}
        source.database.execute("delete from items where id = 2")
        await source.drained("marker 2")
    assert ("D", "items", ("bob", "2")) in source.entries()


async def test_identities_that_carry_enough_may_be_exchanged(source: Source) -> None:
    async with capturing(source):
        source.database.execute("alter publication " + source.name + " set table people, visits, items")
        source.database.execute("alter table visits replica identity full")
        source.database.execute("insert into visits values (1, 'ada'); delete from visits where id = 1")
        source.database.execute("alter table visits replica identity using index cdc_identity_visits")
        source.database.execute("insert into visits values (2, 'bob'); delete from visits where id = 2")
        await source.drained("marker 1")
    found = [e for e in source.entries() if e[1] == "visits"]
    assert [(kind, values) for kind, _, values in found] == [
        ("I", ("ada",)), ("D", ("ada",)), ("I", ("bob",)), ("D", ("bob",)),
    ]  # fmt: skip
    assert control(source) == {}


async def test_partitions_may_come_and_go(database: Database, tmp_path: Path) -> None:
    schema = """
    create table people (id text primary key, name text, bio text);
    create table items (id bigint primary key, owner text, body text);
    create table visits (id bigint, owner text not null, at int, primary key (id, owner)) partition by range (id);
    create table visits_0 partition of visits for values from (0) to (100);
    create table noise (id bigint generated always as identity, body text);
    """
    source = await Source.make(database, tmp_path, schema)
    async with capturing(source):
        database.execute("insert into visits values (1, 'ada')")
        database.execute("create table visits_1 partition of visits for values from (100) to (200)")
        database.execute("insert into visits values (101, 'bob'); delete from visits where id = 101")
        database.execute("alter table visits detach partition visits_0; drop table visits_0")
        database.execute("insert into visits values (102, 'eve')")
        await source.drained("marker 1")
    found = [(kind, values) for kind, table, values in source.entries() if table == "visits"]
    assert found == [("I", ("ada",)), ("I", ("bob",)), ("D", ("bob",)), ("I", ("eve",))]
    assert control(source) == {}
    assert await broken(source) == {}


async def test_what_is_gone_is_left_out_of_set_up_and_the_rest_of_the_feed_stays(source: Source) -> None:
    source.database.execute("drop view cdc.items cascade; alter table items drop column owner cascade")
    conn = await connect_to(source.database.dsn, purpose="test")
    try:
        there = await without_missing(conn, source.profile)
    finally:
        await conn.close()
    assert there.feeds["people"].watch.keys() == {"people", "visits"}
    assert there.feeds["items"].watch.keys() == {"items"}
    found = await broken(source)
    assert found["people"].words in ("public.items isn't published", "public.items has no column owner")
    assert found["items"].reason is Reason.VIEW_UNREADABLE


async def test_a_feed_breaks_together_with_the_position_that_goes_past_it(source: Source) -> None:
    """If the mark came after the position, a crash between them would lose it."""
    database = source.database
    async with capturing(source):
        pass
    database.execute("alter table items replica identity default")
    database.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;"
        " create trigger refuse before insert on cdc.control for each row execute function refuse()"
    )
    before = source.position()
    capture, stop = Capture(source.config("stream")), asyncio.Event()
    database.execute("insert into items values (2, 'bob')")
    with pytest.raises(Exception, match="no"):
        await capture.run(stop)
    assert source.position() == before
    assert ("items", "2") not in source.outbox()
