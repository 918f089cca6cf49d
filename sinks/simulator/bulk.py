"""Bulk Write: an uploaded ZIP with one CSV, a job that runs later, and a result to be read row by row.

https://www.zoho.com/crm/developer/docs/api/v8/bulk-write/overview.html
"""

from __future__ import annotations

import asyncio
import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sinks.simulator.answers import Item, Json, Refusal
from sinks.simulator.bulkvalues import from_csv
from sinks.simulator.clock import iso
from sinks.simulator.faults import Action
from sinks.simulator.fields import Module
from sinks.simulator.org import USER

if TYPE_CHECKING:
    from sinks.simulator.simulation import Simulation

ROWS = 25_000
COLUMNS = 200
ZIP_BYTES = 25_000_000
CSV_BYTES = 25_000_000
KEPT_SECONDS = 7 * 86_400
"""How long a result can be fetched."""
SHOWN_COLUMNS = 3
"""A result repeats no more than the first three mapped columns."""
CHUNK = 100
"""Rows written before other calls get their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Which column goes into which field."""

    api_name: str
    index: int | None
    default: object = None


@dataclass(slots=True, kw_only=True)
class Job:
    """One job.

    Attributes:
        state: ADDED, INPROGRESS, COMPLETED or FAILED.
        fate: what a fault has in store for it; None if nothing.
        held: keeps a held job where it is until it is set.
    """

    id: str
    module: Module
    operation: str
    mappings: Sequence[Mapping]
    file_id: str
    find_by: str | None
    ignore_empty: bool
    created: float
    callback: Json | None = None
    state: str = "ADDED"
    added: int = 0
    updated: int = 0
    skipped: int = 0
    total: int = 0
    result: bytes = b""
    fate: Action | None = None
    held: asyncio.Event | None = None

    def describe(self, base: str) -> Json:
        """The job as `GET /crm/bulk/v8/write/{id}` shows it."""
        file = {
            "status": self.state,
            "name": f"{self.module.api_name}.csv",
            "added_count": self.added,
            "updated_count": self.updated,
            "skipped_count": self.skipped,
            "total_count": self.total,
        }
        shown = {
            "status": self.state,
            "character_encoding": "UTF-8",
            "id": self.id,
            "operation": self.operation,
            "created_by": {"id": USER["id"], "name": USER["name"]},
            "created_time": iso(self.created),
            "callback": self.callback,
            "resource": [
                {
                    "status": self.state,
                    "type": "data",
                    "module": {"api_name": self.module.api_name, "id": self.module.id},
                    "file_id": self.file_id,
                    "find_by": self.find_by,
                    "ignore_empty": self.ignore_empty,
                    "field_mappings": [{"api_name": one.api_name, "index": one.index} for one in self.mappings],
                    "file": file,
                }
            ],
        }
        if self.state == "COMPLETED":
            shown["result"] = {"download_url": f"{base}/crm/bulk/v8/write/{self.id}/result"}
        return shown


@dataclass(slots=True)
class BulkJobs:
    """Uploaded files and jobs."""

    sim: Simulation
    files: dict[str, list[list[str]]] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def clear(self) -> None:
        """Forget files and jobs; those that run are stopped."""
        for task in self._tasks:
            task.cancel()
        self.files.clear()
        self.jobs.clear()

    def upload(self, data: bytes) -> str:
        """Keep an uploaded ZIP; its file id.

        Raises:
            Refusal: it is too large, no ZIP, or doesn't hold exactly one CSV within the limits.
        """
        if len(data) > ZIP_BYTES:
            raise Refusal(400, "FILE_TOO_LARGE", "File size too large to process")
        rows = list(_rows(data))
        if any(len(row) > COLUMNS for row in rows):
            raise Refusal(400, "HEADER_LIMIT_EXCEEDED", "too many columns", {"limit": COLUMNS})
        if len(rows) > ROWS + 1:
            raise Refusal(400, "LIMIT_EXCEEDED", "too many rows", {"limit": ROWS})
        file_id = self.sim.ids.take()
        self.files[file_id] = rows
        return file_id

    def start(self, job: Job) -> None:
        """Take a job in; it runs by and by."""
        self.jobs[job.id] = job
        task = asyncio.get_running_loop().create_task(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Job) -> None:
        await asyncio.sleep(self.sim.config.bulk_delay)
        job.state = "INPROGRESS"
        await asyncio.sleep(self.sim.config.bulk_delay)
        if job.fate is Action.HOLD_JOB and job.held is not None:
            await job.held.wait()
        header, *rows = self.files[job.file_id]
        shown = sorted({one.index for one in job.mappings if one.index is not None})[:SHOWN_COLUMNS]
        written = io.StringIO(newline="")
        out = csv.writer(written)
        out.writerow([*(header[n] for n in shown), "STATUS", "RECORD_ID", "ERRORS"])
        reached = len(rows) // 2 if job.fate in (Action.FAIL_JOB, Action.CUT_JOB) else len(rows)
        for start in range(0, len(rows), CHUNK):
            for place, row in enumerate(rows[start : start + CHUNK], start):
                told = self._write_row(job, row, header) if place < reached else ("UNPROCESSED", "", "")
                out.writerow([*(row[n] if n < len(row) else "" for n in shown), *told])
            await asyncio.sleep(0)
        job.total = len(rows)
        if job.fate is Action.FAIL_JOB:
            job.state = "FAILED"
            return
        job.result = _zipped(f"{job.id}.csv", written.getvalue())
        job.state = "COMPLETED"

    def _write_row(self, job: Job, row: Sequence[str], header: Sequence[str]) -> tuple[str, str, str]:
        """Status, record id and errors of one row."""
        item = self._item(job, _record(job, row))
        if item["status"] == "error":
            job.skipped += 1
            heads = {one.api_name: header[one.index] for one in job.mappings if one.index is not None}
            return "SKIPPED", "", ":".join(_errors(item, heads))
        added = item["message"] == "record added"
        job.added += added
        job.updated += not added
        return "ADDED" if added else "UPDATED", item["details"]["id"], ""

    def _item(self, job: Job, record: Json) -> Item:
        records = self.sim.records
        if job.operation == "insert":
            return records.insert(job.module, [record])[0]
        found = self._find(job, record)
        if found is None and job.operation == "upsert":
            record.pop("id", None)
            return records.insert(job.module, [record])[0]
        return records.update(job.module, [{**record, "id": found}])[0]

    def _find(self, job: Job, record: Json) -> str | None:
        table = self.sim.records.tables[job.module.api_name]
        if job.find_by == "id":
            wanted = str(record.get("id", ""))
            return wanted if wanted in table.records else None
        found = table.find(job.module.fields[str(job.find_by)], record.get(str(job.find_by)))
        return found[0] if found else None


def _errors(item: Item, heads: Json) -> Iterator[str]:
    """Write errors as `CODE-column`, several joined by colons."""
    details = item["details"]
    if item["code"] == "MULTIPLE_OR_MULTI_ERRORS":
        for one in details["errors"]:
            yield from _errors(one, heads)
        return
    name = details.get("api_name")
    yield item["code"] if name is None else f"{item['code']}-{heads.get(name, name)}"


def _record(job: Job, row: Sequence[str]) -> Json:
    """A row as the record of a JSON call."""
    record: Json = {}
    for mapping in job.mappings:
        text = row[mapping.index] if mapping.index is not None and mapping.index < len(row) else ""
        if not text and mapping.default is not None:
            record[mapping.api_name] = mapping.default
        elif text or not job.ignore_empty:
            wanted = job.module.fields.get(mapping.api_name)
            record[mapping.api_name] = from_csv(wanted, text) if wanted else text
    return record


def _rows(data: bytes) -> Iterator[list[str]]:
    """The rows of the one CSV in a ZIP, its header first."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [info for info in archive.infolist() if not info.is_dir()]
            if len(names) != 1 or not names[0].filename.lower().endswith(".csv"):
                raise Refusal(400, "FILE_NOT_SUPPORTED", "File not supported for bulk write")
            if names[0].file_size > CSV_BYTES:
                raise Refusal(400, "FILE_TOO_LARGE", "File size too large to process")
            text = archive.read(names[0]).decode("utf-8-sig")
    except (zipfile.BadZipFile, UnicodeDecodeError) as wrong:
        raise Refusal(400, "INVALID_FILE_FORMAT", "invalid file format. only zip format is supported") from wrong
    yield from csv.reader(io.StringIO(text, newline=""))


def _zipped(name: str, text: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return packed.getvalue()
