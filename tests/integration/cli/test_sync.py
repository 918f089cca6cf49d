"""`cdc sync` on a real outbox."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdc.state.database import migrate
from tests.acceptance.processes import ENCRYPTION_KEY, url_of
from tests.support.cli import app
from tests.support.postgres import Database

GONE = "00000000-0000-4000-8000-000000000001"


def test_a_record_is_marked_whole_and_an_unknown_one_is_named(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database.apply_profile("core", sample=True)
    asyncio.run(migrate(database.dsn))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", url_of(database.dsn))
    monkeypatch.setenv("CDC_ENCRYPTION_KEY", ENCRYPTION_KEY)
    [(key,)] = database.execute("select user_id::text from cdc.contacts order by 1 limit 1")
    database.execute(  # delivered, then gone from the view
        "insert into cdc.ledger (feed, record_id, key, state) values ('contacts', %s, %s, 'sent')", [GONE, GONE]
    )

    done = CliRunner().invoke(app, ["sync", "contacts", key, GONE, "nobody"])

    assert done.exit_code == 3
    assert done.stdout == "2 marked; a worker sends them at once\n"
    assert "nobody is neither in cdc.contacts nor was it ever sent" in done.stderr
    assert database.execute("select key, lane, forced, cause from cdc.outbox order by key") == [
        (one, "live", True, "by hand") for one in sorted([key, GONE])
    ]
    assert database.execute("select action, count from cdc.audit") == [("record.sync", 2)]
