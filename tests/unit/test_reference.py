"""The committed reference pages are what the code says today, and leave nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cdc.settings import Settings, load_settings
from sinks.reasons import Reason
from tests.support.reference import ENV_EXAMPLE, FOLDER, PAGES, commands, env_example, state_tables


def page(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_page_is_current(name: str) -> None:
    assert page(name) == PAGES[name](), "run `make docs` and commit what it writes"


def test_the_example_of_a_dotenv_is_current_and_holds_every_setting() -> None:
    text = ENV_EXAMPLE.read_text(encoding="utf-8")
    assert text == env_example(), "run `make docs` and commit what it writes"
    assert sorted(re.findall(r"^(?:# )?([A-Z_]+)=", text, re.MULTILINE)) == sorted(
        n.upper() for n in Settings.model_fields
    )


def test_the_example_taken_as_it_is_sets_nothing_and_with_its_comments_off_only_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    defaults = load_settings()
    (tmp_path / ".env").write_text(env_example(), encoding="utf-8")
    assert load_settings() == defaults
    (tmp_path / ".env").write_text(re.sub(r"^# ([A-Z_]+=)", r"\1", env_example(), flags=re.MULTILINE), encoding="utf-8")
    assert load_settings() == defaults


@pytest.mark.parametrize("setting", Settings.model_fields)
def test_setting_is_documented(setting: str) -> None:
    row = next(line for line in page("settings.md").splitlines() if line.startswith(f"| `{setting.upper()}` |"))
    description = Settings.model_fields[setting].description
    assert description
    assert description in row


@pytest.mark.parametrize("reason", Reason)
def test_reason_has_an_anchor_a_meaning_and_a_hint(reason: Reason) -> None:
    section = page("reasons.md").split(f"\n## {reason.name}\n")[1].split("\n## ")[0]
    assert reason.meaning in section
    assert reason.hint in section


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_command_is_documented_with_all_it_takes(path: tuple[str, ...]) -> None:
    command = dict(commands())[path]
    section = page("cli.md").split(f"\n## {' '.join(('cdc', *path))}\n")[1].split("\n## ")[0]
    assert command.help
    assert f"Usage: {' '.join(('cdc', *path))}" in section
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{parameter.name} has no help"
        assert parameter.opts[0].upper() in section.upper()


def test_hints_name_only_commands_that_there_are() -> None:
    known = {path for path, _ in commands()}
    for reason in Reason:
        for words in re.findall(r"`cdc ([^`]*)`", reason.hint):
            path = tuple(word for word in words.split() if word.islower() and not word.startswith("-"))
            assert path in known, f"{reason.name}: {words}"


def test_every_table_of_the_state_has_a_comment_and_columns() -> None:
    tables = state_tables()
    assert {"position", "outbox", "journal", "ledger", "control", "zoho_sync_log"} <= tables.keys()
    for name, (comment, columns) in tables.items():
        assert comment, f"cdc.{name} has no comment"
        assert len(columns) >= 3, f"cdc.{name}: {columns}"
