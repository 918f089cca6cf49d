"""Whole modules, read by COQL over real HTTP from the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from sinks.base import Action, Column, Operation
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.scan import Scanned
from sinks.zoho import scanning
from sinks.zoho.scanning import ModuleScanner
from tests.integration.zoho.conftest import CONTACT_COLUMNS, Crm

NAMES = [column.name for column in CONTACT_COLUMNS]


async def scanner_of(crm: Crm, *columns: Column) -> ModuleScanner:
    return ModuleScanner(crm.client, await crm.contacts(*columns))


def fill(crm: Crm, count: int) -> None:
    table = crm.simulator.simulation.records.tables["Contacts"]
    for n in range(1, count + 1):
        record = {"id": str(1_000 + n), "Last_Name": f"N{n}", "External_ID": f"r{n}", "Email": f"R{n}@Example.org"}
        table.insert(record, crm.simulator.simulation.clock.now())


async def scanned(scanner: ModuleScanner, expected: int, names: list[str] = NAMES) -> list[Scanned]:
    return [one async for page in scanner.scan(names, expected) for one in page]


async def test_every_record_once_in_few_credits(crm: Crm) -> None:
    fill(crm, 4_250)
    scanner = await scanner_of(crm)
    spent, calls = crm.books.total, len(crm.calls("coql"))

    found = await scanned(scanner, await scanner.count())

    assert [one.record_id for one in found] == [f"r{n}" for n in range(1, 4_251)]
    assert found[0].fields == {"Last_Name": "N1", "Email": "R1@Example.org", "First_Name": None, "Level": None,
                               "Total_XP": None}  # fmt: skip
    assert (found[0].likeness, found[0].crm_id) == ("r1@example.org", "1001")
    assert found[0].modified_at is not None
    assert crm.books.total - spent == 1 + scanner.scan_credits(4_250, len(NAMES)) == 1 + 3 + 3 + 2
    metered = [call.price for call in crm.calls("coql")[calls:]]
    assert metered == [3, 3, 2], "the CRM counts the same"


async def test_more_columns_than_a_query_takes(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(crm, 3)
    monkeypatch.setattr(scanning, "_COLUMNS", 6)  # two of them beside those that are always there
    scanner = await scanner_of(crm)
    before = len(crm.calls("coql"))

    found = await scanned(scanner, 3)

    assert [one.fields["Last_Name"] for one in found] == ["N1", "N2", "N3"]
    assert all(one.fields.keys() == set(NAMES) for one in found)
    assert len(crm.calls("coql")) - before == 2 == scanner.scan_credits(3, 4)


async def test_a_wrong_count_costs_more_and_loses_nothing(crm: Crm) -> None:
    fill(crm, 450)
    assert len(await scanned(await scanner_of(crm), expected=0)) == 450
    assert len(await scanned(await scanner_of(crm), expected=100_000)) == 450


async def test_an_empty_module(crm: Crm) -> None:
    scanner = await scanner_of(crm)
    assert (await scanner.count(), await scanned(scanner, 0)) == (0, [])


async def test_some_by_our_identity_whatever_it_holds(crm: Crm) -> None:
    fill(crm, 120)
    table = crm.simulator.simulation.records.tables["Contacts"]
    table.insert({"id": "5", "Last_Name": "Q", "External_ID": "it's \\ odd"}, 0.0)
    scanner = await scanner_of(crm)
    wanted = [*(f"r{n}" for n in range(1, 121)), "it's \\ odd", "nobody", "R1"]
    spent = crm.books.total

    found = await scanner.find(wanted, ["Last_Name"])

    assert {one.record_id for one in found} == set(wanted) - {"nobody", "R1"}
    assert crm.books.total - spent == 3 == scanner.find_credits(len(wanted), 1)


async def test_the_bin(crm: Crm) -> None:
    sink = await crm.contacts()
    operations = [Operation(record_id=f"r{n}", action=Action.CREATE, fields={"Last_Name": "N"}) for n in range(3)]
    made = [outcome.crm_id for outcome in await sink.deliver(operations)]  # type: ignore[union-attr]
    await sink.deliver([Operation(record_id="r0", action=Action.WITHDRAW, crm_id=made[0])])
    scanner = ModuleScanner(crm.client, sink)
    spent = crm.books.total

    assert await scanner.binned([str(one) for one in made]) == {made[0]}
    assert crm.books.total - spent == 2
    assert crm.calls("deleted")[-1].price == 2
    assert await scanner.binned([]) == frozenset()


async def test_what_hangs_on_a_contact(crm: Crm) -> None:
    fill(crm, 2)
    tasks: Any = await crm.tasks()
    operations = [
        Operation(record_id=f"e{n}", action=Action.CREATE, fields={"Subject": "S", "Status": "Completed"},
                  parent_crm_id="1001")
        for n in range(3)
    ]  # fmt: skip
    await tasks.deliver(operations)
    assert await (await scanner_of(crm)).activities(["1001", "1002"]) == {"1001": 3}


async def test_a_failure_in_the_middle_raises(crm: Crm) -> None:
    fill(crm, 450)
    scanner = await scanner_of(crm)
    crm.break_("status", status=503, kind="coql", skip=1)
    with pytest.raises(SinkError) as caught:
        await scanned(scanner, 0)
    assert caught.value.reason is Reason.UNAVAILABLE
    crm.simulator.simulation.faults.clear()
    crm.break_("status", status=200, body={"count": "many"}, kind="count")
    with pytest.raises(SinkError) as caught:
        await scanner.count()
    assert caught.value.reason is Reason.BAD_ANSWER
