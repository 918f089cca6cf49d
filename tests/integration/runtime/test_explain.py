"""One record's story from a really captured journal, with a sink in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cdc.delivery.planner import field_hash
from cdc.errors import CdcError, ConfigError
from cdc.runtime.explain import explain, find_feed
from cdc.runtime.story import Story
from sinks.base import FieldValue, Held
from sinks.errors import SinkError
from sinks.reasons import Reason
from tests.conftest import Connect
from tests.support.capture import Source
from tests.support.postgres import Database

KEY = b"k" * 32


class Reader:
    """Holds one record, or fails."""

    def __init__(self, held: Held | None = None, error: SinkError | None = None) -> None:
        self.held, self.error = held, error
        self.asked: list[tuple[str, str | None]] = []

    async def read(self, record_id: str, crm_id: str | None, columns: Sequence[str]) -> Held | None:
        self.asked.append((record_id, crm_id))
        if self.error is not None:
            raise self.error
        return self.held

    def same(self, column: str, ours: FieldValue, theirs: object) -> bool:
        return ours == theirs


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    made = await Source.make(database, tmp_path)
    async with made.capturing("stream"):
        for statement in (
            "insert into people values ('ada', 'Ada'), ('bob', 'Bob')",
            "insert into items values (7, 'ada', 'x')",
            "update people set id = 'countess' where id = 'ada'",
            "truncate items",
            "insert into items values (8, 'bob', 'y')",
        ):
            database.execute(statement)
            await made.drained(f"marker {len(made.journal())}")
    database.execute("delete from cdc.outbox")
    return made


async def story(connect: Connect, source: Source, feed: str, key: str, reader: Reader | None = None) -> Story:
    views, state = await connect(), await connect()
    await views.execute("set time zone 'UTC'")
    return await explain(views, state, source.name, source.profile.feeds[feed], key, KEY, reader)


def changes(told: Story) -> list[tuple[str, str]]:
    return [(change.table.removeprefix("public."), change.kind) for change in told.searched.changes]


async def test_changes_are_found_by_every_column_that_holds_the_key(source: Source, connect: Connect) -> None:
    ada = await story(connect, source, "people", "ada")
    assert changes(ada) == [("people", "I"), ("items", "I"), ("people", "O"), ("items", "T")]
    lsns = [change.lsn for change in ada.searched.changes]
    assert lsns == sorted(lsns), "oldest first"
    assert changes(await story(connect, source, "people", "countess")) == [("people", "U"), ("items", "T")]
    assert changes(await story(connect, source, "items", "7")) == [("items", "I"), ("items", "T")]
    nobody = await story(connect, source, "people", "nobody")
    assert changes(nobody) == [("items", "T")]
    assert "never came to delivery" in nobody.verdict()[0]


async def test_the_plan_is_that_of_delivery(source: Source, connect: Connect, database: Database) -> None:
    told = await story(connect, source, "people", "bob")
    assert [(step.what, step.fields) for step in told.steps] == [("create", ("Last_Name",))]
    assert "nobody has marked it" in told.verdict()[0]

    database.execute(
        "insert into cdc.ledger (feed, record_id, key, crm_id, state, field_hashes) values"
        " ('people', 'bob', 'bob', 'crm-1', 'sent', jsonb_build_object('Last_Name', %s::text))",
        [field_hash(KEY, "Last_Name", "Bob")],
    )
    assert [step.what for step in (await story(connect, source, "people", "bob")).steps] == ["nothing"]
    database.execute("update people set name = 'Robert' where id = 'bob'")
    told = await story(connect, source, "people", "bob")
    assert [(step.what, step.fields) for step in told.steps] == [("update", ("Last_Name",))]


async def test_a_dirty_mark_and_a_pause_are_told(source: Source, connect: Connect, database: Database) -> None:
    database.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, forced, parked_at, reason, detail, attempts) values"
        " ('people', 'bob', 'bulk', now(), now(), true, now(), 'INVALID_VALUE', 'INVALID_DATA: Last_Name', 8)"
    )
    database.execute(
        "insert into cdc.control (scope, paused_until, reason) values ('zoho', now() + '1 hour', 'UNAVAILABLE')"
    )
    database.execute(
        "insert into cdc.zoho_sync_log (sync_type, action, status, record_id, reason, error_message, attempts)"
        " values ('people', 'create', 'failed', 'bob', 'INVALID_VALUE', 'INVALID_DATA: Last_Name', 8)"
    )

    told = await story(connect, source, "people", "bob")

    assert told.dirty is not None
    assert (told.dirty.lane, told.dirty.attempts, told.dirty.reason) == ("bulk", 8, "INVALID_VALUE")
    assert [(call.action, call.status, call.reason) for call in told.calls] == [("create", "failed", "INVALID_VALUE")]
    assert "parked: INVALID_VALUE" in told.verdict()[0]
    assert "delivery to zoho is paused: UNAVAILABLE" in told.verdict()


async def test_the_crm_is_asked_by_the_id_in_the_ledger(source: Source, connect: Connect, database: Database) -> None:
    database.execute(
        "insert into cdc.ledger (feed, record_id, key, crm_id, state) values ('people', 'bob', 'bob', 'crm-1', 'sent')"
    )
    reader = Reader(Held(crm_id="crm-1", fields={"Last_Name": "Somebody Else"}))

    told = await story(connect, source, "people", "bob", reader)

    assert reader.asked == [("bob", "crm-1")]
    assert told.in_crm is not None
    [record] = told.in_crm
    assert [(pair.name, pair.ours, pair.theirs, pair.is_equal) for pair in record.pairs] == [
        ("Last_Name", "Bob", "Somebody Else", False)
    ]
    with pytest.raises(CdcError, match=r"the CRM can't be asked: UNAVAILABLE") as caught:
        await story(connect, source, "people", "bob", Reader(error=SinkError(Reason.UNAVAILABLE)))
    assert "--offline" in str(caught.value.fix)


async def test_a_key_alone_finds_its_feed(source: Source, connect: Connect, database: Database) -> None:
    database.execute(
        "insert into cdc.ledger (feed, record_id, key, crm_id, state) values"
        " ('items', 'event-9', '9', 'crm-9', 'sent'), ('people', '9', '9', 'crm-8', 'withdrawn')"
    )

    async def found(name: str) -> tuple[str, str]:
        feed, key = await find_feed(await connect(), await connect(), source.profile, name)
        return feed.name, key

    assert await found("bob") == ("people", "bob")
    assert await found("8") == ("items", "8")
    assert await found("crm-9") == await found("event-9") == ("items", "9")
    for name, words in (("9", "known in several feeds"), ("nobody", "known in no feed")):
        with pytest.raises(ConfigError, match=words):
            await found(name)


async def test_nothing_is_told_of_other_slots(source: Source, connect: Connect) -> None:
    views: Any = await connect()
    told = await explain(views, await connect(), "another", source.profile.feeds["people"], "ada", KEY, None)
    assert (told.searched.total, told.searched.since) == (0, None)
