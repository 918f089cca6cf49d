"""What we rely on in Supabase's client, so that a release that changes it is noticed here and not in production."""

from __future__ import annotations

import logging

import pytest
from pydantic import ValidationError
from realtime import AsyncRealtimeClient
from realtime.message import PostgresChangesMessage, ServerMessageAdapter
from structlog.testing import capture_logs

from cdc.source.realtime_log import client_log

EVENT = (
    '{"topic": "realtime:x", "event": "postgres_changes", "ref": null, "payload": {"ids": [1], "data": {"schema": "s",'
    ' "table": "t", "type": "INSERT", "commit_timestamp": %s, "errors": null, "columns": [],'
    ' "record": {"amount": 123456789012.123456789012345678, "id": 9223372036854775807}}}}'
)


def test_an_event_without_a_time_is_dropped_by_the_model() -> None:
    with pytest.raises(ValidationError):
        ServerMessageAdapter.validate_json(EVENT % "null")


def test_fractions_lose_digits_so_no_value_is_taken_from_an_event() -> None:
    message = ServerMessageAdapter.validate_json(EVENT % '"2026-01-01T00:00:00Z"')
    assert isinstance(message, PostgresChangesMessage)
    record = message.payload["data"]["record"]
    assert record is not None
    assert record["id"] == 2**63 - 1
    assert str(record["amount"]) == "123456789012.12346"


def test_the_client_has_what_we_close_it_with_and_watch_it_by() -> None:
    client = AsyncRealtimeClient("http://127.0.0.1:1", "key", auto_reconnect=False)
    channel = client.channel("x")
    assert client._listen_task is None
    assert not client.is_connected
    channel.rejoin_timer.reset()
    channel.join_push.destroy()


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        ("Unrecognized message format b'Ada'\n1 validation error", True),
        ("Something new about Ada", True),
        ("Connection attempt failed: Ada", False),
        ("join push error for channel realtime:x: Ada", False),
    ],
)
def test_a_dropped_message_asks_for_a_sweep_and_no_line_gets_out(
    line: str, asks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []
    logger = logging.getLogger("realtime._async.client")
    with capture_logs() as said, client_log(asked.append):
        logger.error(line)
        logger.debug("receive: Ada")
    assert bool(asked) is asks
    assert "Ada" not in caplog.text + str(said)
    logger.error("heard again")
    assert "heard again" in caplog.text
