"""From a commit to outbox, journal and position, by both transports."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from cdc.errors import DecodeError
from cdc.lsn import Lsn
from cdc.source.capture import Capture
from cdc.source.preflight import TransportName
from tests.support.capture import Entry, Source
from tests.support.waiting import until

BIG = 200_000  # characters: well over what fits into a page, so that it is TOASTed


@pytest.mark.parametrize(
    ("before", "statements", "entries", "outbox"),
    [
        pytest.param(
            "",
            "insert into people values ('ada', 'Ada'), ('bob', 'Bob')",
            [("I", "people", ("ada",)), ("I", "people", ("bob",))],
            {("people", "ada"): "live", ("people", "bob"): "live"},
            id="rows of one statement share an LSN",
        ),
        pytest.param(
            "insert into people values ('ada', 'Ada')",
            "update people set name = 'Lady Ada'",
            [("U", "people", ("ada",))],
            {("people", "ada"): "live"},
            id="update",
        ),
        pytest.param(
            "insert into people values ('ada', 'Ada')",
            "delete from people",
            [("D", "people", ("ada",))],
            {("people", "ada"): "live"},
            id="delete",
        ),
        pytest.param(
            "insert into people values ('ada', 'Ada')",
            "update people set id = 'countess' where id = 'ada'",
            [("O", "people", ("ada",)), ("U", "people", ("countess",))],
            {("people", "ada"): "live", ("people", "countess"): "live"},
            id="the key itself changes",
        ),
        pytest.param(
            "insert into items values (1, 'ada', 'x'); insert into visits values (1, 'ada', 0)",
            "update items set owner = 'bob'; update visits set owner = 'bob'",
            [
                ("O", "items", ("ada", "1")),
                ("U", "items", ("bob", "1")),
                ("O", "visits", ("ada",)),
                ("U", "visits", ("bob",)),
            ],
            {("people", "ada"): "rollup", ("people", "bob"): "rollup", ("items", "1"): "live"},
            id="a row goes to another owner, who both change",
        ),
        pytest.param(
            "insert into items values (1, 'ada', 'x'), (2, null, 'x'); insert into visits values (1, 'bob', 0)",
            "delete from items; delete from visits",
            [("D", "items", ("ada", "1")), ("D", "items", (None, "2")), ("D", "visits", ("bob",))],
            {
                ("people", "ada"): "rollup",
                ("people", "bob"): "rollup",
                ("items", "1"): "live",
                ("items", "2"): "live",
            },
            id="a delete says whose row it was",
        ),
        pytest.param(
            "",
            "insert into items values (1, null, 'x'); update items set owner = 'ada'; update items set owner = null",
            [
                ("I", "items", (None, "1")),
                ("O", "items", (None, "1")),
                ("U", "items", ("ada", "1")),
                ("O", "items", ("ada", "1")),
                ("U", "items", (None, "1")),
            ],
            {("items", "1"): "live", ("people", "ada"): "rollup"},
            id="an owner that is NULL is no key",
        ),
        pytest.param(
            f"insert into people values ('ada', 'Ada', repeat('x', {BIG})); "
            f"insert into items values (1, 'ada', repeat(md5('1'), {BIG // 32}))",
            "update people set name = 'A'; update items set owner = owner",
            [("U", "people", ("ada",)), ("U", "items", ("ada", "1"))],
            {("people", "ada"): "live", ("items", "1"): "live"},
            id="a large value that was left alone",
        ),
        pytest.param(
            "",
            "begin; insert into people values ('no', ''); rollback; "
            "begin; insert into people values ('yes', ''); savepoint s; insert into people values ('sub', ''); "
            "rollback to s; insert into people values ('too', ''); release s; commit",
            [("I", "people", ("yes",)), ("I", "people", ("too",))],
            {("people", "yes"): "live", ("people", "too"): "live"},
            id="what was rolled back never happened",
        ),
        pytest.param(
            "",
            "insert into noise (body) select 'x' from generate_series(1, 100)",
            [],
            {},
            id="a table that nobody watches",
        ),
        pytest.param(
            "",
            "insert into people values ('Ünï çødé 日本', ''), ('', 'no name'), (E'line\\nand\\ttab', '')",
            [("I", "people", ("Ünï çødé 日本",)), ("I", "people", ("",)), ("I", "people", ("line\nand\ttab",))],
            {("people", "Ünï çødé 日本"): "live", ("people", ""): "live", ("people", "line\nand\ttab"): "live"},
            id="odd keys",
        ),
    ],
)
async def test_a_write_becomes_dirty_keys_and_journal_entries(
    source: Source,
    transport: TransportName,
    before: str,
    statements: str,
    entries: list[Entry],
    outbox: dict[tuple[str, str], str],
) -> None:
    if before:
        source.database.execute(before)
    async with source.capturing(transport):
        await source.drained("marker 1")
        source.database.execute("delete from cdc.outbox; delete from cdc.journal")
        source.database.execute(statements)
        await source.drained("marker 2")
    assert source.entries() == entries
    assert source.outbox() == outbox


async def test_a_truncate_marks_what_was_delivered(source: Source, transport: TransportName) -> None:
    source.database.execute(
        "insert into cdc.ledger (feed, record_id, key, state) values ('people', 'ada', 'ada', 'sent'),"
        " ('people', 'bob', 'bob', 'sending'), ('people', 'eve', 'eve', 'withdrawn'), ('items', '1', '1', 'sent')"
    )
    source.database.execute("insert into people values ('ada', '')")
    async with source.capturing(transport):
        await source.drained("marker 1")
        source.database.execute("delete from cdc.outbox")
        source.database.execute("begin; truncate people, noise; insert into people values ('new', ''); commit")
        await source.drained("marker 2")
    assert source.outbox() == {("people", "ada"): "live", ("people", "bob"): "live", ("people", "new"): "live"}
    assert source.entries()[-2:] == [("T", "people", ()), ("I", "people", ("new",))]


async def test_a_truncate_marks_what_is_being_delivered_for_the_first_time(
    source: Source, transport: TransportName
) -> None:
    """A worker has read the row, and the ledger doesn't know it yet: it must read again."""
    async with source.capturing(transport):
        source.database.execute("insert into people values ('ada', '')")
        await source.drained("marker 1")
        ada = "select generation from cdc.outbox where feed = 'people' and key = 'ada'"
        before = source.database.execute(ada)
        source.database.execute("update cdc.outbox set claimed_by = 'w', claimed_until = now() + interval '1 hour'")
        source.database.execute("truncate people")
        await source.drained("marker 2")
        assert source.database.execute(ada) > before


async def test_copy_of_many_rows_in_groups(source: Source, transport: TransportName) -> None:
    rows = 5_000
    async with source.capturing(transport, group_changes=700) as capture:
        with source.database.connect() as writer, writer.cursor().copy("copy items from stdin") as copy:
            for number in range(rows):
                copy.write_row((number, f"owner {number % 50}", "x"))
        await source.drained("marker")
        # A stream ends a group where it is full, a peek with the portion that fills it.
        await until(lambda: capture.stats.groups >= 3, what="the last group to be counted")
    assert source.entries() == [("I", "items", (f"owner {n % 50}", str(n))) for n in range(rows)]
    assert len(source.outbox()) == rows + 50


async def test_position_is_the_end_of_the_last_transaction(source: Source, transport: TransportName) -> None:
    with source.database.connect() as writer:
        async with source.capturing(transport):
            for number in range(20):
                with writer.transaction():
                    writer.execute("insert into people values (%s)", [f"p{number}"])
                    writer.execute("insert into items values (%s, 'ada')", [number])
            await source.drained("marker")
            stored = source.database.execute(
                "select lsn::text, open_lsn, open_changes from cdc.position where slot = %s", [source.name]
            )
    ((lsn, open_lsn, open_changes),) = stored
    commits = [entry.commit_lsn for entry in source.journal()]
    assert commits == sorted(commits)
    assert (open_lsn, open_changes) == (None, 0)
    # Exactly behind the last commit record, up to the padding of records to eight bytes.
    assert commits[-1] < Lsn.parse(lsn) <= commits[-1] + 512


async def test_the_slot_is_never_told_more_than_is_stored(source: Source, transport: TransportName) -> None:
    confirmed = [source.confirmed()]
    async with source.capturing(transport, group_changes=50):
        with source.database.connect() as writer:
            for number in range(200):
                writer.execute("insert into items select %s * 100 + n, 'ada' from generate_series(1, 20) n", [number])
                await asyncio.sleep(0)
                if number % 4 == 0:
                    confirmed.append(source.confirmed())  # first the slot, then the position, which only grows
                    assert confirmed[-1] <= source.position()
        await source.drained("marker")
    assert source.confirmed() > confirmed[0]
    assert len(source.entries()) == 4_000


async def test_a_steady_load_is_acknowledged_as_it_goes(source: Source, transport: TransportName) -> None:
    """Keepalives come all the time under such a load; answering them must not crowd out the confirmations."""
    confirmed = [source.confirmed()]
    async with source.capturing(transport):
        with source.database.connect() as writer:
            for number in range(300):
                writer.execute("insert into items values (%s, 'ada')", [number])
                await asyncio.sleep(0.005)
                if number % 30 == 29:
                    confirmed.append(source.confirmed())
    moves = sum(after > before for before, after in pairwise(confirmed))
    assert moves >= 4, [str(lsn) for lsn in confirmed]


async def test_a_stop_stores_and_acknowledges_what_was_read(source: Source, transport: TransportName) -> None:
    async with source.capturing(transport):
        await source.drained("marker 1")
        source.database.execute("insert into noise (body) values ('the last word')")
    assert source.confirmed() == source.position()


async def test_a_stop_is_quick_whenever_it_comes(source: Source, transport: TransportName) -> None:
    loop = asyncio.get_running_loop()
    with source.database.connect() as writer:
        for number in range(15):
            async with source.capturing(transport, poll_seconds=10):
                writer.execute("insert into people values (%s, '')", [f"p{number}"])
                await asyncio.sleep(number / 500)
                begun = loop.time()
            assert loop.time() - begun < 2


async def test_a_column_added_or_dropped_on_the_way_is_harmless(source: Source, transport: TransportName) -> None:
    async with source.capturing(transport):
        source.database.execute(
            """
            begin;
            insert into people values ('one', '');
            alter table people add column phone text default 'none';
            alter table people drop column bio cascade;
            insert into people values ('two', '', 'x');
            alter table people rename column name to full_name;
            update people set full_name = 'x' where id = 'one';
            commit;
            insert into items values (1, 'ada', '');
            alter table items drop column body cascade;
            alter table items add column size int;
            insert into items values (2, 'ada', 7);
        """
        )
        await source.drained("marker")
    assert source.entries() == [
        ("I", "people", ("one",)),
        ("I", "people", ("two",)),
        ("U", "people", ("one",)),
        ("I", "items", ("ada", "1")),
        ("I", "items", ("ada", "2")),
    ]


async def test_bytes_that_do_not_decode_end_capture_and_nothing_behind_them_is_acknowledged(
    source: Source, transport: TransportName
) -> None:
    """Here a key too large for the row, which an update left alone: it isn't sent. Another try would see the same."""
    source.database.execute("alter table items alter column owner set storage external")
    source.database.execute("insert into items values (1, repeat('x', %s))", [BIG])
    async with source.capturing(transport):
        await source.drained("marker 1")
    position = source.position()
    source.database.execute("update items set body = 'x'; insert into people values ('behind')")
    capture = Capture(source.config(transport))
    with pytest.raises(DecodeError, match="a column kind that can't stand here"):
        async with asyncio.timeout(10):
            await capture.run(asyncio.Event())
    assert ("I", "people", ("behind",)) not in source.entries()
    assert source.confirmed() <= source.position() < position + BIG
