import csv
import io
import zipfile
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.contract.simulator.conftest import Start
from tests.contract.simulator.support import Crm
from tests.support.waiting import until

HEADER = ["key", "name", "xp", "linked"]
MAPPINGS = [
    {"api_name": "External_ID", "index": 0},
    {"api_name": "Last_Name", "index": 1},
    {"api_name": "Total_XP", "index": 2},
    {"api_name": "Parent_Linked", "index": 3},
]


def zipped(*rows: list[str], name: str = "contacts.csv") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([HEADER, *rows])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, text.getvalue())
    return packed.getvalue()


async def upload(crm: Crm, data: bytes, **headers: str) -> httpx.Response:
    org = (await crm.get("/org")).json()["org"][0]["zgid"]
    sent = {"feature": "bulk-write", "X-CRM-ORG": org} | headers
    return await crm.call("POST", "/upload", files={"file": ("contacts.zip", data, "application/zip")}, headers=sent)


def job(file_id: str, /, **changes: Any) -> dict[str, Any]:
    resource = {
        "type": "data",
        "module": {"api_name": "Contacts"},
        "file_id": file_id,
        "find_by": "External_ID",
        "field_mappings": MAPPINGS,
    }
    resource |= changes
    return {"operation": "upsert", "resource": [{k: v for k, v in resource.items() if v is not None}]}


async def start_job(crm: Crm, *rows: list[str], **changes: Any) -> httpx.Response:
    file_id = (await upload(crm, zipped(*rows))).json()["details"]["file_id"]
    return await crm.call("POST", "/crm/bulk/v8/write", json=job(file_id, **changes))


async def finished(crm: Crm, job_id: str) -> tuple[dict[str, Any], set[str]]:
    states: set[str] = set()

    async def completed() -> dict[str, Any] | None:
        shown = dict((await crm.get(f"/crm/bulk/v8/write/{job_id}")).json())
        states.add(shown["status"])
        return shown if shown["status"] == "COMPLETED" else None

    shown = await until(completed)
    assert shown is not None
    return shown, states


async def result_rows(crm: Crm, shown: dict[str, Any]) -> list[dict[str, str]]:
    packed = await crm.http.get(shown["result"]["download_url"])
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        [name] = archive.namelist()
        return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


async def test_a_job_runs_by_and_by_and_answers_row_by_row(start: Start) -> None:
    crm = await start(bulk_delay=0.15)
    await crm.contact(External_ID="k1")
    answer = await start_job(crm, ["k1", "A", "5", "true"], ["k2", "B", "", "false"], ["k3", "C", "many", ""])
    assert answer.status_code == 201
    shown, states = await finished(crm, answer.json()["details"]["id"])
    assert states == {"ADDED", "INPROGRESS", "COMPLETED"}
    file = shown["resource"][0]["file"]
    assert [file[f"{name}_count"] for name in ("added", "updated", "skipped", "total")] == [1, 1, 1, 3]
    rows = await result_rows(crm, shown)
    assert [row["STATUS"] for row in rows] == ["UPDATED", "ADDED", "SKIPPED"]
    assert rows[2]["ERRORS"] == "INVALID_DATA-xp"
    assert list(rows[0]) == [*HEADER[:3], "STATUS", "RECORD_ID", "ERRORS"]  # no more than three of the columns
    records = {record["External_ID"]: record for record in await crm.records("Contacts")}
    assert rows[1]["RECORD_ID"] == records["k2"]["id"]
    assert (records["k1"]["Total_XP"], records["k1"]["Parent_Linked"]) == (5, True)


async def test_a_job_costs_five_hundred_credits_whatever_its_size(start: Start) -> None:
    crm = await start(bulk_delay=0.0)
    await finished(crm, (await start_job(crm, ["k1", "A", "", ""])).json()["details"]["id"])
    assert (await crm.calls(kind="bulk_write"))[0]["price"] == 500


@pytest.mark.parametrize(("ignore_empty", "xp"), [(True, 7), (False, None)])
async def test_empty_cells_clear_unless_they_are_to_be_ignored(
    start: Start, ignore_empty: bool, xp: int | None
) -> None:
    crm = await start(bulk_delay=0.0)
    await crm.contact(External_ID="k1", Total_XP=7)
    answer = await start_job(crm, ["k1", "A", "", ""], ignore_empty=ignore_empty)
    await finished(crm, answer.json()["details"]["id"])
    assert (await crm.records("Contacts"))[0]["Total_XP"] == xp


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"find_by": None}, "MISSING_REQUIRED_KEY"),
        ({"find_by": "Last_Name"}, "INVALID_FIELD"),
        ({"file_id": "1"}, "FILE_NOT_FOUND"),
        ({"module": {"api_name": "Notes"}}, "MODULE_NOT_AVAILABLE"),
        ({"module": "Contacts"}, "MODULE_NOT_AVAILABLE"),
        ({"field_mappings": MAPPINGS[:1]}, "MANDATORY_FIELDS_NOT_MAPPED"),
        ({"field_mappings": [*MAPPINGS, {"api_name": "Nope", "index": 0}]}, "INVALID_FIELD"),
        ({"field_mappings": [*MAPPINGS, {"api_name": "XP_Art"}]}, "MISSING_REQUIRED_KEY"),
        ({"field_mappings": [*MAPPINGS, {"api_name": "XP_Art", "index": 4}]}, "COLUMN_INDEX_NOT_FOUND"),
    ],
)
async def test_a_job_that_cannot_run_is_refused(crm: Crm, changes: dict[str, Any], code: str) -> None:
    answer = await start_job(crm, ["k1", "A", "", ""], **changes)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    ("callback", "code"),
    [
        ({"url": "http://ex.com", "method": "post"}, "INVALID_CALLBACK_URL"),
        ({"url": "https://ex.com", "method": "get"}, "INVALID_CALLBACK_METHOD"),
    ],
)
async def test_a_callback_is_https_and_post(crm: Crm, callback: dict[str, str], code: str) -> None:
    file_id = (await upload(crm, zipped())).json()["details"]["file_id"]
    answer = await crm.call("POST", "/crm/bulk/v8/write", json=job(file_id) | {"callback": callback})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no zip", "INVALID_FILE_FORMAT"),
        (zipped(name="contacts.txt"), "FILE_NOT_SUPPORTED"),
        (zipped(*[["k", "A", "", ""]] * 25_001), "LIMIT_EXCEEDED"),
        (zipped(["x"] * 201), "HEADER_LIMIT_EXCEEDED"),
    ],
    ids=["no zip", "no csv", "too many rows", "too many columns"],
)
async def test_a_file_that_does_not_fit_is_refused(crm: Crm, data: bytes, code: str) -> None:
    answer = await upload(crm, data)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("headers", [{"feature": "other"}, {"X-CRM-ORG": "1"}])
async def test_an_upload_needs_its_headers(crm: Crm, headers: dict[str, str]) -> None:
    answer = await upload(crm, zipped(), **headers)
    assert answer.status_code == 400
    assert "feature, X-CRM-ORG" in answer.json()["x-error"]


async def job_id_of(crm: Crm, *rows: list[str], fault: str) -> str:
    await crm.fault(action=fault, kind="bulk_write")
    return str((await start_job(crm, *rows)).json()["details"]["id"])


async def test_a_held_job_goes_on_when_the_faults_are_cleared(start: Start) -> None:
    crm = await start(bulk_delay=0.0)
    job_id = await job_id_of(crm, ["k1", "A", "", ""], fault="hold_job")

    async def state() -> str:
        return str((await crm.get(f"/crm/bulk/v8/write/{job_id}")).json()["status"])

    await until(lambda: _is(state, "INPROGRESS"))
    assert await crm.records("Contacts") == []
    await crm.call("DELETE", "/_sim/faults")
    await until(lambda: _is(state, "COMPLETED"))


async def _is(state: Callable[[], Awaitable[str]], wanted: str) -> bool:
    return await state() == wanted


async def test_a_failed_job_has_written_some_rows_and_has_no_result(start: Start) -> None:
    crm = await start(bulk_delay=0.0)
    job_id = await job_id_of(crm, ["k1", "A", "", ""], ["k2", "B", "", ""], fault="fail_job")

    async def failed() -> bool:
        return bool((await crm.get(f"/crm/bulk/v8/write/{job_id}")).json()["status"] == "FAILED")

    await until(failed)
    assert [record["External_ID"] for record in await crm.records("Contacts")] == ["k1"]
    assert (await crm.get(f"/crm/bulk/v8/write/{job_id}/result")).json()["code"] == "RESOURCE_NOT_FOUND"


async def test_rows_that_a_job_does_not_reach_are_told_as_unprocessed(start: Start) -> None:
    crm = await start(bulk_delay=0.0)
    job_id = await job_id_of(crm, ["k1", "A", "", ""], ["k2", "B", "", ""], fault="cut_job")
    shown, _ = await finished(crm, job_id)
    assert [row["STATUS"] for row in await result_rows(crm, shown)] == ["ADDED", "UNPROCESSED"]


async def test_several_errors_of_a_row_are_joined_by_colons(start: Start) -> None:
    crm = await start(bulk_delay=0.0)
    job_id = (await start_job(crm, ["k1", "", "many", ""])).json()["details"]["id"]
    shown, _ = await finished(crm, job_id)
    [row] = await result_rows(crm, shown)
    assert set(row["ERRORS"].split(":")) == {"MANDATORY_NOT_FOUND-name", "INVALID_DATA-xp"}


async def test_a_result_is_kept_for_seven_days(start: Start) -> None:
    crm = await start(bulk_delay=0.0)
    job_id = (await start_job(crm, ["k1", "A", "", ""])).json()["details"]["id"]
    await finished(crm, job_id)
    await crm.call("POST", "/_sim/clock", json={"seconds": 7 * 86_400 + 1})
    await crm.sign_in()
    assert (await crm.get(f"/crm/bulk/v8/write/{job_id}/result")).json()["code"] == "RESOURCE_NOT_FOUND"


async def test_an_unknown_job(crm: Crm) -> None:
    assert (await crm.get("/crm/bulk/v8/write/1")).json()["code"] == "RESOURCE_NOT_FOUND"
