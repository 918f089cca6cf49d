"""`cdc setup`: idempotent, shown before it is done, and readable by psql."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import LiteralString, cast

from cdc.embedded.binaries import find_binaries
from tests.acceptance.processes import Cdc, Crm, simulator
from tests.support.postgres import Database


def run_script(source: Database, script: str, folder: Path) -> None:
    """Give a script to psql, or statement by statement to psycopg where there is no psql."""
    psql = find_binaries() / "psql"
    if psql.is_file():
        file = folder / "setup.sql"
        file.write_text(script, encoding="utf-8")
        subprocess.run(
            [psql, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", file, source.dsn],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return
    with source.connect() as connection:
        for statement in script.split("\n\n-- "):
            connection.execute(cast("LiteralString", statement))


def everything(source: Database) -> list[tuple[str, ...]]:
    """What setup may touch: relations of schema cdc, publications, slots, identities, indexes."""
    return source.execute(
        """
        select 'relation', oid::regclass::text, relreplident::text from pg_class
        where relnamespace in (select oid from pg_namespace where nspname in ('cdc', 'public'))
        union all select 'publication', pubname, '' from pg_publication
        union all select 'slot', slot_name, '' from pg_replication_slots where database = current_database()
        union all select 'migration', nspname, '' from pg_namespace
        order by 1, 2, 3
        """
    )


def test_print_sql_changes_nothing_and_is_sql(configured: Cdc, source: Database) -> None:
    before = everything(source)

    result = configured("setup", "--print-sql")

    assert result.code == 0, result.err
    assert everything(source) == before
    for words in (
        "create schema",
        "create publication",
        "pg_create_logical_replication_slot",
        "create table cdc.outbox",
    ):
        assert words in result.out.lower()


def test_what_is_printed_can_be_given_to_psql_and_then_nothing_is_left_to_do(
    configured: Cdc, source: Database, tmp_path: Path
) -> None:
    run_script(source, configured("setup", "--print-sql").out, tmp_path)

    again = configured("setup", "--print-sql")
    assert (again.code, again.out) == (0, "")
    assert "nothing to do" in again.err
    assert configured("run", "--until-idle", "--json").json["contacts"] > 0


def test_setup_twice_does_nothing_the_second_time(configured: Cdc, source: Database) -> None:
    first = configured("setup")
    assert first.code == 0, first.err
    assert "create publication" in first.out
    made = everything(source)

    second = configured("setup")

    assert (second.code, second.out) == (0, "")
    assert "nothing to do" in second.err
    assert everything(source) == made


def test_fields_are_made_in_a_bare_crm_once_and_then_everything_is_delivered(cdc: Cdc, configured: Cdc) -> None:
    with simulator(cdc, "--bare") as bare:
        command = configured.using(bare.environment)
        command("run").refused(2, "views.sql", "feed", "column", "--create-fields")
        assert bare.writes() == []

        first = command("setup", "--create-fields")
        assert first.code == 0, first.err
        assert "Contacts.External_ID" in first.out
        second = command("setup", "--create-fields")
        assert (second.code, second.out) == (0, "")
        assert "every field is in the CRM" in second.err

        result = command("run", "--until-idle", "--json")
        assert result.code == 0, result.err
        assert len(bare.records("Contacts")) == result.json["contacts"] > 0


def test_setup_needs_what_it_sets_up(cdc: Cdc, configured: Cdc, crm: Crm) -> None:
    cdc("setup").refused(2, "DATABASE_URL is not set")
    configured.using(ZOHO_CLIENT_ID="", ZOHO_CLIENT_SECRET="", ZOHO_REFRESH_TOKEN="")(
        "setup", "--create-fields"
    ).refused(2, "--create-fields", "ZOHO_CLIENT_ID")  # fmt: skip
    assert crm.calls() == []


def test_the_state_schema_may_live_in_another_database(
    configured: Cdc, source: Database, elsewhere: Database, crm: Crm
) -> None:
    command = configured.using(CDC_STATE_DSN=elsewhere.dsn)
    shown = command("setup", "--print-sql")
    assert "create table cdc.outbox" not in shown.out
    assert "CDC_STATE_DSN" in shown.err
    assert command("setup").code == 0
    assert "nothing to do" in command("setup").err

    result = command("run", "--until-idle", "--json")

    assert result.code == 0, result.err
    assert len(crm.records("Contacts")) == result.json["contacts"] > 0
    assert source.execute("select to_regclass('cdc.outbox') is null")[0][0]
    status = command("status", "--json")
    assert status.code == 0
    assert status.json["delivered"]["contacts"] == result.json["contacts"]
    swept = command("sweep", "--json")
    assert swept.json["contacts"] == {"compared": result.json["contacts"], "missing": 0, "changed": 0, "gone": 0}
