"""`cdc init`, stopped at every question, and what else a person may say to it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import typer
from rich.console import Console

from cdc.cli.answers import Answers
from cdc.cli.asking import Asker, Question
from cdc.cli.init import conclude
from cdc.cli.start import EXIT_REFUSED
from cdc.cli.wizard import Wizard
from cdc.errors import ConfigError, KeyMissing
from cdc.state.database import migrate
from cdc.state.envelope import Key
from sinks.zoho.scopes import SCOPES
from tests.integration.cli.conftest import Place
from tests.support.postgres import Database

BEFORE = "# mine\nCDC_JOURNAL_DAYS=3\nZOHO_CLIENT_ID=old\n"


class Script:
    """Says what a person would; stops where it is told to."""

    def __init__(self, answers: dict[str, list[str]], *, stop_at: int = 10_000) -> None:
        self._answers = {words: iter(said) for words, said in answers.items()}
        self._stop_at = stop_at
        self.asked: list[str] = []

    def __call__(self, text: str, default: object = "", **_: object) -> object:
        if len(self.asked) == self._stop_at:
            raise typer.Abort
        self.asked.append(text)
        for words, said in self._answers.items():
            if text.startswith(words):
                return next(said, default)
        return default


@pytest.fixture
def ready(place: Place, database: Database, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The application's tables, a file that is there, and nothing else."""
    database.apply_profile("core", sample=True)
    database.execute("drop schema if exists cdc cascade")
    monkeypatch.delenv("DATABASE_URL")
    (place.folder / ".env").write_text(BEFORE, encoding="utf-8")
    return place


def said(place: Place, database: Database) -> dict[str, list[str]]:
    code = httpx.post(f"{place.crm.url}/_sim/codes", json={}).json()["code"]
    return {
        "Database URL": [database.dsn], "Profile": ["core"], "Run this": ["y"], "Zoho client id": [place.crm.client_id],
        "Zoho client secret": [place.crm.client_secret], "How to": ["code"], "Code": [code], "Channel": ["slack"],
        "Slack": ["http://slack.example/s3cr3t", "https://hooks.slack.example/services/T/B/s3cr3t"],
        ".env is there": ["y"], "Do it": ["y"],
    }  # fmt: skip


def everything(place: Place, database: Database) -> tuple[object, ...]:
    return (
        (place.folder / ".env").read_text(encoding="utf-8"),
        database.execute("select nspname from pg_namespace order by 1"),
        database.execute("select pubname from pg_publication"),
        database.execute("select slot_name from pg_replication_slots where database = current_database()"),
        database.execute("select oid::regclass::text, relreplident from pg_class where oid > 16384 order by 1"),
        sorted(place.crm.simulation.tokens._refresh),
        sorted(f.api_name for m in place.crm.simulation.org.modules.values() for f in m.fields.values() if f.custom),
    )  # fmt: skip


Talk = Callable[[Script], tuple[Wizard, Console]]


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Talk:
    def begin(script: Script) -> tuple[Wizard, Console]:
        monkeypatch.setattr(typer, "prompt", script)
        console = Console(record=True, width=500, file=None, quiet=False, stderr=True)
        return Wizard(Answers(Path(".env")), console, 53682), console

    return begin


def test_stopped_at_any_question_it_leaves_everything_as_it_was(ready: Place, database: Database, talk: Talk) -> None:
    before = everything(ready, database)
    for stop_at in itertools.count():
        script = Script(said(ready, database), stop_at=stop_at)
        wizard, console = talk(script)
        try:
            assert wizard.run() == 0
            break
        except typer.Abort:
            assert "nothing was changed" in wizard.interrupted()
        assert everything(ready, database) == before, script.asked
        shown = console.export_text()
        assert "Database" in shown
        for secret in (ready.crm.client_secret, "s3cr3t"):
            assert secret not in shown
    assert len(script.asked) >= 11, script.asked

    written = (ready.folder / ".env").read_text(encoding="utf-8")
    assert written.startswith(f"# mine\nCDC_JOURNAL_DAYS=3\nZOHO_CLIENT_ID={ready.crm.client_id}\n")
    assert "CDC_ALERT_SLACK_URL=https://hooks.slack.example/services/T/B/s3cr3t\n" in written
    assert "ZOHO_EDITION=standard\n" in written
    assert database.execute("select count(*) from cdc.zoho_tokens where client_id is not null") == [(1,)]
    assert "External_ID" in ready.crm.simulation.org.modules["Contacts"].fields
    text = console.export_text()
    for secret in (ready.crm.client_secret, "s3cr3t", *ready.crm.simulation.tokens._refresh):
        assert secret not in text


@pytest.mark.parametrize("question", ["Run this", ".env is there", "Do it"])
def test_a_no_leaves_everything_as_it_was(ready: Place, database: Database, talk: Talk, question: str) -> None:
    before = everything(ready, database)
    wizard, console = talk(Script({**said(ready, database), question: ["n"]}))
    assert wizard.run() == EXIT_REFUSED
    assert "othing was changed" in console.export_text()
    assert everything(ready, database) == before


def test_the_sql_can_be_taken_away_and_run_by_somebody_else(ready: Place, database: Database, talk: Talk) -> None:
    wizard, console = talk(Script({**said(ready, database), "Run this": ["s", "e", "n"], "Zoho client id": [""]}))
    assert wizard.run() == EXIT_REFUSED, "nobody has run it, so it is asked again"
    script = (ready.folder / "cdc-setup.sql").read_text(encoding="utf-8")
    shown = console.export_text()
    for words in ("create table cdc.outbox", "create publication", "pg_create_logical_replication_slot"):
        assert words in script
        assert words in shown


def test_a_state_whose_key_isnt_set_is_not_taken_over(ready: Place, database: Database, talk: Talk) -> None:
    asyncio.run(migrate(database.dsn))
    foreign = ".".join(("v1", "0123abcd", "bm9uY2U", "c2VhbGVk"))
    database.execute("insert into cdc.secret (name, sealed) values ('ledger', %s)", [foreign])
    wizard, console = talk(Script({**said(ready, database), "Encryption key": ["bm90LWEta2V5"]}, stop_at=3))
    with pytest.raises(typer.Abort):
        wizard.run()
    assert "key 0123abcd" in console.export_text()
    assert database.execute("select sealed from cdc.secret") == [(foreign,)]


def test_without_a_terminal_it_says_how_to_go_on(place: Place) -> None:
    result = place.run("init")
    assert isinstance(result.exception, ConfigError)
    assert "--non-interactive" in str(result.exception)


def test_help_is_shown_and_wrong_answers_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(record=True, width=200, stderr=True)
    monkeypatch.setattr(typer, "prompt", Script({"Color": ["?", "green", "", "BLUE"], "Secret": ["********"]}))
    asker = Asker(console)
    question = Question("COLOR", "Color", "red like the sea", choices=("red", "blue"))
    assert asker.ask(question) == "blue"
    text = console.export_text()
    assert "red like the sea" in text
    assert "one of red, blue" in text
    assert "an answer is needed" in text
    assert asker.ask(Question("S", "Secret", "", is_secret=True), "kept") == "kept"


def test_a_script_is_told_all_that_is_missing_and_nothing_is_changed(
    ready: Place, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ready.folder / ".env").write_text("CDC_JOURNAL_DAYS=3\n", encoding="utf-8")
    before = everything(ready, database)
    bare = ready.run("init", "--non-interactive")
    assert isinstance(bare.exception, ConfigError)
    assert "not set: DATABASE_URL, ZOHO_CLIENT_ID, ZOHO_CLIENT_SECRET" in str(bare.exception)
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    monkeypatch.setenv("ZOHO_CLIENT_ID", ready.crm.client_id)
    monkeypatch.setenv("ZOHO_CLIENT_SECRET", ready.crm.client_secret)
    early = ready.run("init", "--non-interactive")
    assert isinstance(early.exception, ConfigError)
    assert "ZOHO_REFRESH_TOKEN, and nobody has signed in" in str(early.exception)
    monkeypatch.setenv("ZOHO_REFRESH_TOKEN", "1000.revoked")
    refused = ready.run("init", "--non-interactive")
    assert isinstance(refused.exception, ConfigError)
    assert "the CRM refuses" in str(refused.exception)
    assert everything(ready, database) == before


def test_at_the_end_everything_is_examined_and_three_commands_are_named() -> None:
    examined: list[str] = []
    for doctor in (lambda: examined.append("yes"), None):
        console = Console(record=True, width=200, stderr=True)
        conclude(console, doctor)
        shown = console.export_text()
        for command in ("cdc backfill --dry-run", "cdc run", "cdc status"):
            assert command in shown
        assert ("cdc doctor" in shown) == (doctor is None)
    assert examined == ["yes"]


def test_a_script_sets_up_signs_in_delivers_and_changes_the_key(
    ready: Place, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = ready.folder / ".env"
    env.write_text("CDC_ROLLUP_SECONDS=1\n", encoding="utf-8")
    for name, value in (
        ("DATABASE_URL", database.dsn), ("ZOHO_CLIENT_ID", ready.crm.client_id),
        ("ZOHO_CLIENT_SECRET", ready.crm.client_secret), ("ZOHO_REFRESH_TOKEN", ready.crm.refresh_token),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cdc.cli.init.find_doctor", lambda _: None)
    done = ready.run("init", "--non-interactive")
    assert done.exit_code == 0, (done.output, done.exception)
    old = env.read_text(encoding="utf-8").removeprefix("CDC_ROLLUP_SECONDS=1\nCDC_ENCRYPTION_KEY=").strip()
    assert "=" not in old.rstrip("="), "what the environment says is left to it"
    assert old not in done.output

    monkeypatch.delenv("ZOHO_REFRESH_TOKEN")
    database.execute("delete from cdc.zoho_tokens")
    assert "nobody has signed in" in str(ready.run("run", "--until-idle").exception)
    code = httpx.post(f"{ready.crm.url}/_sim/codes", json={"scopes": [*SCOPES]}).json()["code"]
    signed_in = ready.run("login", "zoho", "--code", "--without-fields", types=f"{code}\n")
    assert "Simulated Organisation" in signed_in.stdout
    first = ready.run("run", "--until-idle", "--json")
    assert first.exit_code == 0, first.output
    contacts = database.execute("select count(*) from cdc.contacts")[0][0]
    assert len(ready.crm.simulation.records.tables["Contacts"].records) == contacts > 0, "these scopes are enough"

    assert ready.run("keys", "rotate").exit_code == 0
    new = env.read_text(encoding="utf-8").split("CDC_ENCRYPTION_KEY=")[1].split(",")[0]
    assert ready.run("keys", "rotate").exit_code == 0
    env.write_text(f"CDC_ENCRYPTION_KEY={Key.new().text()}\n", encoding="utf-8")
    kept = "select p::text, s::text, z::text from cdc.position p, cdc.secret s, cdc.zoho_tokens z"
    stored = database.execute(kept)
    assert isinstance(ready.run("run", "--until-idle").exception, KeyMissing)
    assert database.execute(kept) == stored, "refused before anything was changed"
    env.write_text(f"CDC_ENCRYPTION_KEY={new}\n", encoding="utf-8")

    swept = json.loads(ready.run("sweep", "--json").stdout)
    assert swept["contacts"]["compared"] == contacts
    assert {feed["changed"] + feed["missing"] for feed in swept.values()} == {0}, "the hashes are as they were"
