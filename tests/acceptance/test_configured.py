"""`cdc run` on a database and a CRM that are configured."""

from __future__ import annotations

import pytest

from tests.acceptance.processes import ENCRYPTION_KEY, Cdc, Crm, url_of, wait_until
from tests.support.postgres import Database


def count(source: Database, view: str) -> int:
    return int(source.execute(f"select count(*) from cdc.{view}")[0][0])


def test_everything_in_the_views_is_in_the_crm(configured: Cdc, source: Database, crm: Crm) -> None:
    result = configured("run", "--until-idle", "--json")

    assert result.code == 0, result.err
    report = result.json
    assert len(crm.records("Contacts")) == count(source, "contacts") == report["contacts"] > 0
    assert len(crm.records("Tasks")) == count(source, "quest_completions") == report["tasks"] > 0
    assert len(crm.records("Notes")) == count(source, "badges_earned") == report["notes"] > 0
    assert report["credits"] == crm.credits()["used"]


def test_a_second_run_captures_what_happened_in_between_and_sends_only_that(
    configured: Cdc, source: Database, crm: Crm
) -> None:
    assert configured("run", "--until-idle").code == 0
    calls = len(crm.writes())

    source.execute(
        "update public.users set first_name = 'Zora' where id = (select user_id from cdc.contacts order by 1 limit 1)"
    )
    report = configured("run", "--until-idle", "--json").json

    assert report["changes_captured"] == 1
    assert report["operations"]["contacts"] == {"updated": 1}
    assert len(crm.writes()) == calls + 1
    assert sum(contact["First_Name"] == "Zora" for contact in crm.records("Contacts")) == 1


def test_a_database_without_a_crm_gets_the_simulator_and_a_banner_says_so(cdc: Cdc, source: Database) -> None:
    result = cdc.using(
        DATABASE_URL=url_of(source.dsn), CDC_ENCRYPTION_KEY=ENCRYPTION_KEY, CDC_SLOT=f"s_{source.name}"
    )("run", "--until-idle", "--json")  # fmt: skip

    assert result.code == 0, result.err
    assert "CRM       simulator" in result.err
    assert f"/{source.name}" in result.err
    assert result.json["contacts"] == count(source, "contacts")


def test_the_banner_says_what_is_embedded_and_what_is_real(configured: Cdc, cdc: Cdc) -> None:
    assert "database  embedded Postgres with made-up people" in cdc("run", "--until-idle").err
    assert "CRM       Zoho CRM" in configured("run", "--until-idle").err


def test_a_refused_record_is_parked_alone_with_what_hangs_on_it_and_the_run_ends_with_3(
    configured: Cdc, source: Database, crm: Crm
) -> None:
    poison = str(source.execute("select user_id from public.user_quests where completed_at is not null limit 1")[0][0])
    crm.fault(
        action="refuse", kind="upsert", code="INVALID_DATA",
        where={"External_ID": poison}, details={"api_name": "Last_Name"},
    )  # fmt: skip

    result = configured("run", "--until-idle", "--json")

    assert result.code == 3, result.err
    assert "1 parked" in result.err
    assert result.json["parked"] == 1
    assert result.json["contacts"] == count(source, "contacts") - 1
    assert poison not in {contact["External_ID"] for contact in crm.records("Contacts")}
    of_others = source.execute("select count(*) from cdc.quest_completions where user_id <> %s", [poison])[0][0]
    assert 0 < result.json["tasks"] == of_others < count(source, "quest_completions")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"action": "revoke_token"}, "TOKEN_INVALID"),
        ({"action": "wrong_scope", "kind": "upsert"}, "SCOPE_MISSING"),
    ],
)
def test_a_dead_token_pauses_delivery_and_capture_goes_on(
    configured: Cdc, source: Database, crm: Crm, fault: dict[str, str], reason: str
) -> None:
    crm.fault(**fault)
    with configured.running("run") as run:
        run.says(reason)
        before = source.execute("select lsn from cdc.position")[0][0]
        source.execute("update public.users set first_name = 'Zora'")
        run.says("capture_started")
        wait_until(lambda: source.execute("select lsn > %s from cdc.position", [before])[0][0], what="capture goes on")
        status = configured("status")
        assert status.code == 3
        assert reason in status.out
        result = run.stop()
    assert result.code == 0, result.err
    assert crm.records("Contacts") == []


def test_a_paused_delivery_ends_a_run_until_idle_with_3(configured: Cdc, crm: Crm) -> None:
    crm.fault(action="revoke_token")

    result = configured("run", "--until-idle", "--json")

    assert result.code == 3, result.err
    assert "TOKEN_INVALID" in result.err
    assert crm.writes() == []


def test_delivery_that_is_switched_off_captures_and_ends_with_3(configured: Cdc, crm: Crm, source: Database) -> None:
    result = configured.using(ZOHO_SYNC_ENABLED="false")("run", "--until-idle", "--json")

    assert result.code == 3, result.err
    assert crm.calls() == []
    assert source.execute("select count(*) > 0 from cdc.outbox")[0][0]


def test_another_data_centre_is_named(configured: Cdc, crm: Crm) -> None:
    wrong = configured.using(ZOHO_CLIENT_SECRET="made-up-and-wrong")

    result = wrong("run", "--until-idle")

    assert result.code == 3, result.err
    assert "CLIENT_INVALID" in result.err
    assert "ZOHO_DATA_CENTER" in result.err
    assert "made-up-and-wrong" not in result.text


def test_refused_combinations(cdc: Cdc, crm: Crm, database: Database) -> None:
    cdc.using(crm.environment)("run").refused(2, "ZOHO_CLIENT_ID", "DATABASE_URL", "sample data")
    cdc.using(DATABASE_URL=database.dsn, CDC_ENCRYPTION_KEY=ENCRYPTION_KEY)("run", "--demo").refused(
        2, "--demo", "DATABASE_URL"
    )
    assert crm.calls() == []
    assert database.execute("select to_regnamespace('cdc') is null")[0][0]
