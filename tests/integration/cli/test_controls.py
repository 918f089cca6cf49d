"""Pausing, resuming, the log level and the schedule at the command line, on a real state."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cdc.errors import ConfigError
from cdc.state.database import migrate
from tests.acceptance.processes import ENCRYPTION_KEY, url_of
from tests.support.cli import app
from tests.support.postgres import Database

Command = Callable[..., Result]


@pytest.fixture
def cdc(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """The command in this process, on a database with the state and nothing set up."""
    database.apply_profile("core", sample=True)
    asyncio.run(migrate(database.dsn))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", url_of(database.dsn))
    monkeypatch.setenv("CDC_ENCRYPTION_KEY", ENCRYPTION_KEY)
    monkeypatch.setenv("CDC_LOG", "json")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    return run


def scopes(database: Database) -> Sequence[str]:
    return [row[0] for row in database.execute("select scope from cdc.pause where paused_until > now() order by 1")]


def pauses(cdc: Command) -> list[Any]:
    found: list[Any] = json.loads(cdc("status", "--json").stdout)["pauses"]
    return found


def test_everything_is_paused_and_resumed_and_the_status_says_who_why_and_until_when(
    cdc: Command, database: Database
) -> None:
    assert "capture goes on" in cdc("pause", "--reason", "the CRM moves").stdout
    assert scopes(database) == ["*"]
    [pause] = pauses(cdc)
    assert (pause["reason"], pause["detail"], pause["until"]) == ("BY_HAND", "the CRM moves", None)
    assert "@" in pause["actor"]
    shown = cdc("status")
    assert shown.exit_code == 3
    words = " ".join(shown.stdout.split())
    assert f"all delivery is paused by {pause['actor']}" in words
    assert "the CRM moves" in words

    ended = cdc("resume")
    assert (ended.exit_code, ended.stdout.strip()) == (0, "all delivery is resumed")
    assert scopes(database) == []
    again = cdc("resume")
    assert (again.exit_code, again.stdout.strip()) == (0, "all delivery is not paused by anybody")


def test_a_feed_is_paused_for_a_while_and_apart_from_everything(cdc: Command, database: Database) -> None:
    assert cdc("pause", "contacts", "quest_completions", "--for", "2h", "--reason", "look").exit_code == 0
    assert cdc("pause", "--reason", "all").exit_code == 0
    assert scopes(database) == ["*", "contacts", "quest_completions"]
    left = database.execute("select extract(epoch from paused_until - now())::int from cdc.pause where scope <> '*'")
    assert all(7_100 < seconds <= 7_200 for (seconds,) in left)

    one = cdc("resume", "contacts")
    assert one.exit_code == 3, "everything is still paused"
    assert "contacts is resumed" in one.stdout
    assert "still: all delivery is paused" in one.stderr
    assert "quest_completions" not in one.stderr
    rest = cdc("resume")
    assert rest.exit_code == 3
    assert "still: delivery of quest_completions is paused" in rest.stderr
    assert "cdc resume quest_completions" in rest.stderr


def test_a_person_does_not_lift_what_a_gap_holds(cdc: Command, database: Database) -> None:
    database.execute("insert into cdc.control (scope, paused_until, reason) values ('*', 'infinity', 'GAP_UNDECIDED')")
    assert cdc("pause", "--reason", "look").exit_code == 0
    ended = cdc("resume")
    assert ended.exit_code == 3
    assert "GAP_UNDECIDED" in ended.stderr
    assert database.execute("select reason from cdc.control") == [("GAP_UNDECIDED",)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pause", "people", "--reason", "x"), "contacts"),
        (("pause", "--reason", " "), "--reason is empty"),
        (("pause", "--for", "soon", "--reason", "x"), "--for"),
        (("resume", "people"), "contacts"),
        (("log-level", "debug", "--for", "0m"), "--for"),
        (("schedule", "run", "lunch"), "retention"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_changed(
    cdc: Command, database: Database, arguments: tuple[str, ...], words: str
) -> None:
    refused = cdc(*arguments)
    assert isinstance(refused.exception, ConfigError)
    assert words in str(refused.exception)
    assert scopes(database) == []


def test_the_log_level_is_set_for_a_while_and_given_back(cdc: Command, database: Database) -> None:
    assert cdc("log-level", "DEBUG", "--for", "10m").exit_code == 0
    query = "select level, extract(epoch from until - set_at)::int from cdc.log_level"
    assert database.execute(query) == [("debug", 600)]
    assert cdc("log-level", "default").exit_code == 0
    assert database.execute(query) == []
    assert cdc("log-level", "trace").exit_code == 2


def test_the_schedule_shows_what_ran_and_a_job_can_be_run_now(cdc: Command, database: Database) -> None:
    before = json.loads(cdc("schedule", "--json").stdout)
    assert {row["job"]: row["last"] for row in before} == {"sweep": None, "healthcheck": None, "retention": None}

    ran = cdc("schedule", "run", "sweep")
    assert ran.exit_code == 0, ran.output
    assert "sweep done: contacts" in ran.stdout
    marked = database.execute("select count(*) from cdc.outbox")[0][0]
    [row] = [row for row in json.loads(cdc("schedule", "--json").stdout) if row["job"] == "sweep"]
    assert row["last"]["outcome"] == "done"
    assert sum(row["last"]["detail"].values()) == marked > 0
    assert row["next"] > row["last"]["started_at"]
    shown = cdc("schedule").stdout
    assert "daily at 02:00 UTC" in shown
    assert row["last"]["by"] in shown

    database.execute(
        "insert into cdc.job_run (name, due_at, actor, started_at, leased_until)"
        " values ('sweep', now(), 'somebody', now(), now() + interval '1 minute')"
    )
    refused = cdc("schedule", "run", "sweep")
    assert refused.exit_code == 1
    assert "under way in another process" in refused.stderr
