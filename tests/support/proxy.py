"""A TCP proxy between a client and Postgres that misbehaves as poolers and networks do."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_PROTOCOL_3 = 196_608


@dataclass
class Proxy:
    """Forwards connections to a server.

    Attributes:
        dsn: leads through the proxy.
        flowing: while it is clear nothing is forwarded and nothing is closed either, like a cut line.
    """

    target: dict[str, str]
    strip: frozenset[str]
    dsn: str = ""
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _clients: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """Break all connections off."""
        for client in self._clients:
            client.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side goes."""
        try:
            up_reader, up_writer = await self._connect()
        except OSError:  # the server is down
            writer.close()
            return
        self._clients.add(writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                up_writer.write(await self._startup(reader, writer))
                await self._forward((reader, up_writer), (up_reader, writer))
        finally:
            self._clients.discard(writer)
            for end in (writer, up_writer):
                end.close()
                with suppress(ConnectionError):
                    await end.wait_closed()

    async def _forward(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        pumps = [asyncio.ensure_future(self._pump(*way)) for way in ways]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.target["host"], self.target.get("port", "5432")
        if host.startswith("/"):
            return await asyncio.open_unix_connection(str(Path(host) / f".s.PGSQL.{port}"))
        return await asyncio.open_connection(host, int(port))

    async def _startup(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Read the client's startup packet and leave parameters out, as a pooler does with what it doesn't know."""
        while True:
            (length,) = struct.unpack(">i", await reader.readexactly(4))
            body = await reader.readexactly(length - 4)
            (code,) = struct.unpack(">i", body[:4])
            if code >> 16 == _PROTOCOL_3 >> 16:
                break
            writer.write(b"N")  # no TLS and no GSSAPI here
        words = body[4:].split(b"\0")
        pairs = [(k, v) for k, v in zip(words[::2], words[1::2], strict=False) if k and k.decode() not in self.strip]
        kept = b"".join(k + b"\0" + v + b"\0" for k, v in pairs) + b"\0"
        return struct.pack(">i", len(kept) + 8) + body[:4] + kept

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def proxy(dsn: str, *, strip: Iterable[str] = ()) -> AsyncIterator[Proxy]:
    """Stand between a client and the server of `dsn`, on a free port of 127.0.0.1.

    Args:
        dsn: the server.
        strip: startup parameters that get lost on the way.
    """
    made = Proxy({k: str(v) for k, v in conninfo_to_dict(dsn).items() if v}, frozenset(strip))
    made.flowing.set()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(made.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    made.dsn = make_conninfo(dsn, host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    try:
        yield made
    finally:
        server.close()
        for task in [*tasks]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
