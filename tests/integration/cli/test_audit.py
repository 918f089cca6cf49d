"""Commands that change something write down who did it, in the transaction that does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cdc.cli.start import who
from tests.support.cli import app
from tests.support.postgres import Database

KEY = "bm90IGEgcmVhbCBrZXksIG9ubHkgb25lIGZvciB0ZXM="
PARKED = (
    "insert into cdc.outbox (feed, key, lane, generation, dirty_at, due_at, parked_at, reason, detail)"
    " select 'contacts', 'k' || n, 'live', n, now(), now(), now(), %s, %s from generate_series(1, %s) n"
)


@pytest.fixture
def source(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Database:
    database.apply_state()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    monkeypatch.setenv("CDC_ENCRYPTION_KEY", KEY)
    monkeypatch.setenv("CDC_LOG", "json")
    return database


def cdc(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def noted() -> list[tuple[str, str, int, str]]:
    entries = json.loads(cdc("audit", "--json").stdout)
    assert {entry["actor"] for entry in entries} <= {f"cli:{who()}"}
    return [(entry["action"], entry["subject"], entry["count"], entry["because"]) for entry in reversed(entries)]


def test_what_is_done_with_parked_keys_is_noted(source: Database) -> None:
    source.execute(PARKED, ["INVALID_VALUE", None, 7])
    cdc("failures", "retry", "k1", "--feed", "contacts")
    cdc("failures", "retry", "nobody")
    cdc("failures", "discard", "k2", "k3", "k4", "k5", "--because", "left the school")
    cdc("failures", "retry", "--reason", "INVALID_VALUE")
    assert noted() == [
        ("failures.retry", "feed contacts, key k1", 1, ""),
        ("failures.discard", "keys k2, k3, k4 and 1 more", 4, "left the school"),
        ("failures.retry", "reason INVALID_VALUE", 2, ""),
    ]


def test_what_is_decided_of_held_keys_is_noted(source: Database) -> None:
    source.execute(PARKED, ["HELD_BY_BREAKER", "withdrawal", 5])
    cdc("held", "reject", "contacts", "k1", "--because", "a mistake")
    cdc("held", "approve", "contacts", "--kind", "withdrawal", "--as-of", "3", "--because", "meant")
    assert noted() == [
        ("held.reject", "feed contacts, key k1", 1, "a mistake"),
        ("held.approve", "feed contacts, kind withdrawal, as_of 3", 2, "meant"),
    ]


def test_pauses_are_noted_once_for_each_that_was_one(source: Database) -> None:
    for command in ("pause", "resume", "resume"):
        cdc("backfill", command)
    assert [action for action, *_ in noted()] == ["backfill.pause", "backfill.resume"]


def test_a_pause_of_delivery_and_a_change_of_the_log_are_noted(source: Database) -> None:
    cdc("pause", "--reason", "Zoho is being cleaned up", "--for", "2h")
    cdc("pause", "contacts", "badges_earned", "--reason", "why not")
    cdc("resume", "contacts")
    cdc("resume")
    cdc("resume")
    cdc("log-level", "debug", "--for", "10m")
    assert [entry[:3] for entry in noted()] == [
        ("pause", "everything, for 2 h", 1),
        ("pause", "feeds contacts, badges_earned", 2),
        ("resume", "feeds contacts", 1),
        ("resume", "everything", 1),
        ("log_level", "debug, for 10 min", 1),
    ]
    assert noted()[0][3] == "Zoho is being cleaned up"


def test_a_sweep_is_noted_with_what_it_marked_and_a_dry_one_is_not(source: Database) -> None:
    source.apply_profile("core", sample=True)
    cdc("sweep", "--dry-run")
    assert noted() == []
    cdc("sweep", "contacts")
    [(people,)] = source.execute("select count(*) from cdc.contacts")
    cdc("sweep", "contacts", "--force")
    assert noted() == [
        ("sweep", "feed contacts", people, ""),
        ("sweep", "feed contacts, sent even if equal", people, ""),
    ]


def test_nothing_is_done_that_cannot_be_noted(source: Database) -> None:
    source.execute(PARKED, ["INVALID_VALUE", None, 1])
    source.execute("alter table cdc.audit add constraint full_disk check (false) not valid")
    result = CliRunner().invoke(app, ["failures", "discard", "k1", "--because", "x"])
    assert result.exit_code != 0
    assert source.execute("select count(*) from cdc.outbox where parked_at is not null") == [(1,)]


def test_a_list_is_read_in_pages_and_cut_nowhere(source: Database) -> None:
    source.execute(
        "insert into cdc.audit (actor, action, subject) select 'web:a', 'pause', 's' || n from generate_series(1, 9) n"
    )
    told = cdc("audit", "--limit", "2").stdout
    assert "s9" in told
    assert "s7" not in told
    older = json.loads(cdc("audit", "--limit", "2", "--before", "8", "--json").stdout)
    assert [entry["subject"] for entry in older] == ["s7", "s6"]
    source.execute("truncate cdc.audit")
    assert "nothing was done by hand" in cdc("audit").output
