"""The log at its loudest holds no value of a row."""

from __future__ import annotations

from tests.acceptance.processes import Cdc, Crm
from tests.support.postgres import Database

_SHORTEST = 5
"""Shorter names are words of the log as well."""


def test_debug_never_logs_what_a_row_holds(configured: Cdc, source: Database, crm: Crm) -> None:
    people = source.execute("select id::text, first_name, last_name, email, display_name from public.users")
    crm.fault(
        action="refuse", kind="upsert", code="INVALID_DATA", times=1,
        where={"External_ID": people[0][0]}, details={"api_name": "Last_Name"},
    )  # fmt: skip

    result = configured.using(CDC_LOG="json", CDC_LOG_LEVEL="debug")("run", "--until-idle", "--json")

    assert result.code in {0, 3}, result.err
    assert '"level": "debug"' in result.err
    assert result.json["contacts"] > 0
    values = {value for row in people for value in row[1:] if value and len(value) >= _SHORTEST}
    assert values
    assert {value for value in values if value in result.err} == set()
