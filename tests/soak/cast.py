"""The processes of a soak, each behind a line of its own to the database, and started again whenever they end."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.measure import Life
from tests.support.pipeline import Child, Crm, Site
from tests.support.postgres import Database
from tests.support.proxy import Proxy, proxy

_AGAIN_SECONDS = 1.0


@dataclass(slots=True)
class Player:
    """One process that is kept running.

    Attributes:
        is_spared: nothing is done to the process itself, so that its memory can be followed for the whole run.
    """

    role: str
    command: str
    site: Site
    line: Proxy
    is_spared: bool = False
    lives: list[Life] = field(default_factory=list)
    child: Child | None = None
    wanted: bool = True

    async def live(self, begun: float) -> None:
        """Start it, and start it again each time it ends, until it isn't wanted."""
        while self.wanted:
            self.child = child = await self.site.start(self.command)
            life = Life(self.role, child.process.pid)
            life.look(time.monotonic() - begun)
            self.lives.append(life)
            code = await child.process.wait()
            if life.end == "running":
                life.end = f"exit {code}"
                await asyncio.sleep(_AGAIN_SECONDS)

    async def kill(self) -> None:
        if self.child is not None and self.child.running:
            self.lives[-1].end = "killed"
            with suppress(ProcessLookupError):
                self.child.signal(signal.SIGCONT)
                self.child.process.kill()

    async def freeze(self, seconds: float) -> None:
        """Let it stand still for a while, as a machine does that swaps."""
        if self.child is None or not self.child.running:
            return
        child = self.child
        with suppress(ProcessLookupError):
            child.signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            child.signal(signal.SIGCONT)

    async def black_out(self, seconds: float) -> None:
        """Let its line to the database carry nothing for a while, and close nothing either."""
        self.line.flowing.clear()
        await asyncio.sleep(seconds)
        self.line.flowing.set()

    async def stop(self) -> None:
        """End it in good order."""
        self.wanted = False
        if self.child is not None and self.child.running:
            self.lives[-1].end = "stopped"
            await self.child.stop()

    @property
    def unexpected(self) -> list[str]:
        """Ends that nobody asked for."""
        return [life.end for life in self.lives if life.end.startswith("exit")]


async def make_cast(
    stack: AsyncExitStack, database: Database, crm: Crm, folder: Path, settings: dict[str, str]
) -> list[Player]:
    """Put up a capture with delivery, and two workers; the last of them is spared."""
    players = []
    for role, command, spared in (
        ("run", "run", False),
        ("worker", "worker", False),
        ("spared worker", "worker", True),
    ):
        line = await stack.enter_async_context(proxy(database.dsn))
        own = folder / role.replace(" ", "-")
        own.mkdir()
        site = Site(database, crm, own, settings={**settings, "DATABASE_URL": line.dsn})
        stack.push_async_callback(site.close)
        players.append(Player(role, command, site, line, spared))
    return players
