"""Starts the simulator on a port of 127.0.0.1: beside a test, or as a program of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from sinks.simulator.app import build_app
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.gate import ABORT
from sinks.simulator.simulation import Simulation

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """Where a simulator listens, and what a client signs in with."""

    url: str
    client_id: str
    client_secret: str
    refresh_token: str


class _Protocol(H11Protocol):
    """HTTP/1.1 that lets a handler cut its connection, as a lost answer looks from outside."""

    def __init__(self, config: uvicorn.Config, server_state: ServerState, *rest: object, **named: object) -> None:
        super().__init__(config, server_state, *rest, **named)  # type: ignore[arg-type]  # passed through untouched
        self._inner: ASGIApp = self.app
        self.app = self._with_abort

    async def _with_abort(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ABORT] = self.transport.abort
        await self._inner(scope, receive, send)


class _Server(uvicorn.Server):
    """A server that leaves signals alone and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever runs us."""
        yield

    def stop(self) -> None:
        """Begin to shut down."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Tick once a second, for the Date header, and stop at once when asked; uvicorn's own loop polls."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self.listening.set()


class RunningSimulator:
    """A simulator that listens; made by `start_simulator`.

    Attributes:
        url: where it listens: accounts host and API host in one.
        simulation: what it holds, for tests in the same process.
    """

    def __init__(self, simulation: Simulation, url: str, server: _Server, task: asyncio.Task[None]) -> None:
        self.simulation = simulation
        self.url = url
        self._server = server
        self._task = task

    @property
    def client_id(self) -> str:
        """OAuth client id."""
        return self.simulation.config.client_id

    @property
    def client_secret(self) -> str:
        """OAuth client secret."""
        return self.simulation.config.client_secret

    @property
    def refresh_token(self) -> str:
        """A refresh token that works."""
        return self.simulation.config.refresh_token

    @property
    def announcement(self) -> Announcement:
        """All of it."""
        return Announcement(
            url=self.url,
            client_id=self.client_id,
            client_secret=self.client_secret,
            refresh_token=self.refresh_token,
        )

    async def close(self) -> None:
        """Stop: calls that hang are cut, others get their answer."""
        self.simulation.closing.set()
        self.simulation.bulk.clear()
        self._server.stop()
        await self._task

    async def __aenter__(self) -> RunningSimulator:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def start_simulator(config: SimulatorConfig | None = None) -> RunningSimulator:
    """Start a simulator in the running loop.

    Args:
        config: its settings; None for the defaults, on a free port.

    Raises:
        OSError: the port is taken.
    """
    config = config or SimulatorConfig()
    listener = socket.create_server((HOST, config.port), backlog=512)
    # asyncio sets this only on sockets it made itself; without it every answer waits 40 ms for an ACK
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    url = f"http://{HOST}:{listener.getsockname()[1]}"
    simulation = Simulation(config)
    simulation.tokens.api_domain = simulation.devices.url = url
    server = _Server(
        uvicorn.Config(
            build_app(simulation),
            http=_Protocol,
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,  # a caller that never finished its request
        )
    )
    task = asyncio.get_running_loop().create_task(_serve(server, listener))
    listening = asyncio.ensure_future(server.listening.wait())
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    if not listening.done():
        listening.cancel()
        await task
    return RunningSimulator(simulation, url, server, task)


async def _serve(server: _Server, listener: socket.socket) -> None:
    try:
        await server.serve(sockets=[listener])
    finally:
        listener.close()


def run_simulator(
    config: SimulatorConfig, *, announce: Callable[[Announcement], None], until_eof: bool = False
) -> None:
    """Run a simulator until SIGTERM or SIGINT.

    Args:
        config: its settings.
        announce: called once it listens.
        until_eof: end as well when standard input does, which a parent's death closes.

    Raises:
        OSError: the port is taken.
    """
    asyncio.run(_until_signalled(config, announce, until_eof))


def _stop_at_eof(stop: asyncio.Event) -> None:
    if not os.read(0, 1024):
        stop.set()


async def _until_signalled(config: SimulatorConfig, announce: Callable[[Announcement], None], until_eof: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if until_eof:
        loop.add_reader(0, _stop_at_eof, stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with await start_simulator(config) as running:
        announce(running.announcement)
        await stop.wait()
