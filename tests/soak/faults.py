"""What goes wrong in a soak: a table of faults, each with how often it comes."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

from cdc.embedded.postgres import EmbeddedPostgres
from tests.soak.cast import Player
from tests.support.pipeline import Crm
from tests.support.postgres import Database

_WRITES = ["insert", "upsert", "update", "delete"]
_READS = ["coql", "related"]
_CRM_FAULTS: list[dict[str, Any]] = [
    {"action": "apply_then_lose", "kind": _WRITES, "times": 2},
    {"action": "lose", "kind": [*_WRITES, *_READS], "times": 3},
    {"action": "status", "status": 500, "kind": [*_WRITES, *_READS], "times": 2},
    {"action": "status", "status": 503, "kind": _WRITES, "times": 2},
    {"action": "status", "status": 429, "kind": _WRITES, "times": 3},
    {"action": "html_502", "kind": _WRITES, "times": 1},
    {"action": "short_answer", "kind": ["insert", "upsert"], "times": 1},
    {"action": "delay", "kind": _WRITES, "times": 15, "seconds": 0.6},
    {"action": "apply_then_hang", "kind": ["insert", "upsert"], "times": 1},
    {"action": "hang", "kind": _WRITES, "times": 1},
]


@dataclass(slots=True)
class Trouble:
    """Does harm at random.

    Attributes:
        done: how often each fault came.
        poisoned: people whose record the CRM refuses until their name is changed.
    """

    server: EmbeddedPostgres
    database: Database
    crm: Crm
    players: list[Player]
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter)
    poisoned: list[str] = field(default_factory=list)
    _server_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def make(self, stop: asyncio.Event, every: float) -> None:
        """Let one thing go wrong after another."""
        faults: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self.kill_a_worker, 5),
            (self.kill_capture, 2),
            (self.freeze, 4),
            (self.black_out, 4),
            (self.cut, 4),
            (self.restart_server, 2),
            (self.crash_server, 1),
            (self.let_the_crm_fail, 12),
            (self.expire_tokens, 1),
            (self.poison, 2),
            (self.mend, 2),
        ]
        kinds, weights = zip(*faults, strict=True)
        while not stop.is_set():
            fault = self.chance.choices(kinds, weights)[0]
            with suppress(psycopg.OperationalError):  # two at a time: the server may be away just now
                await fault()
                self.done[fault.__name__.replace("_", " ")] += 1
            await asyncio.sleep(self.chance.uniform(0.3, 1.7) * every)

    def _anybody(self) -> Player:
        return self.chance.choice([p for p in self.players if not p.is_spared])

    async def kill_a_worker(self) -> None:
        await next(p for p in self.players if p.role == "worker").kill()

    async def kill_capture(self) -> None:
        await next(p for p in self.players if p.role == "run").kill()

    async def freeze(self) -> None:
        await self._anybody().freeze(self.chance.uniform(0.5, 25))  # a lease is 15 s

    async def black_out(self) -> None:
        await self.chance.choice(self.players).black_out(self.chance.uniform(0.5, 8))

    async def cut(self) -> None:
        self.chance.choice(self.players).line.cut()

    async def restart_server(self) -> None:
        await self._restart(immediate=False)

    async def crash_server(self) -> None:
        await self._restart(immediate=True)

    async def _restart(self, *, immediate: bool) -> None:
        async with self._server_lock:
            await asyncio.to_thread(self.server.halt, immediate=immediate)
            await asyncio.sleep(self.chance.uniform(0, 2))
            await asyncio.to_thread(self.server.resume)

    async def let_the_crm_fail(self) -> None:
        rule = self.chance.choice(_CRM_FAULTS)
        await self.crm.break_with({**rule, "probability": 0.5, "seed": self.chance.getrandbits(30)})

    async def expire_tokens(self) -> None:
        """Seldom: ten new ones in ten minutes are all that Zoho gives."""
        if self.done["expire tokens"] < 8:
            await self.crm.break_with({"action": "invalidate_access_tokens", "kind": _WRITES, "times": 1})

    async def poison(self) -> None:
        person = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
        await self.crm.break_with(
            {
                "action": "refuse",
                "where": {"External_ID": person, "Last_Name": "Poison"},
                "code": "INVALID_DATA",
                "details": {"api_name": "Last_Name"},
            }
        )
        await asyncio.to_thread(self.database.execute, "insert into auth.users (id) values (%s)", [person])
        insert = "insert into public.users (id, last_name, role) values (%s, 'Poison', 'parent')"
        await asyncio.to_thread(self.database.execute, insert, [person])
        self.poisoned.append(person)

    async def mend(self) -> None:
        """Mend the data of one of the poisoned."""
        if self.poisoned:
            person = self.chance.choice(self.poisoned)
            update = "update public.users set last_name = 'Remedy' where id = %s"
            await asyncio.to_thread(self.database.execute, update, [person])
            self.poisoned = [p for p in self.poisoned if p != person]
