"""The journal always says from where on it is complete, whatever was taken away and however the stream began anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection

from cdc.lsn import Lsn
from cdc.state import journal, position
from cdc.state.capture import CaptureStore
from cdc.state.database import migrate, shipped_migrations
from cdc.state.journal import RetentionOvertook, Span, read_chunks, spans, trim
from cdc.state.lineage import Lineage
from cdc.wire.journal import begin_entry, compress, tag
from tests.conftest import Connect
from tests.support.pgoutput import row
from tests.support.postgres import Database

NOW = datetime.now(UTC).replace(microsecond=0)
WEEK, PLENTY = 7 * 86_400.0, 1 << 30


async def begin(database: Database, slot: str, lsn: int, *, system_id: str = "1") -> None:
    store = await CaptureStore.open(database.dsn, slot, {})
    try:
        here = Lineage(system_id, 1)
        await position.begin(store.conn, slot, position.Footing(here, here, None), Lsn(lsn))
    finally:
        await store.close()


def write(database: Database, slot: str, lsn: int, *, age: timedelta = timedelta(), keys: int = 1) -> int:
    """Add a chunk of one transaction; gives its id."""
    parts = [begin_entry(lsn, 0)]
    for n in range(keys):
        parts += [tag(b"U", 0), row([f"{lsn}-{n}".encode()])[2:]]
    [(made,)] = database.execute(
        "insert into cdc.journal (slot, first_lsn, last_lsn, first_time, last_time, changes, relations, body)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s) returning id",
        [
            slot, str(Lsn(lsn)), str(Lsn(lsn)), NOW - age, NOW - age, keys,
            '{"0": {"table": "public.people", "columns": ["id"]}}', compress(parts),
        ],
    )  # fmt: skip
    database.execute(
        "update cdc.position set lsn = %s, committed_at = %s where slot = %s", [str(Lsn(lsn + 1)), NOW, slot]
    )
    return int(made)


def kept(database: Database, slot: str = "ours") -> list[int]:
    return [row[0] for row in database.execute("select id from cdc.journal where slot = %s order by id", [slot])]


@pytest.fixture
async def state(database: Database, connect: Connect) -> AsyncConnection[None]:
    await migrate(database.dsn)
    return await connect()


async def only(state: AsyncConnection[None], slot: str = "ours") -> Span:
    [found] = await spans(state, slot)
    return found


async def test_an_empty_journal_is_complete_from_where_the_slot_began(
    database: Database, state: AsyncConnection[None]
) -> None:
    assert await spans(state, "ours") == []

    await begin(database, "ours", 1_000)

    found = await only(state)
    assert (found.from_lsn, found.to_lsn, found.system_id, found.is_open) == (Lsn(1_000), Lsn(1_000), "1", True)
    assert abs(found.from_time - datetime.now(UTC)) < timedelta(minutes=5)


async def test_age_takes_the_oldest_away_and_says_so(database: Database, state: AsyncConnection[None]) -> None:
    await begin(database, "ours", 1_000)
    old = [write(database, "ours", lsn, age=timedelta(days=8)) for lsn in (1_100, 1_200)]
    young = write(database, "ours", 1_300)
    assert kept(database) == [*old, young]

    assert await trim(state, seconds=WEEK, size=PLENTY) == 2

    found = await only(state)
    assert kept(database) == [young]
    assert (found.from_lsn, found.after_chunk) == (Lsn(1_201), old[-1])
    assert await trim(state, seconds=WEEK, size=PLENTY) == 0


async def test_a_journal_that_is_trimmed_empty_still_knows_where_it_begins(
    database: Database, state: AsyncConnection[None]
) -> None:
    await begin(database, "ours", 1_000)
    last = write(database, "ours", 1_100, age=timedelta(days=8))
    database.execute("update cdc.journal_span set from_time = now() - interval '9 days'")

    await trim(state, seconds=WEEK, size=PLENTY)

    found = await only(state)
    assert kept(database) == []
    assert (found.from_lsn, found.after_chunk) == (Lsn(1_101), last)
    assert found.from_time == NOW - timedelta(days=8) + timedelta(microseconds=1)


async def test_size_takes_the_oldest_of_all_slots_away(database: Database, state: AsyncConnection[None]) -> None:
    for slot in ("ours", "other"):
        await begin(database, slot, 1_000)
    made = [
        (slot, write(database, slot, 1_000 + 100 * n, keys=1_000)) for n in range(1, 41) for slot in ("ours", "other")
    ]
    [(total,)] = database.execute("select sum(octet_length(body) + pg_column_size(relations) + 120) from cdc.journal")

    removed = await trim(state, seconds=WEEK, size=int(total) // 2)

    assert 40 <= removed <= 41
    for slot in ("ours", "other"):
        assert kept(database, slot) == [chunk for its, chunk in made[removed:] if its == slot], "not the oldest"
        gone = [chunk for its, chunk in made[:removed] if its == slot]
        assert (await only(state, slot)).after_chunk == gone[-1]
        assert (await only(state, slot)).from_lsn == Lsn(1_001 + 100 * len(gone))


async def test_a_clock_that_went_back_leaves_no_hole(database: Database, state: AsyncConnection[None]) -> None:
    """An old time behind a young one: what is young stays, and so must everything behind it."""
    await begin(database, "ours", 1_000)
    young = write(database, "ours", 1_100)
    seems_old = write(database, "ours", 1_200, age=timedelta(days=8))

    assert await trim(state, seconds=WEEK, size=PLENTY) == 0

    assert kept(database) == [young, seems_old]


async def test_a_new_beginning_ends_the_span_before_it(database: Database, state: AsyncConnection[None]) -> None:
    await begin(database, "ours", 1_000)
    before = [write(database, "ours", lsn) for lsn in (1_100, 1_200)]
    last_commit = NOW + timedelta(hours=1)
    database.execute("update cdc.position set committed_at = %s", [last_commit])
    await begin(database, "ours", 500, system_id="2")
    after = write(database, "ours", 600)

    first, second = await spans(state, "ours")

    assert (first.from_lsn, first.to_lsn, first.to_chunk) == (Lsn(1_000), Lsn(1_201), before[-1])
    assert first.to_time == last_commit, "what was committed behind it may not have been read"
    assert not first.is_open
    assert (second.from_lsn, second.after_chunk, second.to_chunk, second.system_id) == (Lsn(500), before[-1], None, "2")
    extents = [await journal.extent(state, "ours", span) for span in (first, second)]
    assert [(e.first, e.last, e.changes) for e in extents] == [(*before, 2), (after, after, 1)]


async def test_trimming_leaves_the_spans_before_and_behind_right(
    database: Database, state: AsyncConnection[None]
) -> None:
    await begin(database, "ours", 1_000)
    write(database, "ours", 1_100, age=timedelta(days=9))
    half = write(database, "ours", 1_200, age=timedelta(days=6))
    await begin(database, "ours", 500, system_id="2")
    write(database, "ours", 600)

    await trim(state, seconds=WEEK, size=PLENTY)
    first, second = await spans(state, "ours")
    assert (first.from_lsn, first.to_chunk, second.from_lsn) == (Lsn(1_101), half, Lsn(500))

    await trim(state, seconds=5 * 86_400, size=PLENTY)
    assert (await only(state)).from_lsn == Lsn(500), "an ended span without chunks is kept"


async def test_whoever_reads_notices_that_retention_came_first(
    database: Database, state: AsyncConnection[None]
) -> None:
    await begin(database, "ours", 1_000)
    chunks = [write(database, "ours", lsn, age=timedelta(days=8)) for lsn in (1_100, 1_200)]
    chunks.append(write(database, "ours", 1_300))
    span = await only(state)
    read = await read_chunks(state, "ours", span.id, after=span.after_chunk, last=chunks[-1], changes=1)
    assert [chunk.id for chunk in read] == chunks[:1]

    await trim(state, seconds=WEEK, size=PLENTY)

    with pytest.raises(RetentionOvertook):
        await read_chunks(state, "ours", span.id, after=chunks[0], last=chunks[-1], changes=1)
    rest = await read_chunks(state, "ours", span.id, after=chunks[1], last=chunks[-1], changes=1)
    assert [chunk.id for chunk in rest] == chunks[2:]


async def test_chunks_are_read_in_order_and_no_more_than_asked_for(
    database: Database, state: AsyncConnection[None]
) -> None:
    await begin(database, "ours", 1_000)
    chunks = [write(database, "ours", 1_000 + n, keys=10) for n in range(10)]
    await begin(database, "other", 1_000)
    write(database, "other", 1_100)
    span = await only(state)

    first = await read_chunks(state, "ours", span.id, after=span.after_chunk, last=chunks[7], changes=25)
    rest = await read_chunks(state, "ours", span.id, after=first[-1].id, last=chunks[7], changes=1_000)

    assert [chunk.id for chunk in first] == chunks[:3]
    assert [chunk.id for chunk in rest] == chunks[3:8]
    assert await read_chunks(state, "ours", span.id, after=chunks[7], last=chunks[7], changes=10) == []


@pytest.mark.parametrize(
    ("setting", "begins"),
    [
        ("", 901),  # from behind the first chunk, of which nobody knows whether it holds its first transaction whole
        ("delete from cdc.journal", 1_000),
        ("delete from cdc.journal; update cdc.position set open_lsn = '0/400', open_changes = 3", 0x401),
        ("insert into cdc.gap (slot, cause, from_lsn) values ('ours', 'x', '0/1')", 1_000),
    ],
)
async def test_a_journal_from_before_spans_counts_as_far_as_is_certain(
    database: Database, connect: Connect, setting: str, begins: int
) -> None:
    first, second = shipped_migrations()[:2]
    database.execute("create schema cdc")
    database.execute(first.sql)
    database.execute("insert into cdc.position (slot, system_id, timeline, lsn) values ('ours', '1', 1, '0/1')")
    for lsn in (900, 999):
        write(database, "ours", lsn)
    database.execute(setting or "select")

    database.execute(second.sql)

    found = await only(await connect())
    assert found.from_lsn == Lsn(begins)
    after = write(database, "ours", 2_000)
    assert (await journal.extent(await connect(), "ours", found, Lsn(begins))).last == after
