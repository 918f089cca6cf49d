"""Bulk Write: an uploaded ZIP, a job that runs later, and a result to be read row by row.

https://www.zoho.com/crm/developer/docs/api/v8/bulk-write/overview.html

A job is asked for with `ignore_empty` false: an empty cell clears its field, as null does in a JSON call. There is no
call that lists jobs. Whether one was started can't be found out when the answer was lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from urllib.parse import urlsplit

from sinks.base import BulkFile, JobProgress, JobState, Operation, Outcome
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.bulkfile import CsvFile, fits, read_result
from sinks.zoho.client import Route, ZohoClient
from sinks.zoho.config import ZohoConfig
from sinks.zoho.limits import Kind, price, upserts_price
from sinks.zoho.module import ModuleSink
from sinks.zoho.organisation import who_am_i
from sinks.zoho.transport import JsonValue, Upload

MAX_ROWS = 25_000
"""Most rows of one file."""

_ROOT = "/crm/bulk/v8"
_FILE_SECONDS = 300.0
_GONE = frozenset({"RESOURCE_NOT_FOUND"})

# https://www.zoho.com/crm/developer/docs/api/v8/bulk-write/job-details.html; the space is seen in the OpenAPI file.
_STATES: Mapping[str, JobState] = MappingProxyType(
    {
        "ADDED": JobState.RUNNING,
        "INPROGRESS": JobState.RUNNING,
        "IN PROGRESS": JobState.RUNNING,
        "COMPLETED": JobState.COMPLETED,
        "SKIPPED": JobState.FAILED,
        "FAILED": JobState.FAILED,
    }
)


class BulkWrite:
    """Bulk Write into one module; see `sinks.base.BulkSink`.

    Args:
        client: one organisation.
        sink: the module's sink, which knows how names map once it has had its fit.
    """

    job_rows = MAX_ROWS
    job_credits = price(Kind.BULK_WRITE)

    def __init__(self, client: ZohoClient, sink: ModuleSink) -> None:
        self._client = client
        self._sink = sink
        self._org: str | None = None

    def records_credits(self, records: int) -> int:
        """See `sinks.base.BulkSink`."""
        return upserts_price(records)

    def takes(self, operation: Operation) -> bool:
        """See `sinks.base.BulkSink`."""
        return fits(operation)

    def open_file(self, columns: Sequence[str]) -> BulkFile:
        """See `sinks.base.BulkSink`."""
        header = self._sink.api_names(columns)
        return CsvFile(f"{self._sink.module}.csv", self._sink.external_name, columns, header)

    async def upload(self, data: bytes) -> str:
        """See `sinks.base.BulkSink`.

        Raises:
            SinkError: as `ZohoClient.call`; REQUEST_REFUSED if nobody knows where uploads go.
        """
        origin = self._client.config.upload_origin
        if origin is None:
            raise SinkError(Reason.REQUEST_REFUSED, "no upload origin is known; set ZOHO_UPLOAD_URL")
        if self._org is None:
            self._org = (await who_am_i(self._client)).id
        route = Route(
            origin=origin,
            headers={"feature": "bulk-write", "X-CRM-ORG": self._org},
            upload=Upload(name=f"{self._sink.module}.zip", data=data, media_type="application/zip"),
            seconds=_FILE_SECONDS,
        )
        answer = await self._client.call(Kind.UPLOAD, "POST", "/upload", route=route)
        return _id_in(answer.body, "file_id")

    async def start(self, file_id: str, columns: Sequence[str]) -> str:
        """See `sinks.base.BulkSink`. Costs 500 credits.

        Raises:
            SinkError: as `ZohoClient.call`.
        """
        names = [self._sink.external_name, *self._sink.api_names(columns)]
        resource = {
            "type": "data",
            "module": {"api_name": self._sink.module},
            "file_id": file_id,
            "find_by": self._sink.external_name,
            "ignore_empty": False,
            "field_mappings": [{"api_name": name, "index": index} for index, name in enumerate(names)],
        }
        body = {"operation": "upsert", "character_encoding": "UTF-8", "ignore_empty": False, "resource": [resource]}
        answer = await self._client.call(Kind.BULK_WRITE, "POST", "/write", json=body, route=Route(root=_ROOT))
        return _id_in(answer.body, "id")

    async def progress(self, job_id: str) -> JobProgress:
        """See `sinks.base.BulkSink`. Costs one credit.

        Raises:
            SinkError: as `ZohoClient.call`; RECORD_GONE if there is no such job; BAD_ANSWER.
        """
        answer = await self._client.call(
            Kind.BULK_POLL, "GET", f"/write/{job_id}", route=Route(root=_ROOT), expect=_GONE
        )
        if answer.status >= 400:
            raise SinkError(Reason.RECORD_GONE, "RESOURCE_NOT_FOUND")
        body = answer.body if isinstance(answer.body, dict) else {}
        said = str(body.get("status", "")).upper()
        state = _STATES.get(said)
        result = body.get("result")
        url = result.get("download_url") if isinstance(result, dict) else None
        if state is None or (state is JobState.COMPLETED and not isinstance(url, str)):
            raise SinkError(Reason.BAD_ANSWER, "a bulk job without a state, or completed without a result")
        return JobProgress(state=state, result=url if isinstance(url, str) else None, detail=said)

    async def outcomes(self, result: str) -> Iterator[Outcome]:
        """See `sinks.base.BulkSink`. Costs one credit.

        Raises:
            SinkError: as `ZohoClient.call`; RECORD_GONE, BAD_ANSWER.
        """
        parts = urlsplit(result)
        origin = f"{parts.scheme}://{parts.netloc}"
        if not may_receive_token(origin, self._client.config, await self._client.api_origin()):
            raise SinkError(Reason.BAD_ANSWER, "the result of a bulk job lies outside of Zoho")
        route = Route(root="", origin=origin, is_file=True, seconds=_FILE_SECONDS)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        answer = await self._client.call(Kind.BULK_RESULT, "GET", path, route=route, expect=_GONE)
        if answer.status >= 400:
            raise SinkError(Reason.RECORD_GONE, "RESOURCE_NOT_FOUND")
        return read_result(answer.content, self._sink.external_name)


def may_receive_token(origin: str, config: ZohoConfig, api_origin: str) -> bool:
    """Tell whether a download may be asked for there with our token: only one of the account's own hosts.

    Results lie on a host of their own (`download-accl.zoho.eu`), so those beside a known one count as well.
    """
    known = [url for url in (api_origin, config.upload_origin, config.center.accounts, config.center.api) if url]
    if origin in known:
        return True
    parts = urlsplit(origin)
    if parts.scheme != "https" or parts.username is not None:
        return False
    domains = {_domain(url) for url in (config.center.accounts, config.center.api, config.center.upload) if url}
    return _domain(origin) in domains - {""}


def _domain(origin: str) -> str:
    return (urlsplit(origin).hostname or "").partition(".")[2]


def _id_in(body: JsonValue, name: str) -> str:
    details = body.get("details") if isinstance(body, dict) else None
    found = details.get(name) if isinstance(details, dict) else None
    if not isinstance(found, str) or not found.isascii() or not found.isalnum():
        raise SinkError(Reason.BAD_ANSWER, f"an answer without {name}", maybe_applied=True)
    return found
