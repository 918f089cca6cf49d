"""The commands beside `run`: status, config, sweep, failures, simulator, worker."""

from __future__ import annotations

import json
import signal

import httpx
import pytest

from tests.acceptance.processes import ENCRYPTION_KEY, Cdc, Crm, approve_rewrites, wait_until
from tests.support.postgres import Database


def poison(source: Database, crm: Crm) -> str:
    """Let the CRM refuse one person who has completed a quest."""
    user = str(source.execute("select user_id from public.user_quests where completed_at is not null limit 1")[0][0])
    crm.fault(
        action="refuse", kind="upsert", code="INVALID_DATA",
        where={"External_ID": user}, details={"api_name": "Last_Name"},
    )  # fmt: skip
    return user


def test_status_before_and_after(configured: Cdc) -> None:
    configured("status").refused(1, "cdc schema", "cdc setup")
    assert configured("run", "--until-idle").code == 0

    told = configured("status")
    assert told.code == 0, told.text
    assert "contacts" in told.out
    assert "credits" in told.out
    as_json = configured("status", "--json")
    assert as_json.code == 0
    assert as_json.json["dirty"] == as_json.json["parked"] == 0
    assert as_json.json["delivered"]["contacts"] > 0
    assert as_json.json["slot"]["wal_status"] == "reserved"
    assert as_json.json["lag_bytes"] < 10_000_000


def test_status_is_degraded_without_its_slot(configured: Cdc, source: Database) -> None:
    assert configured("setup").code == 0
    source.execute(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()"
    )

    told = configured("status")

    assert told.code == 3
    assert "cdc setup" in told.out


def test_status_watched_ends_with_ctrl_c(configured: Cdc) -> None:
    assert configured("setup").code == 0
    with configured.running("status", "--watch") as watch:
        wait_until(lambda: "slot" in watch.out, what="the first picture")
        result = watch.stop()
    assert result.code == 0
    assert "Traceback" not in result.text


def test_failures_are_listed_explained_retried_and_discarded(configured: Cdc, source: Database, crm: Crm) -> None:
    user = poison(source, crm)
    assert configured("run", "--until-idle").code == 3

    listed = configured("failures", "list", "--json")
    assert [(f["feed"], f["key"], f["reason"]) for f in listed.json] == [("contacts", user, "INVALID_VALUE")]
    assert user in configured("failures", "list", "--feed", "contacts").out
    assert configured("failures", "list", "--reason", "WRONG_TYPE", "--json").json == []
    shown = configured("failures", "show", "contacts", user)
    assert shown.code == 0
    for words in ("INVALID_VALUE", "The CRM refused a value.", "Last_Name", "hint"):
        assert words in shown.out
    assert configured("failures", "show", "contacts", "nobody").code == 1

    assert configured("failures", "retry", user).out == "1 to be tried again\n"
    assert configured("run", "--until-idle").code == 3, "it is refused again"

    crm.heal()
    assert configured("failures", "retry", "--reason", "INVALID_VALUE").out == "1 to be tried again\n"
    assert configured("run", "--until-idle").code == 0
    assert user in {contact["External_ID"] for contact in crm.records("Contacts")}


def test_a_discarded_failure_is_gone_and_kept_in_the_log(configured: Cdc, source: Database, crm: Crm) -> None:
    user = poison(source, crm)
    assert configured("run", "--until-idle").code == 3

    assert configured("failures", "discard", user, "--because", "left the school").out == "1 dismissed\n"

    assert configured("failures", "list", "--json").json == []
    kept = source.execute("select record_id, error_message from cdc.zoho_sync_log where action = 'discard'")
    assert kept == [(user, "discarded: left the school")]


def test_failures_want_to_know_which(configured: Cdc) -> None:
    configured("failures", "retry").refused(2, "say which ones", "--feed or --reason")
    configured("failures", "list", "--reason", "BAD_LUCK").refused(2, "BAD_LUCK", "TOKEN_INVALID")
    configured("failures", "discard", "x", "--because", " ").refused(2, "--because")


def test_sweep_finds_what_differs_and_costs_nothing_when_nothing_does(
    configured: Cdc, source: Database, crm: Crm
) -> None:
    assert configured("run", "--until-idle").code == 0
    spent = crm.credits()["used"]
    contacts = len(crm.records("Contacts"))

    quiet = configured("sweep", "--json")
    assert quiet.json["contacts"] == {"compared": contacts, "missing": 0, "changed": 0, "gone": 0}
    assert crm.credits()["used"] == spent

    source.execute("update cdc.ledger set row_hash = '' where feed = 'contacts'")
    dry = configured("sweep", "contacts", "--dry-run", "--json")
    assert dry.json == {"contacts": {"compared": contacts, "missing": 0, "changed": contacts, "gone": 0}}
    assert source.execute("select count(*) from cdc.outbox")[0][0] == 0

    assert f"{contacts} changed" in configured("sweep", "contacts").out
    assert source.execute("select count(*) from cdc.outbox where feed = 'contacts'")[0][0] == contacts

    configured("sweep", "people").refused(2, "no feed 'people'", "contacts")


@pytest.mark.long
def test_a_forced_sweep_sends_even_what_is_equal_once_the_breaker_is_told_that_it_is_meant(
    configured: Cdc, crm: Crm
) -> None:
    assert configured("run", "--until-idle").code == 0
    calls = len(crm.writes())

    assert configured("sweep", "contacts", "--force").code == 0
    assert configured("run", "--until-idle").code == 3, "a hundred have gone, the rest is held"
    approve_rewrites(configured)
    assert configured("run", "--until-idle").code == 0

    sent = crm.writes()[calls:]
    assert sum(call["records"] for call in sent) == len(crm.records("Contacts"))


def test_simulator_announces_itself_in_its_first_line(cdc: Cdc) -> None:
    with cdc.running("simulator", "--json") as process:
        wait_until(lambda: process.out.endswith("\n"), what="the first line")
        said = json.loads(process.out.splitlines()[0])
        assert said.keys() >= {"url", "client_id", "client_secret", "refresh_token"}
        assert httpx.get(said["url"], timeout=5).status_code == 200
        port = said["url"].rpartition(":")[2]
        cdc("simulator", "--port", port).refused(1, f"port {port}", "--port")
        assert process.stop(signal.SIGTERM).code == 0


def test_several_workers_deliver_what_one_process_captures(configured: Cdc, source: Database, crm: Crm) -> None:
    capture = configured.using(ZOHO_SYNC_ENABLED="false")
    assert capture("run", "--until-idle").code == 3
    contacts = source.execute("select count(*) from cdc.contacts")[0][0]

    with configured.running("worker") as one, configured.running("worker") as other:
        wait_until(
            lambda: source.execute("select count(*) from cdc.outbox where lane <> 'daily'")[0][0] == 0,
            what="the outbox is empty",
        )
        assert (one.stop().code, other.stop().code) == (0, 0)

    delivered = [contact["External_ID"] for contact in crm.records("Contacts")]
    assert len(delivered) == len(set(delivered)) == contacts
    assert len(crm.records("Notes")) == source.execute("select count(*) from cdc.badges_earned")[0][0]


def test_a_worker_needs_a_crm_and_a_set_up_database(configured: Cdc, cdc: Cdc, source: Database) -> None:
    configured("worker").refused(2, "cdc setup")
    cdc.using(DATABASE_URL=source.dsn, CDC_ENCRYPTION_KEY=ENCRYPTION_KEY)("worker").refused(2, "a worker needs a CRM")


def test_config_tells_values_origins_and_stand_ins(cdc: Cdc) -> None:
    (cdc.folder / ".env").write_text("CDC_POLL_SECONDS=2\nCDC_JOURNAL_DAYS=3\n")

    told = cdc.using(CDC_POLL_SECONDS="1", CDC_PROFILE="no-such-profile")("config", "--json")

    assert told.code == 0, told.err
    assert told.json["CDC_POLL_SECONDS"] == {"value": "1.0", "origin": "environment"}
    assert told.json["CDC_JOURNAL_DAYS"] == {"value": "3.0", "origin": ".env"}
    assert told.json["CDC_SLOT"] == {"value": "optio_cdc", "origin": "default"}
    assert told.json["DATABASE_URL"] == {"value": "embedded Postgres", "origin": "default"}
    assert told.json["ZOHO_CLIENT_ID"] == {"value": "simulator", "origin": "default"}
    assert "CDC_JOURNAL_DAYS" in cdc("config").out


def test_a_misspelt_variable_is_named_with_its_nearest(cdc: Cdc) -> None:
    told = cdc.using(CDC_ROLUP_SECONDS="1", ZOHO_CLIENTID="x")("config")

    assert told.code == 0
    assert "CDC_ROLUP_SECONDS is not a setting; did you mean CDC_ROLLUP_SECONDS?" in told.err
    assert "ZOHO_CLIENTID is not a setting; did you mean ZOHO_CLIENT_ID?" in told.err


def test_usage(cdc: Cdc) -> None:
    assert cdc("--help").code == 0
    cdc("fly").refused(2, "No such command 'fly'")
    cdc("run", "--fast").refused(2, "No such option", "--fast")


SECRETS = {
    "ZOHO_CLIENT_SECRET": "MARKED-client-secret",
    "ZOHO_REFRESH_TOKEN": "MARKED-refresh-token",
    "CDC_ENCRYPTION_KEY": "TUFSS0VELWtleS1ub3QtYS1zZWNyZXQtMzItYnl0ZXM=",
}  # fmt: skip


def test_no_secret_is_in_any_output(configured: Cdc, source: Database) -> None:
    role = f"r_{source.name}"
    source.execute(f"create role {role} login superuser password 'MARKED-password'")
    try:
        url = configured.environment["DATABASE_URL"].replace("//postgres@", f"//{role}:MARKED-password@")
        command = configured.using(SECRETS, DATABASE_URL=url, CDC_STATE_DSN=url)
        texts = [
            command(*line).text
            for line in (
                ["config"], ["config", "--json"], ["setup"], ["run", "--until-idle"], ["status"], ["status", "--json"],
                ["sweep"], ["failures", "list"], ["failures", "show", "contacts", "x"],
            )
        ]  # fmt: skip
        texts.append(command.using(CDC_LOG="text")("run", "--until-idle").text)
        texts += [
            command.using(**{name: value})("run").text
            for name, value in {
                "DATABASE_URL": url.replace(role, "nobody_at_all"),
                "CDC_STATE_DSN": "postgresql://a:MARKED@b:MARKED/c",
                "CDC_ENCRYPTION_KEY": "MARKED",
                "CDC_SLOT": "not a slot",
            }.items()
        ]
    finally:
        source.execute(f"drop owned by {role} cascade; drop role {role}")

    hidden = ("MARKED", "TUFSS0VE")
    assert [text for text in texts if any(secret in text for secret in hidden)] == []
    assert all(texts)
    assert any("CLIENT_INVALID" in text or "TOKEN_INVALID" in text for text in texts)
    assert not any("Traceback" in text for text in texts)
