"""The page at `/`: what the organisation holds, and what the calls cost. People are masked unless asked for."""

from __future__ import annotations

import heapq
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from sinks.simulator.answers import Json
from sinks.simulator.clock import iso
from sinks.simulator.fields import DataType
from sinks.simulator.rendering import render
from sinks.simulator.store import Table

if TYPE_CHECKING:
    from sinks.simulator.simulation import Simulation

SHOWN = 50
CALLS_SHOWN = 100

_PEOPLE = frozenset(
    {DataType.TEXT, DataType.TEXTAREA, DataType.EMAIL, DataType.PHONE, DataType.WEBSITE, DataType.LOOKUP}
)
"""Types that may hold words about a person. Numbers, dates and picklists are shown as they are."""

_LEAD = {
    "Contacts": ("Full_Name", "Email", "External_ID"),
    "Tasks": ("Subject", "Who_Id", "Event_ID"),
    "Notes": ("Note_Title", "Note_Content", "Parent_Id"),
}
_LEFT_OUT = frozenset(
    {"Owner", "Created_By", "Modified_By", "Created_Time", "Modified_Time", "First_Name", "Last_Name"}
)


@dataclass(frozen=True, slots=True)
class Row:
    """One record on the page: leading cells, and the other fields that are set."""

    id: str
    cells: Sequence[str]
    others: Sequence[tuple[str, str]]
    modified: str


@dataclass(frozen=True, slots=True)
class Section:
    """One module on the page."""

    name: str
    count: int
    heads: Sequence[str]
    rows: Sequence[Row]


def mask(text: str) -> str:
    """The first sign of a text, and how long it is, roughly."""
    return f"{text[0]}{'•' * min(8, max(3, len(text) - 1))}" if text else ""


class Page:
    """The page and the fragment it refreshes itself with."""

    def __init__(self, simulation: Simulation) -> None:
        self._sim = simulation
        self._templates = Environment(loader=PackageLoader("sinks.simulator"), autoescape=True, trim_blocks=True)

    def routes(self) -> list[Route]:
        """Routes to mount."""
        return [
            Route("/", self._index, methods=["GET"]),
            Route("/_sim/fragment", self._fragment, methods=["GET"]),
        ]

    async def _index(self, _: Request) -> Response:
        nonce = secrets.token_urlsafe(12)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
            "base-uri 'none'; frame-ancestors 'none'"
        )
        html = self._templates.get_template("page.html").render(nonce=nonce, content=self._content(reveal=False))
        return HTMLResponse(html, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})

    async def _fragment(self, request: Request) -> Response:
        html = self._templates.get_template("fragment.html").render(
            content=self._content(reveal=request.query_params.get("reveal") == "1")
        )
        return HTMLResponse(html, headers={"Cache-Control": "no-store"})

    def _content(self, *, reveal: bool) -> Json:
        sim = self._sim
        return {
            "sections": [self._section(name, reveal=reveal) for name in _LEAD],
            "calls": [(entry, iso(entry.at)[11:19]) for entry in sim.calls.latest(CALLS_SHOWN)],
            "call_count": sim.calls.count,
            "used": sim.credits.used,
            "total": sim.credits.total,
            "by_kind": sim.credits.by_kind.most_common(),
            "highest": sim.concurrency.highest,
            "concurrency": sim.concurrency.limit,
            "edition": sim.config.edition.value,
            "faults": sim.faults.as_json(),
        }

    def _section(self, name: str, *, reveal: bool) -> Section:
        table = self._sim.records.tables[name]
        heads = [one for one in _LEAD[name] if one in table.module.fields]
        latest = heapq.nlargest(SHOWN, table.modified.items(), key=lambda pair: (pair[1], int(pair[0])))
        rows = [self._row(table, record_id, heads, reveal=reveal) for record_id, _ in latest]
        labels = [table.module.fields[head].label for head in heads]
        return Section(name, len(table.records), labels, rows)

    def _row(self, table: Table, record_id: str, heads: Sequence[str], *, reveal: bool) -> Row:
        shown = render(self._sim.records.tables, table, table.records[record_id])
        fields = table.module.fields

        def cell(name: str) -> str:
            value = shown[name]
            text = str(value.get("name") if isinstance(value, dict) else value)
            return mask(text) if fields[name].type in _PEOPLE and not reveal else text

        others = [
            (field.label, cell(name))
            for name, field in fields.items()
            if name not in heads and name not in _LEFT_OUT and shown[name] not in (None, False)
        ]
        cells = [cell(head) if shown[head] is not None else "" for head in heads]
        return Row(record_id, cells, others, iso(table.modified[record_id])[11:19])
