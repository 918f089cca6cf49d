"""The log: one form for our lines and for those of libraries, and never a local variable."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from cdc.logging import configure_logging, set_level


def fail(password: str) -> None:
    raise ValueError("it failed")


def test_json_is_one_object_a_line_whoever_writes_it() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)

    structlog.get_logger().info("captured", keys=3)
    logging.getLogger("psycopg.pool").warning("error connecting in %r", "views")

    ours, theirs = map(json.loads, stream.getvalue().splitlines())
    assert (ours["event"], ours["keys"], ours["level"]) == ("captured", 3, "info")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == (
        "error connecting in 'views'", "warning", "psycopg.pool",
    )  # fmt: skip
    assert ours["timestamp"] < theirs["timestamp"]


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_shows_no_values(form: str) -> None:
    stream = io.StringIO()
    configure_logging(form, stream=stream)  # type: ignore[arg-type]

    try:
        fail("MARKED-" + "secret")
    except ValueError:
        structlog.get_logger().exception("broken")

    assert "it failed" in stream.getvalue()
    assert "MARKED-secret" not in stream.getvalue()


def test_the_level_holds_for_both() -> None:
    stream = io.StringIO()
    configure_logging("text", level=logging.WARNING, stream=stream)

    structlog.get_logger().info("quiet")
    logging.getLogger("some.library").info("quiet")
    structlog.get_logger().warning("loud")

    assert stream.getvalue().count("\n") == 1
    assert "loud" in stream.getvalue()


def test_auto_is_json_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("auto")
    structlog.get_logger().info("captured")
    assert json.loads(capsys.readouterr().err)["event"] == "captured"


def test_a_level_set_while_it_runs_holds_at_once_and_libraries_stay_as_they_are() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    log = structlog.get_logger()

    log.debug("one")
    assert set_level("debug")
    assert not set_level("debug")
    log.debug("two")
    logging.getLogger("httpx").info("GET https://www.zohoapis.eu/crm/v8/Contacts/search?email=ada@example.org")
    logging.getLogger("psycopg").debug("row")
    assert set_level("error")
    log.warning("three")
    assert set_level(None)
    log.info("four")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["two", "four"]
