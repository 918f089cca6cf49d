"""One connection to Supabase Realtime, from joining until it is of no use any more.

The client's own reconnecting is switched off: it gives up in silence, doesn't come back from `phx_close`, and its
status says nothing about whether changes arrive. Here any doubt ends the session, and whoever runs it makes a new one
and sweeps. What counts as proof of hearing is our own canary: a row that is written through SQL and must come back.

Sources: Supabase documentation, "Postgres Changes" and "Realtime protocol"; the client's source, `realtime` 2.34.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, LiteralString, Protocol

import structlog
from psycopg import AsyncConnection
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates
from realtime.types import RealtimePostgresChangesListenEvent
from websockets.exceptions import InvalidStatus

from cdc.errors import ConfigError, RealtimeLost
from cdc.routing.feeds import Lane
from cdc.routing.router import Route
from cdc.source.realtime_bell import CANARY_TABLE, Bell
from cdc.source.realtime_key import RealtimeKey, expires_at
from cdc.source.realtime_log import client_log
from cdc.waiting import wait_at_most, wait_for_any

log = structlog.get_logger()

_LOOK_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 2.0
_JOIN_SECONDS: Final = 10
_TOKEN_MARGIN_SECONDS: Final = 60.0
_CODE: Final = re.compile(r"[A-Z][A-Za-z]{3,60}")
_BEAT: LiteralString = f"""
insert into {CANARY_TABLE} (pipeline, beat) values (%s, %s)
on conflict (pipeline) do update set beat = excluded.beat, at = now()
"""


@dataclass(frozen=True, slots=True)
class RealtimeConfig:
    """What the transport needs to know.

    Attributes:
        pipeline: names the lock, the canary's row and the channel.
        url: `https://<ref>.supabase.co`.
        routes: by qualified table name.
        lane_seconds: length of each lane's window.
        canary_seconds: time between two canaries; twice that without one coming back means that nothing is heard.
        ready_seconds: how long the server may take from the join to its word that changes will come.
    """

    source_dsn: str = field(repr=False)
    state_dsn: str = field(repr=False)
    pipeline: str
    url: str
    key: RealtimeKey
    routes: Mapping[str, Route]
    lane_seconds: Mapping[Lane, float]
    canary_seconds: float = 30.0
    ready_seconds: float = 20.0


class Owner(Protocol):
    """Who runs a session: is told what happens, and stores what is heard."""

    def ask_for_sweep(self, cause: str) -> None:
        """Something may have been missed."""

    async def joined(self) -> None:
        """The server says that changes come from now on."""

    async def heard(self, at: datetime, seconds: float) -> None:
        """The canary came back, so many seconds after it was written."""

    async def store(self, bell: Bell) -> None:
        """Make durable what the bell has gathered."""


class RealtimeSession:
    """A client, its channel, and the tasks that keep watch over them.

    Args:
        config: see there.
        source: a connection that writes the canary.
        owner: see there.
    """

    def __init__(self, config: RealtimeConfig, source: AsyncConnection[Any], owner: Owner) -> None:
        self._config = config
        self._source = source
        self._owner = owner
        self._lost: RealtimeLost | None = None
        self._trouble = asyncio.Event()
        self._ready = asyncio.Event()
        self.bell = Bell(config.routes, config.pipeline, owner.ask_for_sweep)

    async def run(self, stop: asyncio.Event) -> None:
        """Hear and store until `stop` is set.

        Raises:
            RealtimeLost: when nothing more can be expected of this connection.
            SourceUnavailable: if a database can't be reached.
        """
        try:
            with client_log(self._owner.ask_for_sweep):
                async with self._open(stop) as client, asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._store(stop))
                    tasks.create_task(self._prove_hearing(stop))
                    tasks.create_task(self._watch(client, stop))
                    tasks.create_task(self._keep_token_fresh(client, stop))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group.exceptions[0].__cause__

    @asynccontextmanager
    async def _open(self, stop: asyncio.Event) -> AsyncIterator[AsyncRealtimeClient]:
        """Connect and join, unless `stop` comes first; the client is closed at the end, within a bounded time."""
        url = f"{self._config.url}/realtime/v1"
        client = AsyncRealtimeClient(url, self._read_key(), auto_reconnect=False, timeout=_JOIN_SECONDS)
        channel = self._make_channel(client)
        joining, stopping = asyncio.create_task(self._join(client, channel)), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({joining, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if joining.done():
                joining.result()
            yield client
        finally:
            for task in (joining, stopping):
                task.cancel()
            await _close(client, channel)

    async def _join(self, client: AsyncRealtimeClient, channel: AsyncRealtimeChannel) -> None:
        try:
            await client.connect()
            await channel.subscribe(self._on_status)
        except Exception as error:  # noqa: BLE001 - the client's own mistakes too: sweeps go on meanwhile
            raise _refusal(error) from None  # its words may hold the address, and the key is a part of that

    def _make_channel(self, client: AsyncRealtimeClient) -> AsyncRealtimeChannel:
        channel = client.channel(f"cdc-{self._config.pipeline}")
        for name in (*self._config.routes, CANARY_TABLE):
            schema, _, table = name.partition(".")
            channel.on_postgres_changes(
                RealtimePostgresChangesListenEvent.All, self.bell.on_change, table=table, schema=schema
            )
        channel.on_system(self._on_system)
        return channel

    def _on_system(self, payload: Any) -> None:
        """The one sign that changes will come. It comes again when the server has subscribed anew by itself."""
        if getattr(payload, "extension", None) == "postgres_changes":
            self._ready.set()
        self._owner.ask_for_sweep("joined")

    def _on_status(self, status: RealtimeSubscribeStates, error: Exception | None) -> None:
        if status is not RealtimeSubscribeStates.SUBSCRIBED:
            code = _CODE.search(str(error)) if error is not None else None
            self._give_up(str(status.value).lower(), code[0] if code else "no reason given")

    def _give_up(self, cause: str, words: str) -> None:
        if self._lost is None:
            self._lost = RealtimeLost(cause, f"the Realtime channel is gone ({cause}: {words})")
        self._trouble.set()

    async def _store(self, stop: asyncio.Event) -> None:
        """Store what is heard; what comes meanwhile is the next group. The last one is stored after the stop."""
        while not stop.is_set():
            await wait_for_any(self.bell.news, stop)
            if self.bell.news.is_set():
                await self._owner.store(self.bell)

    async def _watch(self, client: AsyncRealtimeClient, stop: asyncio.Event) -> None:
        """See the end of the connection, of the channel or of the client's listener."""
        while not stop.is_set():
            await wait_for_any(self._trouble, stop, seconds=_LOOK_SECONDS)
            listener = getattr(client, "_listen_task", None)  # nothing public tells; the canary would, but later
            if self._lost is None and not client.is_connected:
                self._give_up("disconnected", "the client has no connection")
            if self._lost is None and isinstance(listener, asyncio.Task) and listener.done():
                self._give_up("listener_dead", "the client's listener has ended")
            if self._lost is not None:
                raise self._lost

    async def _prove_hearing(self, stop: asyncio.Event) -> None:
        """Wait until the server says that changes come, and then prove it again and again."""
        await wait_for_any(self._ready, stop, seconds=self._config.ready_seconds)
        if not (self._ready.is_set() or stop.is_set()):
            raise RealtimeLost("not_ready", "Realtime took the join and never said that changes will come")
        if self._ready.is_set():
            await self._owner.joined()
        while not stop.is_set():
            await self._send_canary(stop)
            await wait_at_most(stop, self._config.canary_seconds)

    async def _send_canary(self, stop: asyncio.Event) -> None:
        beat, began = secrets.token_hex(8), time.monotonic()
        self.bell.expect(beat)
        await self._source.execute(_BEAT, [self._config.pipeline, beat])
        longest = 2 * self._config.canary_seconds
        await wait_for_any(self.bell.beat_heard, stop, seconds=longest)
        if self.bell.beat_heard.is_set():
            await self._owner.heard(datetime.now(UTC), time.monotonic() - began)
        elif not stop.is_set():
            log.error("realtime_deaf", seconds=longest, hint="docs/realtime.md, Deaf")
            raise RealtimeLost("deaf", f"our own row didn't come back through Realtime within {longest:g} s")

    async def _keep_token_fresh(self, client: AsyncRealtimeClient, stop: asyncio.Event) -> None:
        """Give the server a new token before the old one runs out, where there is a file to read it from."""
        key, is_warned = self._read_key(), False
        while not stop.is_set() and (end := expires_at(key)) is not None:
            left = (end - datetime.now(UTC)).total_seconds()
            pause = left - _TOKEN_MARGIN_SECONDS if left > _TOKEN_MARGIN_SECONDS else left / 8
            await wait_at_most(stop, max(pause, _LOOK_SECONDS))
            fresh = self._read_key()
            if fresh != key:
                await self._give_token(client, fresh)
                key, is_warned = fresh, False
                log.info("realtime_token_renewed")
            elif left < _TOKEN_MARGIN_SECONDS and not is_warned:
                is_warned = True
                log.warning("realtime_token_ends", seconds=round(left), hint="put a new key into the key file")

    @staticmethod
    async def _give_token(client: AsyncRealtimeClient, token: str) -> None:
        try:
            await client.set_auth(token)
        except Exception as error:  # noqa: BLE001 - as above
            raise RealtimeLost("token_not_given", f"the new token can't be given: {type(error).__name__}") from None

    def _read_key(self) -> str:
        try:
            return self._config.key.read()
        except ConfigError as error:  # a file that is being replaced comes back
            raise RealtimeLost("no_key", error.message, fix=error.fix) from None


async def _close(client: AsyncRealtimeClient, channel: AsyncRealtimeChannel) -> None:
    """Close, but don't wait for a peer that doesn't answer: its socket then ends by itself."""
    channel.rejoin_timer.reset()
    channel.join_push.destroy()
    with suppress(Exception):  # whatever it was, this client is not used again
        async with asyncio.timeout(_CLOSE_SECONDS):
            await client.close()


_WHY_REFUSED: Final[Mapping[int, tuple[str, str]]] = {
    401: ("the key isn't accepted", "correct SUPABASE_SERVICE_ROLE_KEY: a secret key (sb_secret_...) or service_role"),
    403: ("the project is suspended, or the key may not", "see the project in the dashboard"),
    404: ("there is no such project", "correct SUPABASE_URL"),
    429: ("too many connections or joins", "wait, or see the project's Realtime limits"),
}


def _refusal(error: Exception) -> RealtimeLost:
    """Say why the connection wasn't made, without the words of the error."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        words, fix = _WHY_REFUSED.get(status, ("the server refused", "see https://status.supabase.com"))
        return RealtimeLost("refused", f"Realtime answered {status}: {words}", fix=fix)
    return RealtimeLost(
        "unreachable", f"Realtime can't be reached: {type(error).__name__}", fix="check SUPABASE_URL and the network"
    )
