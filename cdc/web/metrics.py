"""`/metrics`: what Prometheus reads. All of it is of all processes on this state, the counters of this one aside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_address

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
from cdc.web.sharing import SharedRead
from cdc.web.signatures import has_token

log = structlog.get_logger()


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


class Metrics:
    """The endpoint.

    Args:
        look: reads the picture; asked once in two seconds at the most.
        process: what this process counts.
        tokens: that a reader may send.
    """

    def __init__(
        self, look: Callable[[], Awaitable[Picture]], process: CollectorRegistry, tokens: tuple[str, ...]
    ) -> None:
        self._pictures = SharedRead(look)
        self._process = process
        self._tokens = tokens

    async def answer(self, request: Request) -> Response:
        """Answer Prometheus."""
        check_reader(request, self._tokens)
        try:
            picture = await self._pictures.now()
        except (psycopg.Error, TimeoutError) as error:
            log.warning("metrics_not_read", error=type(error).__name__)
            raise Refusal(503, "database_away", "the state database can't be asked", {"retry-after": "5"}) from None
        registry = CollectorRegistry()
        registry.register(_Families(picture))
        body = generate_latest(registry) + generate_latest(self._process)
        return Response(body, headers={"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"})

    async def close(self) -> None:
        """End a read that is under way."""
        await self._pictures.close()
