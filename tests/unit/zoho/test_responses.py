"""Answers as Zoho's documents show them, and what they mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.base import Refused
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.responses import Done, Failed, code_of, read_items, whole_error

ID = "5725767000000524157"
BY = {"name": "Patricia Boyle", "id": "5725767000000411001"}
DETAILS = {"Modified_Time": "2026-01-05T15:52:04+05:30", "Modified_By": BY, "Created_By": BY, "id": ID}


def success(**more: Any) -> dict[str, Any]:
    return {"code": "SUCCESS", "status": "success", "message": "record added", "details": DETAILS, **more}


def error(code: str, **details: Any) -> dict[str, Any]:
    return {"code": code, "status": "error", "message": "the words differ by version", "details": details}


def one(entry: dict[str, Any]) -> Refused:
    (item,) = read_items({"data": [entry]}, 1)
    assert isinstance(item, Failed)
    return item.refused("r1")


def test_an_upsert_says_whether_it_made_the_record_and_by_what_it_found_it() -> None:
    made, found = read_items(
        {
            "data": [
                success(action="insert", duplicate_field=None),
                success(action="update", duplicate_field="External_ID"),
            ]
        },
        2,
    )
    assert made == Done(crm_id=ID, inserted=True)
    assert found == Done(crm_id=ID, inserted=False, matched_on="External_ID")


@pytest.mark.parametrize(
    ("entry", "reason", "field", "detail"),
    [
        (
            error("MANDATORY_NOT_FOUND", api_name="Last_Name", json_path="$.data[0].Last_Name"),
            Reason.REQUIRED_FIELD_MISSING,
            "Last_Name",
            "MANDATORY_NOT_FOUND Last_Name",
        ),
        (
            error("INVALID_DATA", api_name="First_Name", json_path="$.data[0].First_Name", maximum_length=40),
            Reason.FIELD_TOO_LONG,
            "First_Name",
            "INVALID_DATA First_Name, maximum_length 40",
        ),
        (
            error("INVALID_DATA", api_name="Level", json_path="$.data[0].Level", supported_values=["a", "b"]),
            Reason.PICKLIST_VALUE_UNKNOWN,
            "Level",
            "INVALID_DATA Level, supported_values 2",
        ),
        (
            error("INVALID_DATA", api_name="Total_XP", json_path="$.data[0].Total_XP", expected_data_type="integer"),
            Reason.WRONG_TYPE,
            "Total_XP",
            "INVALID_DATA Total_XP, expected_data_type integer",
        ),
        (error("INVALID_DATA", api_name="Email"), Reason.INVALID_VALUE, "Email", "INVALID_DATA Email"),
        (
            error("INVALID_DATA", api_name="id", json_path="$.data[0].id"),
            Reason.RECORD_GONE,
            "id",
            "INVALID_DATA id",
        ),
        (
            error("DUPLICATE_DATA", api_name="Email", json_path="$.data[0].Email", id=ID),
            Reason.DUPLICATE_IN_CRM,
            "Email",
            "DUPLICATE_DATA Email",
        ),
        (error("RECORD_LOCKED"), Reason.RECORD_LOCKED, None, "RECORD_LOCKED"),
        (error("NOT_APPROVED"), Reason.RECORD_LOCKED, None, "NOT_APPROVED"),
        (error("STORAGE_SPACE_EXCEEDED"), Reason.STORAGE_FULL, None, "STORAGE_SPACE_EXCEEDED"),
        (error("NO_PERMISSION"), Reason.NO_PERMISSION, None, "NO_PERMISSION"),
        (error("INTERNAL_ERROR"), Reason.BAD_ANSWER, None, "INTERNAL_ERROR"),
        (
            error("DEPENDENT_SERVICE_ERROR", dependency_error="PROCESSING_ERROR"),
            Reason.BAD_ANSWER,
            None,
            "DEPENDENT_SERVICE_ERROR",
        ),
        (error("A_CODE_OF_TOMORROW"), Reason.INVALID_VALUE, None, "A_CODE_OF_TOMORROW"),
    ],
)
def test_each_code_of_a_record_has_its_reason(
    entry: dict[str, Any], reason: Reason, field: str | None, detail: str
) -> None:
    assert one(entry) == Refused(record_id="r1", reason=reason, field=field, detail=detail)


@pytest.mark.parametrize("inside", [True, False])
def test_several_errors_of_one_record_are_unfolded(inside: bool) -> None:
    errors = [
        error("MANDATORY_NOT_FOUND", api_name="Last_Name", json_path="$.data[0].Last_Name"),
        error("INVALID_DATA", api_name="Email", json_path="$.data[0].Email", maximum_length=100),
    ]
    entry: dict[str, Any] = {"code": "MULTIPLE_OR_MULTI_ERRORS", "status": "error", "message": "", "details": {}}
    (entry["details"] if inside else entry)["errors"] = errors
    refused = one(entry)
    assert (refused.reason, refused.field) == (Reason.REQUIRED_FIELD_MISSING, "Last_Name")
    assert refused.detail == "MANDATORY_NOT_FOUND Last_Name; INVALID_DATA Email, maximum_length 100"


def test_a_problem_inside_a_look_up_belongs_to_it() -> None:
    (item,) = read_items({"data": [error("INVALID_DATA", api_name="id", json_path="$.data[0].Who_Id.id")]}, 1)
    assert isinstance(item, Failed)
    assert item.find("INVALID_DATA", "Who_Id") is not None
    assert item.refused("r1").reason is Reason.INVALID_VALUE, "the task's own id isn't what is gone"


@pytest.mark.parametrize("details", [{"id": ID}, {"duplicate_record": {"id": ID, "module": {"api_name": "Tasks"}}}])
def test_a_duplicate_names_the_record_that_is_there(details: dict[str, Any]) -> None:
    (item,) = read_items({"data": [error("DUPLICATE_DATA", api_name="Event_ID", **details)]}, 1)
    assert isinstance(item, Failed)
    found = item.find("DUPLICATE_DATA", "Event_ID")
    assert found is not None
    assert found.record_id == ID


def test_a_number_for_an_id_keeps_its_nineteen_digits() -> None:
    (item,) = read_items({"data": [success(details={"id": int(ID)})]}, 1)
    assert item == Done(crm_id=ID)


def test_a_permission_that_others_had_is_a_lock_on_the_record() -> None:
    _, item = read_items({"data": [success(), error("NO_PERMISSION")]}, 2)
    assert isinstance(item, Failed)
    assert item.refused("r1").reason is Reason.RECORD_LOCKED


def test_a_scope_that_every_record_lacks_is_a_failure_of_the_call() -> None:
    with pytest.raises(SinkError) as raised:
        read_items({"data": [error("OAUTH_SCOPE_MISMATCH")] * 2}, 2)
    assert raised.value.reason is Reason.SCOPE_MISSING


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"data": {}},
        {"data": []},
        {"data": [success()]},
        {"data": [success()] * 3},
        {"data": [success(), "text"]},
        {"data": [success(), {"status": "error"}]},
        {"data": [success(), success(details={})]},
        {"data": [success(), success(details={"id": {"a": 1}})]},
        {"data": [error("INVALID_DATA", json_path="$.data[1].Email"), success()]},
    ],
)
def test_an_answer_that_does_not_match_the_request_leaves_doubt(body: Any) -> None:
    with pytest.raises(SinkError) as raised:
        read_items(body, 2)
    assert (raised.value.reason, raised.value.maybe_applied) == (Reason.BAD_ANSWER, True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["code", "status", "details", "errors", "action", "duplicate_field", "api_name", "json_path"])


@given(st.lists(st.dictionaries(KEYS, JSON | st.sampled_from(["success", "error", "INVALID_DATA"])), max_size=3))
def test_any_list_is_read_or_refused(entries: list[dict[str, Any]]) -> None:
    try:
        items = read_items({"data": entries}, len(entries))
    except SinkError as raised:
        items = None
        doubt = raised.maybe_applied or raised.reason is Reason.SCOPE_MISSING
    else:
        doubt = False
    assert doubt if items is None else len(items) == len(entries)


@given(st.text(alphabet="abcdefghijklm@. ", min_size=12))
def test_what_a_record_holds_gets_into_no_detail(value: str) -> None:
    entry = error(
        "INVALID_DATA",
        api_name=value,
        json_path=value,
        expected_data_type=value + " ",
        supported_values=[value],
        maximum_length=value,
    )
    entry["message"] = value
    refused = one(entry)
    if not value.isalnum():
        assert value not in refused.detail
        assert refused.field is None


@pytest.mark.parametrize(
    ("status", "body", "reason", "maybe"),
    [
        (500, error("INTERNAL_ERROR"), Reason.UNAVAILABLE, True),
        (503, None, Reason.UNAVAILABLE, True),
        (400, error("INVALID_DATA", json_path="$.data"), Reason.REQUEST_REFUSED, False),
        (400, error("LIMIT_EXCEEDED", limit=100), Reason.REQUEST_REFUSED, False),
        (400, error("AUTHORIZATION_FAILED"), Reason.NO_PERMISSION, False),
        (202, error("UNABLE_TO_PARSE_DATA_TYPE"), Reason.REQUEST_REFUSED, False),
        (401, error("OAUTH_SCOPE_MISMATCH"), Reason.SCOPE_MISSING, False),
        (401, {"data": [error("OAUTH_SCOPE_MISMATCH")]}, Reason.SCOPE_MISSING, False),
        (401, error("INVALID_OAUTHTOKEN"), Reason.TOKEN_INVALID, False),
        (403, error("NO_PERMISSION"), Reason.NO_PERMISSION, False),
        (404, error("INVALID_URL_PATTERN"), Reason.REQUEST_REFUSED, False),
        (413, error("REQUEST_ENTITY_TOO_LARGE"), Reason.REQUEST_REFUSED, False),
        (302, {}, Reason.BAD_ANSWER, False),
        (200, [], Reason.BAD_ANSWER, True),
        (200, None, Reason.BAD_ANSWER, True),
    ],
)
def test_a_refusal_of_the_whole_call(status: int, body: Any, reason: Reason, maybe: bool) -> None:
    found = whole_error(status, body, is_json=True, write=True)
    assert found is not None
    assert (found.reason, found.maybe_applied) == (reason, maybe)


@pytest.mark.parametrize("status", [200, 201, 202, 207, 400])
def test_a_list_of_results_is_read_under_any_status(status: int) -> None:
    assert whole_error(status, {"data": [error("INVALID_DATA")]}, is_json=True, write=True) is None


@pytest.mark.parametrize("status", [204, 304])
def test_an_empty_answer_is_no_error(status: int) -> None:
    assert whole_error(status, None, is_json=True, write=False) is None


def test_a_failed_read_leaves_no_doubt() -> None:
    for status, is_json in ((500, True), (200, False)):
        found = whole_error(status, None, is_json=is_json, write=False)
        assert found is not None
        assert not found.maybe_applied


def test_the_code_of_a_refusal_is_found_in_either_wrapping() -> None:
    assert code_of(error("INVALID_TOKEN")) == "INVALID_TOKEN"
    assert code_of({"data": [error("OAUTH_SCOPE_MISMATCH")]}) == "OAUTH_SCOPE_MISMATCH"
    assert code_of({"code": "not a code"}) is None
    assert code_of("text") is None
