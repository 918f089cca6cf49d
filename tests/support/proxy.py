"""A TCP proxy between a client and a server that misbehaves as networks, poolers and balancers do.

It knows Postgres just enough to leave start-up parameters out and to say what a connection is for; with `raw` it
forwards any protocol.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_PROTOCOL_3 = 3
_SSL_REQUEST = 80_877_103
_PIECE = 65_536
_FAREWELL_SECONDS = 0.5
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass
class Line:
    """One connection through the proxy.

    Attributes:
        parameters: what the client said at the start, such as `application_name`; empty with `raw`.
        up: clear while nothing goes from the client to the server.
        down: clear while nothing goes from the server to the client.
        half_open: the server's side is closed, and the client's isn't.
    """

    parameters: Mapping[str, str]
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    up: asyncio.Event = field(default_factory=asyncio.Event)
    down: asyncio.Event = field(default_factory=asyncio.Event)
    half_open: bool = False

    def __post_init__(self) -> None:
        self.up.set()
        self.down.set()

    @property
    def is_replication(self) -> bool:
        """True for a connection that speaks the replication protocol."""
        return "replication" in self.parameters

    def is_for(self, purpose: str) -> bool:
        """Tell whether it is one of ours, opened for a purpose that begins so: `capture`, `stream`, `poll`, `state`."""
        return self.parameters.get("application_name", "").startswith(f"cdc {purpose}")


Hold = Callable[[Line, bytes], bool]
"""Asked with what the client is about to send; True keeps it back, and all that follows on that connection."""


@dataclass
class Proxy:
    """Forwards connections to a server.

    Attributes:
        dsn: leads through the proxy, with `raw` too.
        port: on 127.0.0.1.
        flowing: while it is clear nothing is forwarded and nothing is closed either, like a cut line.
        delay: seconds by which each piece of data comes late, in each direction.
        jitter: up to so many seconds more, by chance.
        bytes_per_second: of each connection and direction; None for no limit.
        most: connections at once; what comes beyond is closed at once, without a word.
        hold: see there.
        hold_answers: the same for what the server sends.
        held: set once something was kept back.
        lines: the connections that are open.
        served: connections so far.
    """

    target: Mapping[str, str]
    strip: frozenset[str]
    raw: bool
    tls: ssl.SSLContext | None
    chance: Random
    dsn: str = ""
    port: int = 0
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    delay: float = 0.0
    jitter: float = 0.0
    bytes_per_second: float | None = None
    most: int | None = None
    hold: Hold | None = None
    hold_answers: Hold | None = None
    held: asyncio.Event = field(default_factory=asyncio.Event)
    lines: list[Line] = field(default_factory=list)
    served: int = 0

    def cut(self, *, reset: bool = False, which: Callable[[Line], bool] = lambda _: True) -> int:
        """Close connections on both sides, with FIN or with RST. Gives how many."""
        chosen = [line for line in self.lines if which(line)]
        for line in chosen:
            for end in (line.client, line.server):
                if reset:
                    raw = end.get_extra_info("socket")
                    with suppress(OSError):
                        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                    end.transport.abort()
                else:
                    end.close()
        return len(chosen)

    def half_close(self, which: Callable[[Line], bool] = lambda _: True) -> int:
        """Close towards the server only: the client believes that its connection is open, and hears nothing more."""
        chosen = [line for line in self.lines if which(line)]
        for line in chosen:
            line.half_open = True
            line.up.clear()
            line.server.close()
        return len(chosen)

    def release(self) -> None:
        """Let go what was kept back, and keep nothing back any more."""
        self.hold = self.hold_answers = None
        self.held.clear()
        for line in self.lines:
            line.up.set()
            line.down.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side goes."""
        if self.most is not None and len(self.lines) >= self.most:
            writer.close()
            return
        self.served += 1
        try:
            up_reader, up_writer = await self._connect()
        except OSError:
            writer.close()
            return
        line = Line({}, writer, up_writer)
        self.lines.append(line)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                if not self.raw:
                    line.parameters, startup = await self._startup(reader, writer)
                    up_writer.write(startup)
                up = self._pump(line, reader, up_writer, line.up, lambda: self.hold)
                down = self._pump(line, up_reader, writer, line.down, lambda: self.hold_answers)
                await self._forward(line, up, down)
        finally:
            self.lines.remove(line)
            for end in (writer, up_writer):
                await _close(end)

    async def _forward(self, line: Line, up: Coroutine[Any, Any, None], down: Coroutine[Any, Any, None]) -> None:
        pumps = [asyncio.ensure_future(up), asyncio.ensure_future(down)]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if line.half_open:
                await pumps[0]  # the client is told nothing; it goes when it goes
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.target["host"], self.target.get("port", "5432")
        if host.startswith("/"):
            return await asyncio.open_unix_connection(str(Path(host) / f".s.PGSQL.{port}"))
        return await asyncio.open_connection(host, int(port))

    async def _startup(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[dict[str, str], bytes]:
        """Read the startup packet, and leave parameters out, as a pooler does with what it doesn't know."""
        while True:
            (length,) = struct.unpack(">i", await reader.readexactly(4))
            body = await reader.readexactly(length - 4)
            (code,) = struct.unpack(">i", body[:4])
            if code >> 16 == _PROTOCOL_3:
                break
            if code == _SSL_REQUEST and self.tls is not None:
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(self.tls)
            else:
                writer.write(b"N")  # no GSSAPI, and no TLS either
        words = body[4:].split(b"\0")
        pairs = [(k, v) for k, v in zip(words[::2], words[1::2], strict=False) if k]
        kept = b"".join(k + b"\0" + v + b"\0" for k, v in pairs if k.decode() not in self.strip) + b"\0"
        parameters = {k.decode(): v.decode(errors="replace") for k, v in pairs}
        return parameters, struct.pack(">i", len(kept) + 8) + body[:4] + kept

    async def _pump(
        self,
        line: Line,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gate: asyncio.Event,
        hold: Callable[[], Hold | None],
    ) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(_PIECE):
                await self.flowing.wait()
                await self._dawdle(len(data))
                decide = hold()
                if decide is not None and decide(line, data):
                    gate.clear()
                    self.held.set()
                if not gate.is_set():
                    data = await _keep_back(reader, gate, data)
                writer.write(data)
                await writer.drain()

    async def _dawdle(self, size: int) -> None:
        seconds = self.delay + self.jitter * self.chance.random()
        if self.bytes_per_second is not None:
            seconds += size / self.bytes_per_second
        if seconds:
            await asyncio.sleep(seconds)


async def _close(end: asyncio.StreamWriter) -> None:
    """Close an end; one with TLS would wait for a farewell that a client which is gone never sends."""
    end.close()
    with suppress(ConnectionError, ssl.SSLError, TimeoutError):
        async with asyncio.timeout(_FAREWELL_SECONDS):
            await end.wait_closed()
    end.transport.abort()


async def _keep_back(reader: asyncio.StreamReader, gate: asyncio.Event, data: bytes) -> bytes:
    """Gather until the gate opens. An end that goes meanwhile takes with it what it had sent."""
    opened = asyncio.ensure_future(gate.wait())
    try:
        while not gate.is_set():
            more = asyncio.ensure_future(reader.read(_PIECE))
            await asyncio.wait({opened, more}, return_when=asyncio.FIRST_COMPLETED)
            if not more.done():
                more.cancel()
            elif not more.result():
                raise ConnectionResetError
            else:
                data += more.result()
    finally:
        opened.cancel()
    return data


@asynccontextmanager
async def proxy(
    dsn: str, *, strip: Iterable[str] = (), raw: bool = False, tls: ssl.SSLContext | None = None, seed: int = 0
) -> AsyncIterator[Proxy]:
    """Stand between a client and the server of `dsn`, on a free port of 127.0.0.1.

    Args:
        dsn: the server; of any kind with `raw`.
        strip: startup parameters that get lost on the way.
        raw: forward bytes and look at nothing.
        tls: what to offer a client that asks for TLS; the way to the server stays without.
        seed: of the jitter.
    """
    target = MappingProxyType({k: str(v) for k, v in conninfo_to_dict(dsn).items() if v})
    made = Proxy(target, frozenset(strip), raw, tls, Random(seed))
    made.flowing.set()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(made.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=_PIECE)
    made.port = server.sockets[0].getsockname()[1]
    made.dsn = make_conninfo(dsn, host="127.0.0.1", port=made.port)
    try:
        yield made
    finally:
        server.close()
        made.release()
        for task in [*tasks]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def address(url: str) -> str:
    """Write an `http://host:port` as the connection string that `proxy(..., raw=True)` takes."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    return make_conninfo(host=host, port=port)
