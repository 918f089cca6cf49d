"""`/metrics`: what Prometheus reads. All of it is of all processes on this state, the counters of this one aside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

import psycopg
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from cdc.watch.metrics import families
from cdc.watch.outlook import Picture
from cdc.web.refusals import Refusal
from cdc.web.signatures import has_token

log = structlog.get_logger()

FRESH_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 10.0


def check_reader(request: Request, tokens: tuple[str, ...]) -> None:
    """Let in who has a token; without any token configured, whoever asks from this machine and for nobody else.

    Raises:
        Refusal: 401.
    """
    if has_token(request.headers, tokens) if tokens else _is_local(request):
        return
    words = "a bearer token of CDC_METRICS_TOKENS is needed"
    raise Refusal(401, "unauthorized", words, {"www-authenticate": "Bearer"})


def _is_local(request: Request) -> bool:
    if request.client is None or {"forwarded", "x-forwarded-for"} & set(request.headers.keys()):
        return False  # a proxy on this machine asks for somebody else
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


class _Families(Collector):
    """Gives the metrics of one picture."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        return families(self._picture)


@dataclass(slots=True)
class Metrics:
    """The endpoint.

    Attributes:
        look: reads the picture; asked once in two seconds at the most.
        process: what this process counts.
        tokens: that a reader may send.
    """

    look: Callable[[], Awaitable[Picture]]
    process: CollectorRegistry
    tokens: tuple[str, ...] = field(repr=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _known: tuple[float, bytes] | None = None

    async def answer(self, request: Request) -> Response:
        """Answer Prometheus."""
        check_reader(request, self.tokens)
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                body = await self._body()
        except (psycopg.Error, TimeoutError) as error:
            log.warning("metrics_not_read", error=type(error).__name__)
            raise Refusal(503, "database_away", "the state database can't be asked", {"retry-after": "5"}) from None
        return Response(body, headers={"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"})

    async def _body(self) -> bytes:
        async with self._turn:
            now = time.monotonic()
            if self._known is None or now - self._known[0] >= FRESH_SECONDS:
                registry = CollectorRegistry()
                registry.register(_Families(await self.look()))
                self._known = time.monotonic(), generate_latest(registry)
            return self._known[1] + generate_latest(self.process)
