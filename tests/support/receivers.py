"""Those whom alerts are sent to: a real mail server and a real HTTP server, on this machine."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message as Letter
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cdc.web.server import serving

USER, PASSWORD = "sender", "p@ss:word/of the sender"


@dataclass
class Mailbox:
    """What a mail server got.

    Attributes:
        answer: to a letter; anything but 250 refuses it.
        signed_in: how often somebody signed in.
    """

    port: int = 0
    answer: str = "250 OK"
    letters: list[Letter] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)
    signed_in: int = 0
    refused: int = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        del server
        if not self.answer.startswith("250"):
            self.refused += 1
            return self.answer
        content = envelope.content
        assert isinstance(content, bytes)
        self.letters.append(message_from_bytes(content))
        self.recipients.append(envelope.rcpt_tos)
        self.over_tls.append(session.ssl is not None)
        return self.answer

    def authenticate(self, *args: Any) -> AuthResult:
        data = args[-1]
        good = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        self.signed_in += good
        return AuthResult(success=good)

    def text(self) -> str:
        """The last letter's text. No property: the server reads all of them before there is a letter."""
        payload = self.letters[-1].get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload.decode()


@asynccontextmanager
async def mail_server(*, tls: ssl.SSLContext | None = None, sign_in: bool = False) -> AsyncIterator[Mailbox]:
    """Run a mail server for the length of the block.

    Args:
        tls: offered by STARTTLS, and demanded.
        sign_in: nobody may send without.
    """
    box = Mailbox()

    loop = asyncio.get_running_loop()

    def session() -> SMTP:
        return SMTP(
            box, loop=loop, tls_context=tls, require_starttls=tls is not None, authenticator=box.authenticate,
            auth_required=sign_in, auth_require_tls=tls is not None, hostname="localhost",
        )  # fmt: skip

    server = await loop.create_server(session, "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        await server.wait_closed()


@dataclass
class Inbox:
    """What an HTTP server got.

    Attributes:
        answers: a status for each request to come; 200 once they are used up.
    """

    url: str = ""
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    on_request: Callable[[], None] = lambda: None

    async def take(self, request: Request) -> Response:
        body = await request.body()
        self.requests.append((request.method, request.url.path, dict(request.headers), body))
        self.on_request()
        status = self.answers.pop(0) if self.answers else 200
        headers = {"location": "http://127.0.0.1:1/elsewhere"} if 300 <= status < 400 else {}
        return PlainTextResponse("whatever they say", status, headers)

    @property
    def bodies(self) -> list[Any]:
        """All of them as JSON."""
        return [json.loads(body) for *_, body in self.requests]

    @property
    def paths(self) -> list[str]:
        return [path for _, path, *_ in self.requests]


@asynccontextmanager
async def http_server() -> AsyncIterator[Inbox]:
    """Run an HTTP server that takes anything, for the length of the block."""
    inbox = Inbox()
    app = Starlette(routes=[Route("/{path:path}", inbox.take, methods=["GET", "POST"])])
    async with serving(app, "127.0.0.1", 0) as url:
        inbox.url = url
        yield inbox
