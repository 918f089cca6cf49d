"""`cdc doctor` at the command line: what it prints, and what it exits with."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog
from typer.testing import CliRunner

from cdc.errors import ConfigError
from cdc.runtime.doctor.table import CHECKS
from tests.integration.runtime.doctor.conftest import Patient
from tests.support.cli import app


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def doctor(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["doctor", *arguments])
    if isinstance(done.exception, ConfigError):
        raise done.exception
    return done.exit_code, done.stdout


def test_each_line_has_its_mark_and_each_finding_its_fix(patient: Patient) -> None:
    patient.database.execute("drop view cdc.items")
    code, told = doctor("source.views", "state.capture")
    assert code == 3
    lines = told.splitlines()
    place = lines.index("[✗] source.views         feed items: view cdc.items does not exist")
    assert lines[place + 1] == "      fix: cdc setup"
    assert "[!] state.capture        nobody has captured yet" in lines
    assert "[✓] runtime.profile      shop: people, items" in lines
    assert "why" not in told.rpartition("\n1 problem")[0]
    assert lines[-1] == "1 problem, 1 warning. Begin with source.views. `cdc doctor -v` says why each matters."
    assert "why  the feed delivers nothing" in doctor("source.views", "-v")[1]


def test_all_is_well_in_one_closing_line(patient: Patient) -> None:
    code, told = doctor("source.slot")
    assert code == 0
    assert told.splitlines()[-1].startswith("All is well: ")


def test_what_was_not_looked_at_is_gathered_in_one_line(patient: Patient) -> None:
    patient.set(DATABASE_URL=f"{patient.database.dsn} port=1")
    told = doctor()[1]
    assert told.count("not looked at: source.reachable failed") <= 2
    assert doctor("-v")[1].count("not looked at: source.reachable failed") > 10


def test_one_json_object(patient: Patient) -> None:
    code, told = doctor("--json", "source.slot", "crm.settings")
    said = json.loads(told)
    assert code == 0
    assert said["counts"]["problem"] == 0
    [slot] = [f for f in said["findings"] if f["check"] == "source.slot"]
    words = f"slot {patient.database.name} is reserved"
    assert slot == {"check": "source.slot", "level": "ok", "what": words, "why": "", "fix": ""}


def test_the_list_names_every_check(patient: Patient) -> None:
    assert [line.split()[0] for line in doctor("--list")[1].splitlines()] == [check.id for check in CHECKS]
    assert [check["id"] for check in json.loads(doctor("--list", "--json")[1])] == [check.id for check in CHECKS]


@pytest.mark.parametrize(("name", "words"), [("slot.source", "there is no check"), ("crm.write-test", "writes to")])
def test_what_is_refused(patient: Patient, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        doctor(name)
    assert caught.value.fix
