"""Bytes leave while they may, and not a moment later."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from sinks.zoho.transport import NotSent, TooLate, Transport
from tests.support.waiting import until


@dataclass
class Server:
    """Answers each request when it is told to, and keeps what arrived whole."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")), 0)
                self.bodies.append(await reader.readexactly(length))
                await self.answer.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    made = Server()
    listener = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    try:
        yield made
    finally:
        made.answer.set()
        listener.close()


async def test_a_request_that_waited_too_long_for_a_connection_is_not_sent() -> None:
    allowed = True
    async with serving() as server, Transport(connections=1) as transport:
        first = asyncio.create_task(transport.send("POST", server.url, json={"n": 1}))
        await until(lambda: server.bodies, what="the first request is there")
        second = asyncio.create_task(transport.send("POST", server.url, json={"n": 2}, may_send=lambda: allowed))
        await asyncio.sleep(0)
        allowed = False
        server.answer.set()
        assert (await first).status == 200
        with pytest.raises(TooLate):
            await second
        third = await transport.send("POST", server.url, json={"n": 3}, may_send=lambda: True)
        assert third.status == 200
    assert server.bodies == [b'{"n":1}', b'{"n":3}']


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_what_is_given_up_between_head_and_body_does_not_arrive_whole(method: str) -> None:
    asked: list[bool] = []

    def once() -> bool:
        asked.append(True)
        return len(asked) == 1

    async with serving() as server, Transport() as transport:
        server.answer.set()
        if method == "DELETE":  # it is whole with its head: to call it unsent afterwards would be a lie
            assert (await transport.send(method, server.url, may_send=once)).status == 200
            assert server.bodies == [b""]
        else:
            with pytest.raises(NotSent):
                await transport.send(method, server.url, json={"n": 1}, may_send=once)
            assert server.bodies == []


async def test_a_body_goes_to_the_kernel_in_one_piece() -> None:
    """A process that is stopped right then holds nothing of it back, so it sends no rest when it is continued."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        async with Transport() as transport:
            sending = asyncio.create_task(transport.send("POST", url, json={"x": "y" * 150_000}))
            peer, _ = await loop.sock_accept(listener)
            with peer:
                await until(lambda: b'{"x"' in _peek(peer), what="the body has begun")
                arrived = _read_while_nobody_else_runs(peer, 150_000)
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
    assert arrived > 150_000


def _peek(peer: socket.socket) -> bytes:
    try:
        return peer.recv(65_536, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


def _read_while_nobody_else_runs(peer: socket.socket, enough: int) -> int:
    """Read what the kernel has, the event loop of the sender standing still like a stopped process."""
    peer.settimeout(2)
    arrived = 0
    try:
        while arrived <= enough and (data := peer.recv(65_536)):
            arrived += len(data)
    except TimeoutError:
        pass
    return arrived
