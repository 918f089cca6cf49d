"""One call to the CRM: token, concurrency, retries, books and the meaning of failures.

What may be tried again inside a call is decided by one question: can it have been carried out? A read may always be
repeated, a write only if it surely never arrived. All other retries are made by the caller, from the database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from sinks.calls import Called, Outcome
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.sending import sending_condition
from sinks.zoho.auth import Access, Authenticator
from sinks.zoho.config import ZohoConfig
from sinks.zoho.limits import EDITIONS, HEAVY_CONCURRENCY, WRITES, Kind, RefusalWatch, is_heavy, price
from sinks.zoho.responses import TOKEN_CODES, code_of, whole_error
from sinks.zoho.transport import AnswerLost, JsonValue, NotSent, RawAnswer, TooLate, Transport, Upload

log = structlog.get_logger()

_ATTEMPTS = 3
_REMAINING = "X-API-CREDITS-REMAINING"


class CreditBook(Protocol):
    """Keeps account of calls, and of what they cost."""

    async def spend(self, kind: str, credits: int) -> None:
        """Enter one call that reached the CRM. `credits` is 0 for one that was turned away.

        Must not fail: the call has been made, and its result must not be lost with the books.
        """
        ...

    async def note(self, called: Called) -> None:
        """Enter how a call went, also one that never left. Must not fail either."""
        ...


class NoBook:
    """Keeps no account: tests and one-off commands."""

    async def spend(self, kind: str, credits: int) -> None:
        """Do nothing."""

    async def note(self, called: Called) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that is to be read: not an error as a whole.

    Attributes:
        status: HTTP status; 204 has no body.
        body: parsed JSON, None if empty.
        content: the body as it came, for a call that asks for a file.
    """

    status: int
    body: JsonValue
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a call goes, where that isn't the records API.

    Attributes:
        root: what comes before the path.
        origin: scheme and host, if not those of the API.
        headers: beside the usual ones.
        upload: a file in place of a JSON body.
        is_file: the answer is a file, not JSON.
        seconds: if a call may take longer than usual.
    """

    root: str = "/crm/v8"
    origin: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    upload: Upload | None = None
    is_file: bool = False
    seconds: float | None = None


RECORDS = Route()
"""The records API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to send, for pricing, logging and sending."""

    kind: Kind
    method: str
    path: str
    json: JsonValue
    params: Mapping[str, str] | None
    records: int
    route: Route

    @property
    def is_write(self) -> bool:
        """Whether a repeat could do something twice."""
        return self.kind in WRITES


class ZohoClient:
    """Talks to one CRM organisation.

    Args:
        config: the account.
        auth: gives the access token.
        transport: carries the requests.
        book: where calls are entered.
        clock: seconds of a clock that doesn't jump.
    """

    def __init__(
        self,
        config: ZohoConfig,
        auth: Authenticator,
        transport: Transport,
        book: CreditBook,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        allowed = config.concurrency or EDITIONS[config.edition].concurrency
        self._config = config
        self._auth = auth
        self._transport = transport
        self._book = book
        self._clock = clock
        self._all = asyncio.Semaphore(allowed)
        self._heavy = asyncio.Semaphore(min(allowed, HEAVY_CONCURRENCY))
        self._watch = RefusalWatch()

    @property
    def credits_remaining(self) -> int | None:
        """The CRM's own figure, which it gives only once half of the credits are used; None if it hasn't."""
        return self._watch.remaining

    @property
    def config(self) -> ZohoConfig:
        """The account."""
        return self._config

    async def api_origin(self) -> str:
        """Give the origin that calls go to, which a token names.

        Raises:
            SinkError: if there is no token to be had.
        """
        return (await self._auth.access()).api_domain

    async def call(
        self,
        kind: Kind,
        method: str,
        path: str,
        *,
        json: JsonValue = None,
        params: Mapping[str, str] | None = None,
        records: int = 1,
        expect: frozenset[str] = frozenset(),
        route: Route = RECORDS,
    ) -> Answer:
        """Make one call.

        Args:
            kind: what it is, for its price.
            method: HTTP method.
            path: below the route's root, with its leading slash.
            json: body.
            params: query.
            records: records in it, for its price; for COQL the LIMIT.
            expect: codes of a refusal that the caller wants to read itself.
            route: where to, if not to the records API.

        Returns:
            The answer, where it isn't an error as a whole; single records in it may still have failed.

        Raises:
            SinkError: see `sinks.errors`. `maybe_applied` is set if and only if a write may have been carried out.
        """
        request = Request(kind=kind, method=method, path=path, json=json, params=params, records=records, route=route)
        async with self._slot(request):
            raw = await self._authorised(request)
        if code_of(raw.json) in expect and raw.status < 500:
            return Answer(status=raw.status, body=raw.json)
        error = self._judge(request, raw)
        if error is not None:
            raise error
        return Answer(status=raw.status, body=raw.json, content=raw.content)

    @asynccontextmanager
    async def _slot(self, request: Request) -> AsyncIterator[None]:
        if not is_heavy(request.kind, request.records):
            async with self._all:
                yield
            return
        # The heavy slot first: a call that waits for it must not hold up the light ones.
        async with self._heavy, self._all:
            yield

    async def _authorised(self, request: Request) -> RawAnswer:
        """Send with a token; with a new one, once, if the token was refused."""
        access = await self._auth.access()
        raw = await self._retried(request, access)
        if raw.status == 401 and (code_of(raw.json) is None or code_of(raw.json) in TOKEN_CODES):
            raw = await self._retried(request, await self._auth.renew(access))
        return raw

    async def _retried(self, request: Request, access: Access) -> RawAnswer:
        """Send, again after a short pause where that can do no harm."""

        def harmless(error: BaseException) -> bool:
            if isinstance(error, TooLate):
                return False
            return isinstance(error, NotSent) or (isinstance(error, AnswerLost) and not request.is_write)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.2, max=2.0),
            retry=retry_if_exception(harmless),
            reraise=True,
        )
        try:
            return await retrying(self._booked, request, access)
        except NotSent as error:
            raise SinkError(Reason.UNAVAILABLE, str(error)) from None
        except AnswerLost as error:
            if request.is_write:
                raise SinkError(Reason.OUTCOME_UNKNOWN, str(error), maybe_applied=True) from None
            raise SinkError(Reason.UNAVAILABLE, str(error)) from None

    async def _booked(self, request: Request, access: Access) -> RawAnswer:
        """Send once, enter the cost, and log one line."""
        started = self._clock()
        try:
            raw = await self._transport.send(
                request.method,
                f"{request.route.origin or access.api_domain}{request.route.root}{request.path}",
                headers={**request.route.headers, "Authorization": f"Zoho-oauthtoken {access.token}"},
                params=request.params,
                json=request.json,
                upload=request.route.upload,
                seconds=request.route.seconds,
                may_send=sending_condition(),
            )
        except NotSent as error:
            self._log(request, started, credits=0, failure=str(error))
            await self._book.note(self._called(request, started, Outcome.NOT_SENT))
            raise
        except AnswerLost as error:
            cost = price(request.kind, request.records)
            await self._enter(request, started, Outcome.NO_ANSWER, credits=cost, failure=str(error))
            raise
        # Turned away at the door costs nothing; all else may have been counted.
        cost = 0 if raw.status in (401, 429) else price(request.kind, request.records)
        remaining = _number(raw.headers.get(_REMAINING))
        outcome = self._outcome(raw.status, remaining)
        await self._enter(request, started, outcome, remaining, credits=cost, status=raw.status)
        return raw

    def _outcome(self, status: int, remaining: int | None) -> Outcome:
        """Say what became of a call that was answered, and tell the watch."""
        if status == 429:
            exhausted = self._watch.refused(remaining, self._clock()) is Reason.CREDITS_EXHAUSTED
            return Outcome.CREDITS if exhausted else Outcome.CONCURRENCY
        if status < 500:
            self._watch.accepted(remaining)
        return Outcome.of_status(status)

    async def _enter(
        self,
        request: Request,
        started: float,
        outcome: Outcome,
        remaining: int | None = None,
        *,
        credits: int,
        **result: str | int,
    ) -> None:
        self._log(request, started, credits=credits, **result)
        await self._book.spend(request.kind.value, credits)
        await self._book.note(self._called(request, started, outcome, remaining))

    def _called(self, request: Request, started: float, outcome: Outcome, remaining: int | None = None) -> Called:
        seconds = max(0.0, self._clock() - started)
        is_file = request.route.is_file or request.route.upload is not None
        return Called(kind=request.kind.value, outcome=outcome, seconds=seconds, is_file=is_file, remaining=remaining)

    def _log(self, request: Request, started: float, *, credits: int, **result: str | int) -> None:
        took_ms = round((self._clock() - started) * 1000)
        log.info(
            "zoho_called", kind=request.kind.value, records=request.records, credits=credits, took_ms=took_ms, **result
        )

    def _judge(self, request: Request, raw: RawAnswer) -> SinkError | None:
        if raw.status == 429:
            reason = self._watch.meaning(self._clock())
            return SinkError(reason, "HTTP 429", retry_after=_seconds(raw.headers.get("Retry-After")))
        if request.route.is_file and raw.status < 300 and not raw.is_json:
            return None
        return whole_error(raw.status, raw.json, is_json=raw.is_json, write=request.is_write)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _seconds(text: str | None) -> float | None:
    """Read a Retry-After, which Zoho doesn't document; a date in it is left unread."""
    number = _number(text)
    return None if number is None else float(number)
