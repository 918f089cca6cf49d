"""Bytes to Zoho and back: the one place that touches the network.

It knows two ways to fail: the request surely didn't arrive, or nobody can say.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import httpx

from sinks.sending import Condition

JsonValue = Any
"""A parsed JSON document; what it holds is checked where it is read."""


class NotSent(Exception):
    """The request surely didn't reach the server. The message is the kind of failure, free of addresses and values."""


class TooLate(NotSent):
    """It wasn't sent, because it may not be sent any more."""


class AnswerLost(Exception):
    """The request may have reached the server; its answer didn't reach us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """What came back.

    Attributes:
        status: HTTP status.
        headers: response headers.
        json: the parsed body; None if there was none or it wasn't JSON.
        is_json: False for a body that could not be read as JSON. True for an empty one.
        content: the body as it came, if it could not be read as JSON.
    """

    status: int
    headers: httpx.Headers
    json: JsonValue
    is_json: bool
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file to be sent as one part of a form.

    Attributes:
        name: its file name.
        data: what is in it.
        media_type: of what is in it.
    """

    name: str
    data: bytes = field(repr=False)
    media_type: str


_SEND_BUFFER: Final = 512 * 1024
"""Takes any request whole. Otherwise a process that is stopped in the middle of one would send the rest of it when it
is continued, however late."""


def _always() -> bool:
    return True


def _watch(may_send: Condition, *, has_body: bool) -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
    """Make the function that httpcore calls at every step of a request.

    A request is complete with its last write: that of the body, if there is one. Source: httpcore documentation,
    "Extensions", section "trace".
    """

    async def watch(event: str, info: Mapping[str, Any]) -> None:
        step = event.partition(".")[2]
        if step == "connect_tcp.complete":
            sock = info["return_value"].get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        sends = step == "send_request_headers.started" or (has_body and step == "send_request_body.started")
        if sends and not may_send():
            raise TooLate("its time was over before it was sent")

    return watch


class Transport:
    """A pool of HTTP connections.

    Args:
        timeout: seconds that one request may take from start to end, however slowly its bytes arrive.
        connections: connections at once.
    """

    def __init__(self, *, timeout: float = 30.0, connections: int = 25) -> None:
        self._timeout = timeout
        self._http = httpx.AsyncClient(
            # A connection that isn't made in half the time surely carried nothing; that much must stay knowable.
            timeout=httpx.Timeout(timeout, connect=min(timeout / 2, 10.0)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,  # a redirect would carry the token to wherever it points
        )

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: JsonValue = None,
        form: Mapping[str, str] | None = None,
        upload: Upload | None = None,
        seconds: float | None = None,
        may_send: Condition | None = None,
    ) -> RawAnswer:
        """Send one request.

        Args:
            method: HTTP method.
            url: whole.
            headers: beside the usual ones.
            params: query.
            json: body as JSON.
            form: body as a form.
            upload: body as a form with one file, in the field `file`.
            seconds: for this request, if not as for all.
            may_send: asked right before bytes leave; if it says no, they don't.

        Raises:
            NotSent: if it surely didn't arrive; TooLate if that was our own choice.
            AnswerLost: if it may have.
        """
        watch = _watch(may_send or _always, has_body=not (json is None and form is None and upload is None))
        try:
            async with asyncio.timeout(seconds or self._timeout):
                response = await self._http.request(
                    method,
                    url,
                    headers=headers,
                    params=params,
                    json=json,
                    data=form,
                    files=_parts(upload),
                    extensions={"trace": watch},
                )
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.ProxyError,
            httpx.UnsupportedProtocol,
            httpx.LocalProtocolError,
        ) as error:
            # `from None`: the chain would print the URL, and with it what was looked up.
            raise NotSent(type(error).__name__) from None
        except (httpx.RequestError, TimeoutError) as error:
            raise AnswerLost(type(error).__name__) from None
        if not response.content:
            return RawAnswer(status=response.status_code, headers=response.headers, json=None, is_json=True)
        try:
            body = response.json()
        except ValueError:  # an HTML page of a proxy, or bytes that are no text
            return RawAnswer(
                status=response.status_code,
                headers=response.headers,
                json=None,
                is_json=False,
                content=response.content,
            )
        return RawAnswer(status=response.status_code, headers=response.headers, json=body, is_json=True)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _parts(upload: Upload | None) -> dict[str, tuple[str, bytes, str]] | None:
    return None if upload is None else {"file": (upload.name, upload.data, upload.media_type)}
