"""A `.env` file keeps what isn't ours, and gives back what was written."""

from __future__ import annotations

import stat
from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import example, given
from hypothesis import strategies as st

from cdc.cli.answers import Answers
from cdc.cli.envfile import changed, quoted, write
from cdc.errors import ConfigError

_TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"), blacklist_characters="\x85"))


@given(_TEXT.filter(lambda text: "${" not in text))
@example("$A 'single' \"double\" \\ # end = ")
def test_a_value_is_read_back_as_it_was(value: str) -> None:
    assert dotenv_values(stream=StringIO(f"A={quoted(value)}\nB=2\n")) == {"A": value, "B": "2"}


def test_a_value_that_would_be_read_as_another_is_refused() -> None:
    for value, words in (("one\ntwo", "line break"), ("pass${word}", r"has \$\{ in it")):
        with pytest.raises(ConfigError, match=words):
            quoted(value)


def test_lines_are_replaced_where_they_stand_and_the_rest_is_kept() -> None:
    before = "# first\nexport A=1\n\nSTRANGE line\nB = 'two'  # why\nA=3\n"
    assert (
        changed(before, {"A": "9", "C": "p@ss word"})
        == "# first\nA=9\n\nSTRANGE line\nB = 'two'  # why\nC='p@ss word'\n"
    )
    assert changed("", {"A": "1"}) == "A=1\n"
    assert changed(before, {}) == before


def test_the_file_is_the_owner_s_alone_and_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    path.chmod(0o644)
    write(path, "A=2\n")
    assert path.read_text() == "A=2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [".env"]
    (tmp_path / "link").symlink_to(path)
    write(tmp_path / "link", "A=3\n")
    assert ((tmp_path / "link").is_symlink(), path.read_text()) == (True, "A=3\n")
    with pytest.raises(ConfigError, match="can't be written"):
        write(tmp_path / "nowhere" / ".env", "A=2\n")


def test_answers_know_what_is_new_replaced_and_of_no_effect(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("CDC_PROFILE=core\nZOHO_CLIENT_ID=old\nOTHER=1\n")
    answers = Answers(path, {"ZOHO_CLIENT_SECRET": "from-environment", "CDC_SLOT": "a"})
    assert (answers["CDC_PROFILE"], answers["ZOHO_CLIENT_SECRET"], answers["ZOHO_USERS"]) == (
        "core", "from-environment", "",
    )  # fmt: skip
    for name, value in (
        ("CDC_PROFILE", "core"), ("ZOHO_CLIENT_ID", "new"), ("ZOHO_CLIENT_SECRET", "from-environment"),
        ("CDC_SLOT", "b"), ("ZOHO_USERS", "3"),
    ):  # fmt: skip
        answers.give(name, value)
    assert answers.to_write() == {"ZOHO_CLIENT_ID": "new", "CDC_SLOT": "b", "ZOHO_USERS": "3"}
    assert answers.replaced() == ["ZOHO_CLIENT_ID"]
    assert answers.shadowed() == ["CDC_SLOT"]
    answers.save()
    assert path.read_text() == "CDC_PROFILE=core\nZOHO_CLIENT_ID=new\nOTHER=1\nCDC_SLOT=b\nZOHO_USERS=3\n"
