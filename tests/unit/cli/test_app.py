"""What an error that nobody expected looks like at the command line."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
import typer
from psycopg import errors

from cdc.cli import app as command
from cdc.errors import KeyMissing

SECRET = "ada@example.org"


class _Overflow(errors.NumericValueOutOfRange):
    sqlstate = "22003"


@pytest.mark.parametrize(
    "error", [_Overflow(SECRET), ExceptionGroup("tasks", [ExceptionGroup("pumps", [_Overflow(SECRET)])])]
)
def test_a_database_s_words_never_reach_the_screen(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(command, "build", lambda names: fail)
    with pytest.raises(SystemExit) as ended:
        command.main()
    shown = capsys.readouterr().err
    assert ended.value.code == 1
    assert "SQLSTATE 22003" in shown
    assert SECRET not in shown
    assert "Traceback" not in shown


def test_an_error_of_ours_in_a_group_is_a_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ExceptionGroup(
            "tasks", [ExceptionGroup("pumps", [KeyMissing("key 0123abcd is missing", fix="put it back")])]
        )

    monkeypatch.setattr(command, "build", lambda names: fail)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "cdc: key 0123abcd is missing\n  fix: put it back\n"


@pytest.mark.parametrize("name", sorted(command.COMMANDS))
def test_a_command_alone_is_what_it_is_among_the_others(name: str) -> None:
    alone, among = (typer.main.get_command(app).commands[name] for app in (command.build([name]), command.build()))  # type: ignore[attr-defined]

    assert alone.get_short_help_str() == among.get_short_help_str()
    assert [p.name for p in alone.params] == [p.name for p in among.params]


def test_a_command_does_not_wait_for_what_others_need() -> None:
    heavy = {"cdc.runtime.pipeline", "sinks.simulator.server", "realtime", "cdc.web.server"}
    probe = (
        "import sys; from cdc.cli import main; sys.argv = ['cdc', 'failures', '--help']\n"
        "try: main()\nexcept SystemExit: print(sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert heavy & set(ast.literal_eval(done.stderr)) == set()
