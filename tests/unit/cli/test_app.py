"""What an error that nobody expected looks like at the command line."""

from __future__ import annotations

import pytest
from psycopg import errors

from cdc.cli import app as command

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

    monkeypatch.setattr(command, "app", fail)
    with pytest.raises(SystemExit) as ended:
        command.main()
    shown = capsys.readouterr().err
    assert ended.value.code == 1
    assert "SQLSTATE 22003" in shown
    assert SECRET not in shown
    assert "Traceback" not in shown
