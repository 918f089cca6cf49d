"""Which field a column means, and whether it fits."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.base import Column
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.fields import CrmField, find_field, parse_fields, plain, resolve
from sinks.zoho.fitting import check_fit

METADATA = {
    "fields": [
        {
            "api_name": "Last_Name",
            "field_label": "Last Name",
            "data_type": "text",
            "length": 80,
            "system_mandatory": True,
            "custom_field": False,
            "unique": {},
            "pick_list_values": [],
        },
        {
            "api_name": "External_ID",
            "field_label": "External ID",
            "data_type": "text",
            "length": 36,
            "custom_field": True,
            "unique": {"casesensitive": "false"},
        },
        {
            "api_name": "Level",
            "field_label": "Level",
            "data_type": "picklist",
            "length": 120,
            "custom_field": True,
            "pick_list_values": [
                {"display_value": "-None-", "actual_value": "-None-", "type": "used"},
                {"display_value": "Entdecker", "actual_value": "Explorer", "type": "used"},
                {"display_value": "Old", "actual_value": "Old", "type": "unused"},
            ],
        },
        {"api_name": "Signup_Date", "field_label": "Signup Date", "data_type": "date", "length": 20},
        {"api_name": "Created_Time", "field_label": "Created Time", "data_type": "datetime", "read_only": True},
        {
            "api_name": "Score",
            "field_label": "Score",
            "data_type": "integer",
            "length": 9,
            "operation_type": {"api_create": False, "api_update": False, "web_create": True, "web_update": True},
        },
        "not a field",
        {"api_name": None, "data_type": "text"},
    ]
}
FIELDS = parse_fields(METADATA)


def fit(*columns: Column, **changes: Any) -> set[tuple[str, Reason]]:
    options: dict[str, Any] = {"external_id": "External_ID", "mandatory": ("Last_Name",), "upserts": True}
    last_name = () if changes.pop("bare", False) else (Column(name="Last_Name", type="text"),)
    fields = changes.pop("fields", FIELDS)
    found = check_fit([*last_name, *columns], fields, module="Contacts", **(options | changes))
    return {(m.column, m.reason) for m in found}


def test_metadata_is_read() -> None:
    assert set(FIELDS) == {"Last_Name", "External_ID", "Level", "Signup_Date", "Created_Time", "Score"}
    assert FIELDS["Last_Name"].is_mandatory
    assert not FIELDS["Last_Name"].is_unique
    assert FIELDS["External_ID"].is_unique
    assert FIELDS["External_ID"].max_length == 36
    assert FIELDS["Level"].values == {"-None-", "Explorer"}
    assert FIELDS["Signup_Date"].max_length is None, "a length is only a bound for text"
    assert FIELDS["Created_Time"].is_read_only
    assert FIELDS["Score"].is_read_only


@pytest.mark.parametrize("body", [None, [], {"fields": None}, {"data": []}])
def test_other_metadata_is_a_bad_answer(body: Any) -> None:
    with pytest.raises(SinkError) as error:
        parse_fields(body)
    assert error.value.reason is Reason.BAD_ANSWER


@pytest.mark.parametrize(
    "name", ["External_ID", "External ID", "external id", "External_ID__c", "externalID", "EXTERNAL-ID"]
)
def test_many_ways_of_writing_mean_one_field(name: str) -> None:
    assert find_field(name, FIELDS) == FIELDS["External_ID"]


def test_a_generated_name_with_a_digit_is_found_by_its_label() -> None:
    fields = {"Level1": CrmField(api_name="Level1", label="Level", data_type="text", is_custom=True)}
    assert find_field("Level", fields) == fields["Level1"]
    assert find_field("Level__c", fields) == fields["Level1"]


def test_the_exact_name_wins_over_a_label() -> None:
    fields = {
        "Title": CrmField(api_name="Title", label="Position", data_type="text"),
        "Other": CrmField(api_name="Other", label="Title", data_type="text", is_custom=True),
    }
    assert find_field("Title", fields) == fields["Title"]


def test_a_custom_field_wins_over_a_standard_one_and_two_custom_ones_over_neither() -> None:
    fields = {
        "A": CrmField(api_name="A", label="My Field", data_type="text"),
        "B": CrmField(api_name="B", label="My field", data_type="text", is_custom=True),
    }
    assert find_field("My_Field", fields) == fields["B"]
    fields["C"] = CrmField(api_name="C", label="my  field", data_type="text", is_custom=True)
    assert find_field("My_Field", fields) is None


@pytest.mark.parametrize("name", ["", "__c", "  ", "Nothing", "Extern"])
def test_what_no_field_means_is_left_out(name: str) -> None:
    assert resolve([name], FIELDS) == {}


NAMES = st.text(alphabet=string.ascii_letters + string.digits + " ", min_size=1).filter(plain)


@given(NAMES)
def test_a_label_always_finds_its_only_field(label: str) -> None:
    fields = {"X_1": CrmField(api_name="X_1", label=label, data_type="text", is_custom=True)}
    for written in (label, label.upper(), label.replace(" ", "_"), f"{label}__c", f" {label} "):
        assert find_field(written, fields) == fields["X_1"]


@given(NAMES)
def test_plain_is_stable(name: str) -> None:
    assert plain(plain(name)) == plain(name)
    assert plain(f"{plain(name)}__c") == plain(name)


def test_columns_that_fit() -> None:
    columns = [
        Column(name="Level", type="text", values=frozenset({"Explorer"}), max_length=8),
        Column(name="Signup_Date", type="date"),
    ]
    assert fit(*columns) == set()


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (Column(name="Nothing", type="text"), Reason.FIELD_NOT_IN_CRM),
        (Column(name="Created_Time", type="timestamp with time zone"), Reason.REQUEST_REFUSED),
        (Column(name="Signup_Date", type="timestamp with time zone"), Reason.WRONG_TYPE),
        (Column(name="Signup_Date", type="text"), Reason.WRONG_TYPE),
        (Column(name="Level", type="text[]"), Reason.WRONG_TYPE),
        (Column(name="Level", type="public.level"), Reason.WRONG_TYPE),
        (Column(name="Level", type="text", values=frozenset({"Old"})), Reason.PICKLIST_VALUE_UNKNOWN),
        (Column(name="last name", type="text"), Reason.REQUEST_REFUSED),
    ],
)
def test_columns_that_do_not(column: Column, reason: Reason) -> None:
    assert fit(column) == {(column.name, reason)}


@pytest.mark.parametrize("type_", ["character varying(80)", "text", "character(3)"])
def test_a_types_modifier_is_no_obstacle(type_: str) -> None:
    assert fit(Column(name="Last_Name", type=type_), bare=True) == set()


@pytest.mark.parametrize("type_", ["timestamp(3) with time zone", "timestamp with time zone"])
def test_a_moment_needs_its_zone(type_: str) -> None:
    fields = FIELDS | {"Seen": CrmField(api_name="Seen", label="Seen", data_type="datetime")}
    assert fit(Column(name="Seen", type=type_), fields=fields) == set()
    naive = type_.replace("with time", "without time")
    assert fit(Column(name="Seen", type=naive), fields=fields) == {("Seen", Reason.WRONG_TYPE)}


def test_what_the_crm_demands_must_be_there_and_in_every_upsert() -> None:
    missing = {("Last_Name", Reason.REQUIRED_FIELD_MISSING)}
    assert fit(bare=True, mandatory=()) == missing
    assert fit(mandatory=()) == missing
    assert fit(mandatory=(), upserts=False) == set()
    assert fit(bare=True) == missing


def test_an_external_id_must_be_there_unique_and_text() -> None:
    assert fit(external_id="Nothing") == {("Nothing", Reason.FIELD_NOT_IN_CRM)}
    assert fit(external_id="Level") == {("Level", Reason.WRONG_TYPE)}
    assert fit(external_id=None) == set()


def test_a_second_unique_custom_field_would_merge_people() -> None:
    other = CrmField(api_name="Badge", label="Badge", data_type="text", is_unique=True, is_custom=True)
    fields = FIELDS | {"Badge": other}
    assert fit(Column(name="Badge", type="text"), fields=fields) == {("Badge", Reason.DUPLICATE_IN_CRM)}
    assert fit(Column(name="Badge", type="text"), fields=fields, upserts=False) == set()


def test_a_misfit_shows_the_crms_list_and_none_of_the_rows_values() -> None:
    column = Column(name="Level", type="text", values=frozenset({"Confidential"}))
    (misfit,) = check_fit(
        [column], {"Level": FIELDS["Level"]}, module="Contacts", external_id=None, mandatory=(), upserts=True
    )
    assert "Explorer" in misfit.detail
    assert "Confidential" not in misfit.detail
