"""A server that speaks Supabase Realtime's protocol, as unreliable as the real one, on a real replication slot.

The slot is temporary and is made when somebody subscribes, so what is written while there is none is lost for good, as
it is there. What a change looks like comes from pgoutput. Everything that can go wrong on the way can be asked for.

Protocol 1.0.0: JSON objects of topic, event, payload, ref. Sources: Supabase documentation, "Realtime protocol"; the
source of supabase/realtime.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit
from zlib import crc32

import psycopg
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.support.phoenix_slot import Data, TemporarySlot

KEY = "sb_secret_for_the_tests_alone"
_BIG = "x" * 1_200_000


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on.

    Attributes:
        refuse: HTTP status of the handshake.
        join: how a join is answered: `ok`, `error`, `silence`, `zero_ids`, `no_changes`, `mismatch`.
        withhold_ready: never say that changes will come.
        silent: send nothing at all any more, not even replies.
        drop: share of events that are lost.
        duplicate: share of events that come twice.
        hold: share of events that come after those of the next poll.
        shuffle: events of one poll come in any order.
        oversize: send so many of the next events in frames that are too large.
        too_large: send so many of the next events as Realtime sends rows beyond its limit: cut, with an error.
        secured: tables with row-level security: what is gone when Realtime looks isn't sent.
    """

    refuse: int | None = None
    join: str = "ok"
    withhold_ready: bool = False
    silent: bool = False
    drop: float = 0.0
    duplicate: float = 0.0
    hold: float = 0.0
    shuffle: bool = False
    oversize: int = 0
    too_large: int = 0
    secured: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Channel:
    """What one client has joined."""

    socket: ServerConnection
    topic: str
    bindings: list[dict[str, Any]]
    is_live: bool = False

    def ids_for(self, data: Data) -> list[int]:
        return [
            b["id"] for b in self.bindings
            if b["event"] in {"*", data["type"]} and b["schema"] == data["schema"] and b.get("table") == data["table"]
        ]  # fmt: skip


@dataclass(slots=True)
class Phoenix:
    """A running server; made by `Phoenix.open`.

    Attributes:
        faults: in force; set them at any time.
        counts: what was done: `joins`, `ready`, `sent`, `lost`, `tokens`, and each fault that struck.
    """

    chance: random.Random
    _slot: TemporarySlot
    url: str = ""
    key: str = KEY
    poll_seconds: float = 0.02
    faults: Faults = field(default_factory=Faults)
    counts: Counter[str] = field(default_factory=Counter)
    _channels: list[Channel] = field(default_factory=list)
    _held: list[Data] = field(default_factory=list)
    _server: Server | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str, seed: int = 0) -> AsyncIterator[Self]:
        """Serve on a free port of 127.0.0.1."""
        phoenix = cls(random.Random(seed), TemporarySlot(dsn))
        async with serve(phoenix._serve, "127.0.0.1", 0, process_request=phoenix._admit, max_size=2**24) as server:
            phoenix._server = server
            phoenix.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            polling = asyncio.create_task(phoenix._poll())
            try:
                yield phoenix
            finally:
                polling.cancel()
                await asyncio.gather(polling, return_exceptions=True)
                await phoenix.lose_slot()

    # --- what a test asks for ---------------------------------------------------------------------------------------

    async def close_all(self, code: int = 1012) -> None:
        """Close every connection with this code; 0 for an abort. The slot stays."""
        sockets = {c.socket for c in self._channels}
        self._channels.clear()
        for socket in sockets:
            if code:
                await socket.close(code)
            else:
                socket.transport.abort()

    async def restart(self, code: int = 1012) -> None:
        """As a deployment does: everybody is cut off, and the slot is gone with all that wasn't read."""
        await self.lose_slot()
        await self.close_all(code)

    async def lose_slot(self) -> None:
        """The poller fails: the channel stays joined, and nothing comes until Realtime subscribes anew by itself."""
        self._held.clear()
        await self._slot.drop()

    async def close_channels(self) -> None:
        """Send `phx_close`, as the server does after a channel-level error. The connections stay."""
        channels, self._channels = self._channels, []
        for channel in channels:
            await self._send(channel.socket, channel.topic, "phx_close", {})

    async def system_error(self, message: str) -> None:
        """Say that something is wrong with the channel, and close it, as the server does."""
        for channel in self._channels:
            await self._send(channel.socket, channel.topic, "system", self._system(channel, "error", message))
        await self.close_channels()

    async def ready_again(self) -> None:
        """Subscribe anew on the server's own account."""
        await self.lose_slot()
        for channel in self._channels:
            await self._make_ready(channel)

    async def error_event(self, error: str) -> None:
        """Send what stands for a row that the role may not read: no row, no time."""
        for channel in self._channels:
            schema, table = channel.bindings[0]["schema"], channel.bindings[0]["table"]
            data = {"schema": schema, "table": table, "type": "INSERT", "commit_timestamp": None, "columns": [],
                    "errors": [error], "record": {}}  # fmt: skip
            await self._send(channel.socket, channel.topic, "postgres_changes", {"ids": [channel.bindings[0]["id"]],
                                                                                "data": data})  # fmt: skip

    async def send_event(self, data: Data) -> None:
        """Send an event of the test's own making."""
        await self._dispatch(data)

    async def send_text(self, text: str) -> None:
        """Send a frame as it is."""
        for channel in self._channels:
            await channel.socket.send(text)

    @property
    def joined(self) -> int:
        """How many channels are joined now."""
        return len(self._channels)

    # --- the protocol -----------------------------------------------------------------------------------------------

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        query = parse_qs(urlsplit(request.path).query)
        self.counts["connections"] += 1
        if self.faults.refuse is not None:
            return connection.respond(self.faults.refuse, json.dumps({"error": "refused"}))
        if query.get("apikey") != [self.key]:
            return connection.respond(401, json.dumps({"error": "Invalid API key"}))
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for text in socket:
                message = json.loads(text)
                await self._answer(socket, message)
        self._channels = [c for c in self._channels if c.socket is not socket]

    async def _answer(self, socket: ServerConnection, message: dict[str, Any]) -> None:
        topic, event, ref = message["topic"], message["event"], message.get("ref")
        match event:
            case "phx_join":
                await self._join(socket, topic, ref, message["payload"])
            case "heartbeat":
                await self._reply(socket, "phoenix", ref, {})
            case "phx_leave":
                self._channels = [c for c in self._channels if c.socket is not socket or c.topic != topic]
                await self._reply(socket, topic, ref, {})
                await self._send(socket, topic, "phx_close", {})
            case "access_token":
                self.counts["tokens"] += 1

    async def _join(self, socket: ServerConnection, topic: str, ref: str, payload: dict[str, Any]) -> None:
        self.counts["joins"] += 1
        wanted = payload["config"]["postgres_changes"]
        bindings = [{**b, "id": crc32(json.dumps(b, sort_keys=True).encode()) or 1} for b in wanted]
        match self.faults.join:
            case "error":
                answer = {"status": "error", "response": {"reason": "Unauthorized: not for this role"}}
                await self._send(socket, topic, "phx_reply", answer, ref)
                return
            case "silence":
                return
            case "zero_ids":
                bindings = [{**b, "id": 0} for b in bindings]
            case "mismatch":
                bindings.reverse()
        response = {} if self.faults.join == "no_changes" else {"postgres_changes": bindings}
        channel = Channel(socket, topic, bindings)
        self._channels.append(channel)
        await self._reply(socket, topic, ref, response)
        if not self.faults.withhold_ready:
            await self._make_ready(channel)

    async def _make_ready(self, channel: Channel) -> None:
        """Make the slot if there is none, and only then say that changes will come."""
        await self._slot.make()
        channel.is_live = True
        self.counts["ready"] += 1
        ready = self._system(channel, "ok", "Subscribed to PostgreSQL")
        await self._send(channel.socket, channel.topic, "system", ready)

    @staticmethod
    def _system(channel: Channel, status: str, message: str) -> dict[str, Any]:
        name = channel.topic.removeprefix("realtime:")
        return {"extension": "postgres_changes", "status": status, "message": message, "channel": name}

    async def _reply(self, socket: ServerConnection, topic: str, ref: str | None, response: dict[str, Any]) -> None:
        await self._send(socket, topic, "phx_reply", {"status": "ok", "response": response}, ref)

    async def _send(
        self, socket: ServerConnection, topic: str, event: str, payload: dict[str, Any], ref: str | None = None
    ) -> None:
        if self.faults.silent:
            return
        with suppress(ConnectionClosed):
            await socket.send(json.dumps({"topic": topic, "event": event, "payload": payload, "ref": ref}))

    # --- the way of a change ---------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self.poll_seconds)
            try:
                events = await self._slot.changes(self.faults.secured)
            except psycopg.Error:
                await self.lose_slot()
                continue
            for data in self._mistreat(events):
                await self._dispatch(data)

    def _mistreat(self, events: list[Data]) -> list[Data]:
        """Lose, double, hold back and shuffle, as often as the faults say."""
        faults, chance = self.faults, self.chance
        late, self._held = self._held, []
        sent: list[Data] = []
        for data in events:
            if chance.random() < faults.drop:
                self.counts.update(("dropped", f"dropped {data['table']}"))
            elif chance.random() < faults.hold:
                self._held.append(data)
                self.counts["held"] += 1
            else:
                sent += [data] * (2 if chance.random() < faults.duplicate else 1)
        sent += late
        if faults.shuffle:
            chance.shuffle(sent)
        return sent

    async def _dispatch(self, data: Data) -> None:
        if self.faults.oversize > 0 and "record" in data:
            self.faults.oversize -= 1
            self.counts["oversized"] += 1
            data = {**data, "record": {**data["record"], "padding": _BIG}}
        elif self.faults.too_large > 0 and "record" in data:
            self.faults.too_large -= 1
            self.counts["cut"] += 1
            small = {k: v for k, v in data["record"].items() if len(str(v)) <= 64}
            data = {**data, "record": small, "errors": ["Error 413: Payload Too Large"]}
        heard = False
        for channel in [*self._channels]:
            ids = channel.ids_for(data)
            if channel.is_live and ids:
                heard = True
                await self._send(channel.socket, channel.topic, "postgres_changes", {"ids": ids, "data": data})
        self.counts["sent" if heard else "lost"] += 1
