"""Comparing many records takes no more memory than comparing few."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cdc.errors import ProfileError, StateError
from cdc.repair.reconcile.classify import Measures
from cdc.repair.reconcile.compare import KEPT, Comparer, Comparison
from cdc.repair.reconcile.differences import Kind
from cdc.repair.reconcile.staging import Staging
from cdc.routing.feeds import parse_profile
from sinks.scan import Scanned
from sinks.zoho.reading import forms_of, same_value
from tests.conftest import Connect
from tests.support.postgres import Database

FEED = parse_profile(
    "p",
    Path("p"),
    {"people": {"sink": "zoho.contacts", "view": "v", "key": "id", "watch": {"people": {"key": "id"}}}},
).feeds["people"]
MEASURES = Measures(
    same=lambda _, ours, theirs: same_value(ours, theirs),
    forms=forms_of,
    digest=lambda name, value: "never equal",
    columns=frozenset({"Name", "Text"}),
)
PAGE = 500
Compare = Callable[..., Coroutine[Any, Any, Comparison]]


@pytest.fixture
def compare(database: Database, connect: Connect) -> Compare:
    database.apply_state()
    database.execute("create table people (id int primary key)")
    database.execute("""create view v as select id, 'N' || id as "Name", repeat(id::text, 40) as "Text" from people""")

    async def run(people: int, name: str = "N") -> Comparison:
        database.execute("truncate people, cdc.ledger")
        database.execute("insert into people select generate_series(1, %s)", [people])
        database.execute(
            "insert into cdc.ledger (feed, record_id, key, crm_id, state)"
            " select 'people', id, id, id, 'sent' from people"
        )
        source, state = await connect(), await connect()
        async with Staging.open(state) as staging:
            for start in range(1, people + 1, PAGE):
                await staging.add([scanned(n, name) for n in range(start, min(start + PAGE, people + 1))])
            async with source.transaction(), state.transaction():
                comparer = Comparer(
                    source, state, FEED, MEASURES, staging,
                    since=datetime.now(UTC), is_whole=True, likeness=None,
                )  # fmt: skip
                found = await comparer.run()
        assert database.execute("select count(*) from pg_class where relname in ('cdc_scan', 'cdc_seen')") == [(0,)]
        return found

    return run


def scanned(n: int, name: str) -> Scanned:
    return Scanned(crm_id=str(n), record_id=str(n), fields={"Name": f"{name}{n}", "Text": str(n) * 40})


async def peak_of(compare: Compare, people: int, name: str = "N") -> tuple[Comparison, int]:
    tracemalloc.start()
    try:
        found = await compare(people, name)
        return found, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_twenty_thousand_take_what_two_thousand_take(compare: Compare) -> None:
    few, some = await peak_of(compare, 2_000)
    many, more = await peak_of(compare, 20_000)
    assert (few.compared, many.compared) == (2_000, 20_000)
    assert (few.differing, many.differing) == (0, 0)
    assert more < some * 1.5, f"{some:,} bytes for 2,000 and {more:,} for 20,000"


async def test_what_differs_is_kept_up_to_a_limit_and_counted_beyond_it(compare: Compare) -> None:
    found = await compare(KEPT + 1_000, "Another")
    assert found.counts == {Kind.UNKNOWN: KEPT + 1_000}
    assert found.fields == {"Name": KEPT + 1_000}
    assert len(found.kept) == KEPT


async def test_what_people_paste_is_stored_as_it_can_be(connect: Connect) -> None:
    state = await connect()
    odd = [
        Scanned(
            crm_id="2", record_id="half \ud83d and \0", likeness="\0", fields={"Text": "\ud83d\0", "List": ["a", 1]}
        ),
        Scanned(crm_id="1", record_id="a\tb\\n\nc", fields={}),
        Scanned(crm_id="3", record_id=None, fields={}),
    ]
    async with Staging.open(state) as staging:
        await staging.add(odd)
        async with state.transaction():
            found = {record_id: records async for record_id, records in staging.by_record()}
    assert list(found) == ["a\tb\\n\nc", "half ? and �"]
    assert found["half ? and �"][0].fields == odd[0].fields


async def test_a_view_that_cannot_be_read_is_named_without_its_values(compare: Compare, database: Database) -> None:
    database.execute("""create or replace view v as select id, 'N' || id as "Name", (1 / (id - 3))::text as "Text"
        from people""")
    with pytest.raises(ProfileError, match="feed people: view v can't be read: DivisionByZero"):
        await compare(5)


async def test_a_role_without_temporary_tables_is_told_so(connect: Connect, database: Database) -> None:
    database.execute(f"revoke temporary on database {database.name} from public; create role {database.name}_r")
    state = await connect()
    try:
        await state.execute(f"set role {database.name}_r".encode())
        with pytest.raises(StateError, match="no temporary tables"):
            async with Staging.open(state):
                pass
    finally:
        await state.execute(b"reset role")
        database.execute(f"drop role {database.name}_r")
