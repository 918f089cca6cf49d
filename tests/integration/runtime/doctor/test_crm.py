"""Each check of the CRM is made to fail on the simulator; the fix that it names makes it pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdc.routing.feeds import load_profile
from cdc.runtime.doctor.finding import Level
from cdc.runtime.doctor.judgement import crm as judge
from cdc.runtime.doctor.table import CHECKS
from sinks.simulator.config import Edition, SimulatorConfig
from sinks.simulator.faults import FaultRule
from sinks.simulator.fields import DataType
from sinks.simulator.scopes import DEFAULT_SCOPES
from sinks.simulator.server import RunningSimulator, start_simulator
from tests.integration.runtime.doctor.conftest import Patient, point_at
from tests.integration.runtime.doctor.test_state import seal


def fields(crm: RunningSimulator, module: str = "Contacts") -> dict[str, Any]:
    return crm.simulation.org.modules[module].fields


async def test_a_crm_in_order_is_found_so_for_a_dozen_credits(customer: Patient, crm: RunningSimulator) -> None:
    found = [f for f in await customer.findings() if f.check.startswith("crm.")]
    assert {f.check for f in found} == {c.id for c in CHECKS if c.id.startswith("crm.") and not c.on_request}
    assert {f.level for f in found} == {Level.OK}, [f for f in found if f.level is not Level.OK]
    assert crm.simulation.credits.used <= 14
    [(booked,)] = customer.database.execute("select sum(credits) from cdc.credit_usage")
    assert booked == crm.simulation.credits.used, "what the doctor spends is on our account too"


async def test_the_stored_token_is_used_and_none_made_needlessly(customer: Patient, crm: RunningSimulator) -> None:
    [first] = await customer.see("crm.token")
    assert "made anew" in first.what
    [second] = await customer.see("crm.token")
    assert "the stored one" in second.what
    assert len(crm.simulation.calls.select(kind="token")) == 1


async def test_before_set_up_the_crm_is_looked_at_all_the_same(bare: Patient, crm: RunningSimulator) -> None:
    point_at(bare, crm)
    bare.set(CDC_PROFILE="core")
    assert await bare.is_well("crm.fields")
    assert bare.database.execute("select to_regnamespace('cdc') is null") == [(True,)]


async def test_with_the_database_down_no_token_is_made(customer: Patient, crm: RunningSimulator) -> None:
    customer.set(DATABASE_URL=f"{customer.database.dsn} port=1")
    found = await customer.findings()
    crm_checks = {f.check: f for f in found if f.check.startswith("crm.")}
    assert crm_checks["crm.reachable"].level is Level.OK
    assert crm_checks["crm.token"].level is Level.SKIPPED
    assert not crm.simulation.calls.select(kind="token")


async def test_a_crm_that_is_down(customer: Patient, crm: RunningSimulator) -> None:
    await crm.close()
    found = await customer.findings()
    assert [f.check for f in found if f.level is Level.PROBLEM] == ["source.slot", "crm.reachable"]  # there is no slot
    [down] = [f for f in found if f.check == "crm.reachable"]
    assert "can't be reached: ConnectError" in down.what
    assert f"curl -v {crm.url}/" in down.fix
    customer.set(ZOHO_API_DOMAIN="https://api.nobody.invalid")
    assert any("api.nobody.invalid has no address" in f.what for f in await customer.see("crm.reachable"))


async def test_a_secret_that_is_missing_is_named(customer: Patient, crm: RunningSimulator) -> None:
    customer.environment.delenv("ZOHO_CLIENT_SECRET")
    [found] = await customer.see("crm.settings")
    assert found.what == "ZOHO_CLIENT_SECRET is not set"
    await customer.mend(found.fix.replace("…", crm.client_secret))
    assert await customer.is_well("crm.settings")


@pytest.mark.parametrize(
    ("variable", "reason", "asks_for"),
    [
        ("ZOHO_REFRESH_TOKEN", "TOKEN_INVALID", "cdc login zoho"),
        ("ZOHO_CLIENT_SECRET", "CLIENT_INVALID", "ZOHO_CLIENT"),
    ],
)
async def test_credentials_that_are_refused(
    customer: Patient, crm: RunningSimulator, variable: str, reason: str, asks_for: str
) -> None:
    customer.set(**{variable: "1000.another"})
    found = await customer.findings("crm.token", "crm.fields")
    assert [f.what.partition(":")[0] for f in found if f.level is Level.PROBLEM] == [reason]
    assert asks_for in next(f.fix for f in found if f.check == "crm.token")
    assert next(f.what for f in found if f.check == "crm.fields") == "not looked at: crm.token failed"
    point_at(customer, crm)
    assert await customer.is_well("crm.fields")


async def test_the_token_of_another_data_centre(customer: Patient) -> None:
    await seal(customer, api_domain="https://www.zohoapis.eu")
    customer.environment.delenv("ZOHO_API_DOMAIN")
    [found] = await customer.see("crm.data-centre")
    assert found.level is Level.PROBLEM
    assert found.fix == "export ZOHO_DATA_CENTER=EU"
    await customer.mend(found.fix)
    assert await customer.is_well("crm.data-centre")


async def test_the_crm_s_clock_beside_ours(customer: Patient) -> None:
    assert await customer.is_well("crm.clock")
    customer.examined["clock"] = lambda: datetime.now(UTC) - timedelta(minutes=5)
    [found] = await customer.see("crm.clock")
    assert found.level is Level.WARNING
    assert "ahead of this machine's" in found.what


async def test_another_edition_than_the_settings_say(customer: Patient) -> None:
    async with await start_simulator(SimulatorConfig(edition=Edition.FREE, users=3)) as small:
        point_at(customer, small)
        customer.set(ZOHO_USERS="10")
        [found] = await customer.see("crm.organisation")
        assert found.level is Level.PROBLEM
        assert "is free with 3 licences (5000 credits a day), the settings say standard with 10 (52500)" in found.what
        await customer.mend(found.fix)
        assert await customer.is_well("crm.organisation")


@pytest.mark.parametrize(
    ("scope", "check"),
    [
        ("ZohoCRM.modules.tasks.READ", "crm.scopes"),
        ("ZohoCRM.coql.READ", "crm.scopes"),
        ("ZohoCRM.settings.fields.READ", "crm.fields"),
        ("ZohoCRM.org.READ", "crm.organisation"),
    ],
)
async def test_a_scope_that_is_missing_is_asked_for_by_name(customer: Patient, scope: str, check: str) -> None:
    without = tuple(one for one in DEFAULT_SCOPES if one != scope)
    async with await start_simulator(SimulatorConfig(scopes=without)) as narrow:
        point_at(customer, narrow)
        found = await customer.see(check)
        assert {f.level for f in found} == {Level.PROBLEM}
        assert scope in found[0].what
        assert scope.casefold() in {one.casefold() for one in found[0].fix.splitlines()[-1].split(",")}


async def test_the_scopes_that_a_fix_lists_are_enough(customer: Patient) -> None:
    asked = tuple(judge.scopes(load_profile("core")))
    assert not any("ALL" in scope and "files" not in scope for scope in asked)
    async with await start_simulator(SimulatorConfig(scopes=tuple(asked))) as wide:  # exactly what the fix says
        point_at(customer, wide)
        checks = ("crm.scopes", "crm.fields", "crm.organisation", "crm.write-test")
        found = [f for f in await customer.findings(*checks, on_request=True) if f.check in checks]
        assert {f.level for f in found} == {Level.OK}, found


def drop(crm: RunningSimulator) -> None:
    del fields(crm)["Total_XP"]


def retype(crm: RunningSimulator) -> None:
    fields(crm)["Total_XP"].type = DataType.TEXT


def shorten(crm: RunningSimulator) -> None:
    name = next(n for n, f in fields(crm).items() if f.label == "External ID")
    fields(crm)[name] = replace(fields(crm)[name], length=10)


@pytest.mark.parametrize(
    ("ruin", "words", "fix"),
    [
        (drop, "Contacts lacks Total_XP", "cdc setup --create-fields"),
        (retype, "field 'Total XP' is of type text, not", "makes it as"),
        (shorten, "field 'External ID' holds 10 characters, not 36", "set its length to 36"),
    ],
)
async def test_a_field_that_is_not_as_the_profile_needs_it(
    customer: Patient, crm: RunningSimulator, ruin: Callable[[RunningSimulator], None], words: str, fix: str
) -> None:
    ruin(crm)
    found = await customer.see("crm.fields")
    assert {f.level for f in found} == {Level.PROBLEM}
    assert words in found[0].what
    assert fix in found[0].fix
    if found[0].fix.startswith("in the CRM"):
        crm.simulation.org.restore()  # by hand, as it says
    else:
        await customer.mend(found[0].fix)
    assert await customer.is_well("crm.fields"), await customer.see("crm.fields")


async def test_an_external_id_that_is_not_unique(customer: Patient, crm: RunningSimulator) -> None:
    one = next(f for f in fields(crm).values() if f.label == "External ID")
    one.unique = False
    [found] = await customer.see("crm.external-id")
    assert found.level is Level.PROBLEM
    assert found.fix.endswith("External ID: tick 'Do not allow duplicate values'")
    one.unique = True
    assert await customer.is_well("crm.external-id")


async def test_credits_that_run_out(customer: Patient) -> None:
    customer.database.execute("insert into cdc.credit_usage values (now(), 'upsert', 1, 45000)")
    [found] = await customer.see("crm.credits")
    assert found.level is Level.WARNING
    assert "credits used in 24 h" in found.what
    await customer.mend(found.fix)
    assert customer.database.execute("select scope from cdc.pause") == [("bulk lane",)]
    customer.database.execute("update cdc.credit_usage set bucket = now() - interval '25 hours' where credits = 45000")
    assert await customer.is_well("crm.credits")


async def test_calls_that_are_turned_away(customer: Patient) -> None:
    customer.database.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, reason)"
        " values ('contacts', 'p', 'live', now(), now(), 'CONCURRENCY_LIMIT')"
    )
    [found] = await customer.see("crm.credits")
    assert found.level is Level.WARNING
    assert found.fix == "export ZOHO_CONCURRENCY=2"


async def test_the_write_test_leaves_nothing_behind(customer: Patient, crm: RunningSimulator) -> None:
    found = await customer.findings()
    assert "crm.write-test" not in {f.check for f in found}, "only when it is asked for"
    assert not crm.simulation.calls.select(kind="upsert")
    [found_one] = await customer.see("crm.write-test", on_request=True)
    assert found_one.level is Level.OK
    assert crm.simulation.records.tables["Contacts"].records == {}
    [made] = crm.simulation.calls.select(kind="upsert")
    assert made.status < 300


async def test_a_write_test_whose_deletion_fails_says_which_contact_is_left(
    customer: Patient, crm: RunningSimulator
) -> None:
    rule = {"action": "refuse", "kind": "delete", "code": "NO_PERMISSION"}
    crm.simulation.faults.add(FaultRule.model_validate(rule))
    [found] = await customer.see("crm.write-test", on_request=True)
    assert found.level is Level.PROBLEM
    [left] = crm.simulation.records.tables["Contacts"].records.values()
    assert left["id"] in found.what
    assert left["External_ID"] in found.fix
    assert left["External_ID"].startswith("cdc-doctor-")


async def test_a_client_without_a_refresh_token_is_fine_once_somebody_has_signed_in(
    customer: Patient, crm: RunningSimulator
) -> None:
    customer.environment.delenv("ZOHO_REFRESH_TOKEN")
    assert await customer.is_well("crm.settings")
    [found] = await customer.see("crm.token")
    assert (found.level, "nobody has signed in" in found.what) == (Level.PROBLEM, True)
    assert "cdc login zoho" in found.fix
    await seal(customer, refresh_token=crm.refresh_token, client_id=crm.client_id, data_center="US")
    assert await customer.is_well("crm.token")
