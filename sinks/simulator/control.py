"""Control endpoints under `/_sim/`, for tests and demos. They are free, unlogged and need no token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sinks.simulator.answers import Json
from sinks.simulator.clock import iso
from sinks.simulator.faults import FaultRule
from sinks.simulator.rendering import render
from sinks.simulator.store import Table

if TYPE_CHECKING:
    from sinks.simulator.simulation import Simulation

_RULES: TypeAdapter[list[FaultRule]] = TypeAdapter(list[FaultRule])


class _Reset(BaseModel):
    model_config = ConfigDict(extra="forbid")

    fields: bool = False
    tokens: bool = False


class _Advance(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(ge=0)


class _NewCode(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scopes: tuple[str, ...] | None = None


def _wrong(error: ValidationError) -> JSONResponse:
    return JSONResponse({"errors": error.errors(include_url=False, include_context=False)}, 422)


class Control:
    """The endpoints over one simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._sim = simulation

    def routes(self) -> list[Route]:
        """Routes to mount."""
        return [
            Route("/_sim/records/{module}", self._records, methods=["GET"]),
            Route("/_sim/history/{module}", self._history, methods=["GET"]),
            Route("/_sim/calls", self._calls, methods=["GET"]),
            Route("/_sim/credits", self._credits, methods=["GET"]),
            Route("/_sim/faults", self._faults, methods=["GET", "POST", "DELETE"]),
            Route("/_sim/reset", self._reset, methods=["POST"]),
            Route("/_sim/clock", self._clock, methods=["GET", "POST"]),
            Route("/_sim/codes", self._codes, methods=["POST"]),
        ]

    def _table(self, request: Request) -> Table | None:
        return self._sim.records.tables.get(request.path_params["module"])

    async def _records(self, request: Request) -> Response:
        table = self._table(request)
        if table is None:
            return JSONResponse({"error": "no such module"}, 404)
        tables = self._sim.records.tables
        return JSONResponse([render(tables, table, record) for record in table.records.values()])

    async def _history(self, request: Request) -> Response:
        table = self._table(request)
        if table is None:
            return JSONResponse({"error": "no such module"}, 404)
        return JSONResponse(
            [
                {
                    "number": change.number,
                    "time": iso(change.time),
                    "action": change.action,
                    "id": change.id,
                    "fields": change.fields,
                }
                for change in table.history
            ]
        )

    async def _calls(self, request: Request) -> Response:
        query = request.query_params
        try:
            after = int(query.get("after", 0))
            last = int(query["last"]) if "last" in query else None
        except ValueError:
            return JSONResponse({"error": "after and last are numbers"}, 422)
        chosen = self._sim.calls.select(after=after, kind=query.get("kind"), module=query.get("module"), last=last)
        return JSONResponse([entry.as_json() for entry in chosen])

    async def _credits(self, _: Request) -> Response:
        return JSONResponse(self.credits())

    def credits(self) -> Json:
        """Credits spent and left, and the most simultaneous calls seen."""
        credits, concurrency = self._sim.credits, self._sim.concurrency
        return {
            "edition": self._sim.config.edition.value,
            "total": credits.total,
            "used": credits.used,
            "remaining": credits.remaining,
            "by_kind": dict(credits.by_kind),
            "concurrency": {
                "limit": concurrency.limit,
                "heavy_limit": concurrency.heavy_limit,
                "highest": concurrency.highest,
            },
        }

    async def _faults(self, request: Request) -> Response:
        faults = self._sim.faults
        if request.method == "DELETE":
            faults.clear()
        elif request.method == "POST":
            try:
                faults.add(*_RULES.validate_json(await request.body()))
            except ValidationError as error:
                return _wrong(error)
        return JSONResponse(faults.as_json())

    async def _reset(self, request: Request) -> Response:
        try:
            wanted = _Reset.model_validate_json(await request.body() or b"{}")
        except ValidationError as error:
            return _wrong(error)
        self._sim.reset(fields=wanted.fields, tokens=wanted.tokens)
        return JSONResponse({"status": "reset"})

    async def _clock(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                self._sim.clock.advance(_Advance.model_validate_json(await request.body()).seconds)
            except ValidationError as error:
                return _wrong(error)
        return JSONResponse({"now": iso(self._sim.clock.now())})

    async def _codes(self, request: Request) -> Response:
        try:
            wanted = _NewCode.model_validate_json(await request.body() or b"{}")
        except ValidationError as error:
            return _wrong(error)
        return JSONResponse({"code": self._sim.tokens.new_code(wanted.scopes)})
