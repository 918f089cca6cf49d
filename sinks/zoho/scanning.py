"""Reading whole modules by COQL, page by page: keyset on the id, and few credits.

COQL costs by its LIMIT, takes 50 columns and gives 2,000 rows at most; paging by id needs no offset, so there is no end
to it. https://www.zoho.com/crm/developer/docs/api/v8/COQL-Limitations.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Final

from sinks.base import Column, FieldValue, Misfit
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.scan import Scanned
from sinks.zoho.client import ZohoClient
from sinks.zoho.contacts import ContactsSink
from sinks.zoho.limits import COQL_TIERS, MERGE_CREDITS, Kind, price, upserts_price
from sinks.zoho.module import COQL_IN, ModuleSink, quoted
from sinks.zoho.reading import forms_of, rows_of
from sinks.zoho.transport import JsonValue

_COLUMNS: Final = 50
_MODIFIED: Final = "Modified_Time"
_MOST_ROWS: Final = COQL_TIERS[-1]
_BIN_PAGE: Final = 200
_MERGED_AT_ONCE: Final = 2


class ModuleScanner:
    """Reads all records of a sink's module; a `sinks.scan.Scannable`.

    Args:
        client: one organisation.
        sink: which knows the fields once its `fit` was called; one with an external id.
    """

    def __init__(self, client: ZohoClient, sink: ModuleSink) -> None:
        self._client = client
        self._sink = sink
        is_contacts = isinstance(sink, ContactsSink)
        self.likeness = "Email" if is_contacts else None
        self.merges = _MERGED_AT_ONCE if is_contacts else 0
        self.merge_credits = MERGE_CREDITS

    async def fit(self, columns: Sequence[Column]) -> list[Misfit]:
        """See `sinks.scan.Scannable`. Costs one credit."""
        return await self._sink.fit(columns)

    async def count(self) -> int:
        """See `sinks.scan.Scannable`. Costs one credit.

        https://www.zoho.com/crm/developer/docs/api/v8/get-record-count.html
        """
        answer = await self._client.call(Kind.COUNT, "GET", f"/{self._sink.module}/actions/count")
        count = answer.body.get("count") if isinstance(answer.body, dict) else None
        if not isinstance(count, int) or isinstance(count, bool):
            raise SinkError(Reason.BAD_ANSWER, "a count without a number")
        return count

    async def scan(self, columns: Sequence[str], expected: int) -> AsyncIterator[Sequence[Scanned]]:
        """See `sinks.scan.Scannable`. Columns beyond 50 take a query of their own for each page."""
        groups = self._groups(columns)
        after, seen = 0, 0
        while True:
            limit = _limit_for(expected - seen)
            rows, more = await self._page(groups[0], f"id > {after}", limit)
            if not rows:
                return
            last = max(int(crm_id) for crm_id in rows)
            for group in groups[1:]:
                rest, _ = await self._page(group, f"id > {after} and id <= {last}", limit)
                # What was deleted between the two queries is in one of them only.
                rows = {crm_id: {**row, **rest[crm_id]} for crm_id, row in rows.items() if crm_id in rest}
            yield [self._scanned(row, columns) for row in rows.values()]
            seen += len(rows)
            after = last
            if not more:
                return

    async def find(self, record_ids: Sequence[str], columns: Sequence[str]) -> list[Scanned]:
        """See `sinks.scan.Scannable`. One credit for each fifty of them."""
        name = self._sink.external_name
        found: list[Scanned] = []
        for some in _batched(record_ids, COQL_IN):
            where = f"{name} in ({', '.join(quoted(one) for one in some)})"
            rows: dict[str, dict[str, JsonValue]] = {}
            for group in self._groups(columns):
                page, _ = await self._page(group, where, COQL_TIERS[0])
                for crm_id, row in page.items():
                    rows.setdefault(crm_id, {}).update(row)
            # Values that upset the query's quoting find nothing; other capitals are another record's.
            found += [one for one in (self._scanned(row, columns) for row in rows.values()) if one.record_id in some]
        return found

    async def binned(self, wanted: Collection[str]) -> frozenset[str]:
        """See `sinks.scan.Scannable`: the newest 2,000 of the bin, two credits for each 200 of them.

        https://www.zoho.com/crm/developer/docs/api/v8/get-deleted-records.html
        """
        left, found = set(wanted), set[str]()
        for page in range(1, _MOST_ROWS // _BIN_PAGE + 1):
            if not left:
                break
            params = {"type": "recycle", "per_page": str(_BIN_PAGE), "page": str(page)}
            answer = await self._client.call(
                Kind.DELETED_READ, "GET", f"/{self._sink.module}/deleted", params=params, records=_BIN_PAGE
            )
            listed = {row["id"] for row in rows_of(answer.body) if isinstance(row.get("id"), str)}
            found |= left & listed
            left -= listed
            if not _has_more(answer.body):
                break
        return frozenset(found)

    async def activities(self, crm_ids: Sequence[str]) -> Mapping[str, int]:
        """See `sinks.scan.Scannable`: tasks of contacts, 2,000 counted at most; three credits for each fifty."""
        counted: Counter[str] = Counter()
        for some in _batched(crm_ids, COQL_IN) if self.likeness is not None else ():
            query = f"select id, Who_Id from Tasks where Who_Id in ({', '.join(some)}) limit {_MOST_ROWS}"
            for row in rows_of(await self._ask(query, _MOST_ROWS)):
                link = row.get("Who_Id")
                if isinstance(link, dict) and isinstance(link.get("id"), str):
                    counted[link["id"]] += 1
        return counted

    def same(self, column: str, ours: FieldValue, theirs: object) -> bool:
        """See `sinks.scan.Scannable`."""
        return self._sink.same(column, ours, theirs)

    def forms(self, theirs: object) -> Sequence[FieldValue]:
        """See `sinks.scan.Scannable`."""
        return forms_of(theirs)

    def scan_credits(self, records: int, columns: int) -> int:
        """See `sinks.scan.Scannable`."""
        pages, rest = divmod(records, _MOST_ROWS)
        last = price(Kind.COQL, _limit_for(rest)) if rest or not pages else 0
        each = pages * price(Kind.COQL, _MOST_ROWS) + last
        return each * self._queries(columns)

    def find_credits(self, records: int, columns: int) -> int:
        """See `sinks.scan.Scannable`."""
        return -(-records // COQL_IN) * self._queries(columns)

    def write_credits(self, records: int) -> int:
        """See `sinks.scan.Scannable`."""
        return upserts_price(records)

    def _queries(self, columns: int) -> int:
        return max(1, -(-columns // (_COLUMNS - len(self._always))))

    @property
    def _always(self) -> list[str]:
        """What every query asks for beside the view's columns."""
        wanted = ["id", self._sink.external_name, _MODIFIED, *([] if self.likeness is None else [self.likeness])]
        return list(dict.fromkeys(wanted))

    def _groups(self, columns: Sequence[str]) -> list[list[str]]:
        names = [name for name in self._sink.api_names(columns) if name not in self._always]
        room = _COLUMNS - len(self._always)
        return [[*self._always, *group] for group in _batched(names, room)] or [self._always]

    async def _page(
        self, names: Sequence[str], where: str, limit: int
    ) -> tuple[dict[str, Mapping[str, JsonValue]], bool]:
        """Ask for one page. Gives rows by id, and whether there are more."""
        query = f"select {', '.join(names)} from {self._sink.module} where {where} order by id asc limit {limit}"
        body = await self._ask(query, limit)
        rows = {row["id"]: row for row in rows_of(body) if isinstance(row.get("id"), str)}
        if len(rows) != len(rows_of(body)) or not all(crm_id.isdecimal() for crm_id in rows):
            raise SinkError(Reason.BAD_ANSWER, "a page of records with ids missing or twice")
        return rows, _has_more(body)

    async def _ask(self, query: str, limit: int) -> JsonValue:
        answer = await self._client.call(Kind.COQL, "POST", "/coql", json={"select_query": query}, records=limit)
        return answer.body

    def _scanned(self, row: Mapping[str, JsonValue], columns: Sequence[str]) -> Scanned:
        record_id, modified = row.get(self._sink.external_name), row.get(_MODIFIED)
        address = None if self.likeness is None else row.get(self.likeness)
        names = zip(columns, self._sink.api_names(columns), strict=True)
        return Scanned(
            crm_id=str(row["id"]),
            record_id=record_id if isinstance(record_id, str) and record_id else None,
            likeness=address.strip().casefold() if isinstance(address, str) and address.strip() else None,
            modified_at=modified if isinstance(modified, str) else None,
            fields={column: row.get(name) for column, name in names},
        )


def _limit_for(left: int) -> int:
    """Choose the cheapest LIMIT that takes what is left; what has come meanwhile is little."""
    return next((tier for tier in COQL_TIERS if left <= tier), _MOST_ROWS)


def _batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _has_more(body: JsonValue) -> bool:
    info = body.get("info") if isinstance(body, dict) else None
    return isinstance(info, dict) and info.get("more_records") is True
