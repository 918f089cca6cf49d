"""What stands between a call and its handler: token, limits, credits, faults, and the log."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from sinks.simulator.answers import Answer, Refusal
from sinks.simulator.ask import Ask
from sinks.simulator.calls import CallRecord
from sinks.simulator.faults import Action, Strike
from sinks.simulator.kinds import Kind
from sinks.simulator.pricing import heavy, price
from sinks.simulator.scopes import allowed
from sinks.simulator.simulation import Simulation

ABORT = "simulator.abort"
"""Key of the ASGI scope under which the server leaves a function that cuts the connection."""

Handler = Callable[[Simulation, Ask], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One operation of the API.

    Attributes:
        path: with parameters in braces.
        handler: carries the call out; the gate has let it through.
        module: of the call, where the path doesn't name it.
        module_of: reads the module from the call, where only its body names it.
        public: needs no access token and costs nothing.
    """

    method: str
    path: str
    kind: Kind
    handler: Handler
    module: str | None = None
    module_of: Callable[[Ask], str | None] | None = None
    public: bool = False


class Cut(Response):
    """Cuts the connection without an answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Abort the transport and wait until the server has noticed."""
        scope[ABORT]()
        while (await receive())["type"] != "http.disconnect":
            pass


class Gate:
    """Answers calls."""

    def __init__(self, simulation: Simulation) -> None:
        self._sim = simulation

    async def answer(self, endpoint: Endpoint, request: Request) -> Response:
        """Judge a call, carry it out and log it."""
        ask = await read(endpoint, request)
        begun = time.perf_counter()
        entry = self._sim.calls.open(
            at=self._sim.clock.now(),
            method=ask.method,
            path=ask.path,
            module=ask.module,
            kind=ask.kind.value,
            records=ask.records,
        )
        entry.workflows = _workflows(ask)
        try:
            answer = await self._judged(endpoint, ask, entry, request)
        except Refusal as refusal:
            answer = self._refusal(refusal)
        finally:
            entry.duration_ms = round((time.perf_counter() - begun) * 1000, 3)
        if answer is None:
            return Cut()
        _settle(entry, answer)
        return self._response(answer, public=endpoint.public)

    async def _judged(self, endpoint: Endpoint, ask: Ask, entry: CallRecord, request: Request) -> Answer | None:
        """The answer, or None when the connection is to be cut."""
        if endpoint.public:
            return await self._struck(endpoint, ask, self._strike(ask, entry), entry, request)
        tokens = self._sim.tokens
        authorization = ask.headers.get("authorization")
        tokens.authorise(authorization)
        with self._sim.concurrency.slot(heavy=heavy(ask.kind, ask.records, ask.query)):
            strike = self._strike(ask, entry)
            scopes = tokens.authorise(authorization)  # a fault may have taken the token away
            module = ask.module if ask.module in self._sim.org.modules else None
            if not allowed(scopes, ask.kind, module):
                raise Refusal(401, "OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL")
            return await self._struck(endpoint, ask, strike, entry, request)

    def _strike(self, ask: Ask, entry: CallRecord) -> Strike:
        """Which faults strike a call. One that was refused before it got here uses none up."""
        strike = self._sim.faults.strike(ask)
        entry.faults = [action.value for action in strike.actions]
        if strike.has(Action.REVOKE_TOKEN):
            self._sim.tokens.revoke_all()
        if strike.has(Action.REVOKE_TOKEN, Action.INVALIDATE_ACCESS_TOKENS):
            self._sim.tokens.invalidate_access_tokens()
        return strike

    async def _struck(
        self, endpoint: Endpoint, ask: Ask, strike: Strike, entry: CallRecord, request: Request
    ) -> Answer | None:
        """Carry a call out, or do to it what the faults say."""
        await self._pause(strike.delay + self._sim.config.latency)
        if self._sim.closing.is_set() or strike.has(Action.LOSE):
            entry.outcome = "lost"
            return None
        if strike.has(Action.HANG):
            entry.outcome = "hung"
            await self._until_gone(request)
            return None
        if strike.answer is not None:
            return strike.answer
        answer = self._carry_out(endpoint, ask, strike, entry)
        _garble(answer, strike)
        if strike.has(Action.APPLY_THEN_LOSE, Action.APPLY_THEN_HANG):
            _settle(entry, answer)
            entry.outcome, entry.status = "answer lost", None
            if strike.has(Action.APPLY_THEN_HANG):
                await self._until_gone(request)
            return None
        return answer

    def _carry_out(self, endpoint: Endpoint, ask: Ask, strike: Strike, entry: CallRecord) -> Answer:
        credits = self._sim.credits
        if not endpoint.public:
            cost = price(ask.kind, ask.records, ask.query)
            credits.charge(ask.kind, cost)
            entry.price = cost
        if strike.refused:
            ask.refuse = strike.refuse
        ask.struck = frozenset(strike.actions)
        answer = endpoint.handler(self._sim, ask)
        credits.take(ask.kind, answer.extra_credits)
        entry.price += answer.extra_credits
        return answer

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than the simulator runs."""
        if seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sim.closing.wait(), seconds)

    async def _until_gone(self, request: Request) -> None:
        """Wait until the caller has hung up or the simulator closes."""
        gone = asyncio.ensure_future(_disconnected(request))
        closing = asyncio.ensure_future(self._sim.closing.wait())
        _, waiting = await asyncio.wait({gone, closing}, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _refusal(self, refusal: Refusal) -> Answer:
        retry_after = self._sim.config.retry_after
        headers = {"Retry-After": str(retry_after)} if refusal.status == 429 and retry_after is not None else {}
        return Answer(status=refusal.status, body=refusal.item, headers=headers)

    def _response(self, answer: Answer, *, public: bool) -> Response:
        headers = answer.headers if public else {**self._sim.credits.header(), **answer.headers}
        if answer.body is None:
            return Response(status_code=answer.status, headers=headers)
        if isinstance(answer.body, bytes):
            media_type = headers.pop("content-type", answer.media_type)
            return Response(answer.body, answer.status, headers, media_type)
        return JSONResponse(answer.body, answer.status, headers)


async def read(endpoint: Endpoint, request: Request) -> Ask:
    """Read a call: query, headers, and the body in the form its kind comes in."""
    ask = Ask(
        kind=endpoint.kind,
        method=request.method,
        path=request.url.path,
        module=endpoint.module or request.path_params.get("module") or request.query_params.get("module"),
        params=dict(request.path_params),
        query=dict(request.query_params),
        headers=dict(request.headers),
    )
    if endpoint.public:
        async with request.form() as form:
            sent = {name: value for name, value in form.items() if isinstance(value, str)}
        ask.form = {**ask.query, **sent}
    elif endpoint.kind is Kind.UPLOAD:
        await _read_upload(ask, request)
    else:
        ask.raw = await request.body()
        ask.parse()
    if endpoint.module_of is not None:
        ask.module = endpoint.module_of(ask)
    return ask


async def _read_upload(ask: Ask, request: Request) -> None:
    if not ask.headers.get("content-type", "").startswith("multipart/form-data"):
        return
    async with request.form(max_files=1) as form:
        upload = form.get("file")
        if upload is not None and not isinstance(upload, str):
            ask.upload = await upload.read()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _workflows(ask: Ask) -> bool | None:
    """Whether a write lets workflow rules run: an absent `trigger` does, an empty one doesn't."""
    if ask.kind not in (Kind.INSERT, Kind.UPDATE, Kind.UPSERT) or not isinstance(ask.body, dict):
        return None
    return ask.body.get("trigger") != []


def _garble(answer: Answer, strike: Strike) -> None:
    """Spoil the order or number of an answer's items."""
    if not isinstance(answer.body, dict) or not isinstance(answer.body.get("data"), list):
        return
    if strike.has(Action.SHORT_ANSWER):
        answer.body["data"] = answer.body["data"][:-1]
    if strike.has(Action.REORDER_ANSWER):
        answer.body["data"] = answer.body["data"][::-1]


_OUTCOMES = {207: "partial", 401: "unauthorised", 429: "throttled"}


def _settle(entry: CallRecord, answer: Answer) -> None:
    """Write what became of a call into its log entry."""
    entry.status = answer.status
    default = "ok" if answer.status < 400 else "refused" if answer.status < 500 else "failed"
    entry.outcome = _OUTCOMES.get(answer.status, default)
    if not isinstance(answer.body, dict):
        return
    items = answer.body.get("data", answer.body.get("fields", [answer.body]))
    if isinstance(items, list):
        entry.codes = [item["code"] for item in items if isinstance(item, dict) and isinstance(item.get("code"), str)]
    if isinstance(answer.body.get("error"), str):
        entry.codes, entry.outcome = [answer.body["error"]], "refused"
