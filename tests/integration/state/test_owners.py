"""A column whose field is theirs is never read for delivery, and one that isn't there is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdc.errors import ProfileError
from cdc.routing.feeds import Feed, parse_profile
from cdc.state.truth import Truth
from tests.conftest import Connect
from tests.support.postgres import Database

KEY = b"k" * 32


def feed(**owners: str) -> Feed:
    raw: dict[str, Any] = {
        "sink": "zoho.contacts", "view": "v", "key": "id", "owners": owners, "watch": {"people": {"key": "id"}},
    }  # fmt: skip
    return parse_profile("p", Path("p"), {"people": raw}).feeds["people"]


@pytest.fixture(autouse=True)
def view(database: Database) -> None:
    database.execute("create view v as select 1 as id, 'Ada' as \"Name\", '+1' as \"Phone\"")


async def test_what_is_theirs_is_not_read(connect: Connect) -> None:
    conn = await connect()
    truth = await Truth.open(conn, feed(Phone="theirs", Name="ours"))
    assert [column.name for column in truth.columns] == ["Name"]
    assert [column.name for column in truth.theirs] == ["Phone"]
    [row] = (await truth.read(conn, ["1"], KEY))["1"]
    assert row.fields == {"Name": "Ada"}


async def test_an_owner_of_nothing_is_named(connect: Connect) -> None:
    with pytest.raises(ProfileError, match="view v lacks Fax"):
        await Truth.open(await connect(), feed(Fax="theirs"))
