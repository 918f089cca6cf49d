"""The CSV that goes into a Bulk Write, and the result that comes back."""

from __future__ import annotations

import csv
import io
import zipfile

import pytest

from sinks.base import Action, Delivered, Effect, FieldValue, Operation, Outcome, Refused
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.bulkfile import CsvFile, cell, fits, read_result


def operation(record_id: str = "k", **fields: FieldValue) -> Operation:
    return Operation(record_id=record_id, action=Action.CREATE, fields=fields)


def rows(packed: bytes) -> list[list[str]]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        [name] = archive.namelist()
        assert name == "Contacts.csv"
        return list(csv.reader(io.StringIO(archive.read(name).decode(), newline="")))


def zipped(text: str, name: str = "Contacts-bulkwrite.csv") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, text)
    return packed.getvalue()


def result(*lines: str) -> list[Outcome]:
    text = "\n".join(["External_ID,Last_Name,STATUS,RECORD_ID,ERRORS", *lines])
    return list(read_result(zipped(text), "External_ID"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (False, "false"), (7, "7"), (1.5, "1.5"), ("x", "x"), ("2026-01-02", "2026-01-02")],
)
def test_a_value_is_written_as_zoho_reads_it(value: FieldValue, text: str) -> None:
    assert cell(value) == text


def test_the_external_id_comes_first_and_a_missing_value_is_an_empty_cell() -> None:
    file = CsvFile("Contacts.csv", "External_ID", ["name", "xp"], ["Last_Name", "Total_XP"])
    assert file.add(operation("k1", name='Quotes " and, commas; ünïcode', xp=None))
    assert file.add(operation("k2", name="B", xp=3))
    assert rows(file.close()) == [
        ["External_ID", "Last_Name", "Total_XP"],
        ["k1", 'Quotes " and, commas; ünïcode', ""],
        ["k2", "B", "3"],
    ]


def test_a_full_file_takes_no_more_and_stays_as_it_was() -> None:
    file = CsvFile("Contacts.csv", "External_ID", ["name"], ["Last_Name"], limit=40)
    assert file.add(operation("k1", name="A"))
    assert not file.add(operation("k2", name="B" * 40))
    assert [row[0] for row in rows(file.close())] == ["External_ID", "k1"]


@pytest.mark.parametrize("text", ["two\nlines", "two\rlines", "nul\0"])
def test_a_text_with_line_breaks_goes_another_way(text: str) -> None:
    assert not fits(operation(name=text))
    assert fits(operation(name="one line", xp=3))


def test_added_and_updated_rows_are_deliveries_with_their_id() -> None:
    assert result("k1,A,ADDED,42,", "k2,B,UPDATED,43,") == [
        Delivered(record_id="k1", crm_id="42", effect=Effect.CREATED),
        Delivered(record_id="k2", crm_id="43", effect=Effect.UPDATED),
    ]


@pytest.mark.parametrize(
    ("errors", "reason", "field"),
    [
        ("MANDATORY_NOT_FOUND-Last_Name", Reason.REQUIRED_FIELD_MISSING, "Last_Name"),
        ("INVALID_DATA-Total_XP", Reason.INVALID_VALUE, "Total_XP"),
        ("DUPLICATE_DATA-Email", Reason.DUPLICATE_IN_CRM, "Email"),
        ("DUPLICATE_DATA-External_ID", Reason.RECORD_LOCKED, "External_ID"),
        ("BLOCKED_RECORD", Reason.RECORD_LOCKED, None),
        ("CANNOT_PROCESS", Reason.BAD_ANSWER, None),
        ("NOT_APPROVED", Reason.RECORD_LOCKED, None),
        ("WHAT_IS_THIS-Email", Reason.INVALID_VALUE, "Email"),
    ],
)
def test_a_skipped_row_is_refused_for_a_reason_of_the_registry(errors: str, reason: Reason, field: str | None) -> None:
    [outcome] = result(f"k1,A,SKIPPED,,{errors}")
    assert isinstance(outcome, Refused)
    assert (outcome.reason, outcome.field) == (reason, field)
    assert outcome.detail.startswith(errors.partition("-")[0])


def test_several_errors_are_all_told_and_nothing_that_is_no_name() -> None:
    [outcome] = result('k1,A,SKIPPED,,"MANDATORY_NOT_FOUND-Company,Last_Name:INVALID_DATA-ada@example.org"')
    assert isinstance(outcome, Refused)
    assert outcome.detail == "MANDATORY_NOT_FOUND Company, Last_Name; INVALID_DATA"


@pytest.mark.parametrize("line", ["k1,A,UNPROCESSED,,", "k1,A,SKIPPED,,", "k1,A,ADDED,,", "k1,A,,42,free text"])
def test_a_row_without_a_clear_word_is_tried_again(line: str) -> None:
    [outcome] = result(line)
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.BAD_ANSWER


@pytest.mark.parametrize(
    "data",
    [b"<html>", zipped("External_ID,STATUS\nk1,ADDED"), zipped("")],
    ids=["no zip", "columns missing", "empty"],
)
def test_a_result_that_cannot_be_read_is_a_bad_answer(data: bytes) -> None:
    with pytest.raises(SinkError) as caught:
        list(read_result(data, "External_ID"))
    assert caught.value.reason is Reason.BAD_ANSWER
