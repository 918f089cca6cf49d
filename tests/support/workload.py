"""A seeded stand-in for the application: many people, several connections, every kind of write that it makes.

Each writer has a random generator and people of its own, so what it does depends on the seed alone, however the writers
and the pipeline interleave.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from tests.support.app_writer import Catalogue, Writer
from tests.support.oracle import Chronicle
from tests.support.postgres import Database
from tests.support.writes import OPERATIONS, sign_up

QUESTS = 12
BADGES = 8
_FIRST_PEOPLE = 5
_ENDLESS = 100_000


class Workload:
    """Several writers at once.

    Args:
        database: with the tables of profile `core`, and nobody in them.
        seed: what is done depends on it alone; the fixture `seed` gives it.
        writers: connections.
        departures: how often somebody may leave the gate, in all.
    """

    def __init__(self, database: Database, seed: int, *, writers: int = 3, departures: int = 30) -> None:
        self.seed = seed
        self.chronicle = Chronicle(seed=self.seed)
        self._database = database
        self._writers = writers
        self._departures = departures // writers

    async def run(self, operations: int, *, pause: float = 0.0, stop: asyncio.Event | None = None) -> int:
        """Run each writer for this many operations, or until `stop` is set.

        Returns:
            How many operations were made in all.
        """
        catalogue = self._make_catalogue()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._write(n, catalogue, operations, pause, stop), name=f"writer {n}")
                for n in range(self._writers)
            ]
        return sum(task.result() for task in tasks)

    @asynccontextmanager
    async def running(self, *, pause: float) -> AsyncIterator[None]:
        """Write for the length of the block."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.run(_ENDLESS, pause=pause, stop=stop), name="application")
            try:
                yield
            finally:
                stop.set()

    async def _write(
        self, number: int, catalogue: Catalogue, operations: int, pause: float, stop: asyncio.Event | None
    ) -> int:
        chance = random.Random(f"{self.seed}/{number}")  # a repeatable chance, no secret
        kinds, weights = zip(*OPERATIONS, strict=True)
        connection = await psycopg.AsyncConnection.connect(self._database.dsn, autocommit=True)
        async with connection:
            writer = Writer(connection, chance, catalogue, self.chronicle, self._departures)
            for done in range(operations):
                if stop is not None and stop.is_set():
                    return done
                operation = sign_up if len(writer.people) < _FIRST_PEOPLE else chance.choices(kinds, weights)[0]
                await operation(writer)
                if pause:
                    await asyncio.sleep(pause)
        return operations

    def _make_catalogue(self) -> Catalogue:
        quests = self._database.execute(
            "insert into public.quests (title) select 'Quest &amp; No. ' || n from generate_series(1, %s) n"
            " returning id",
            [QUESTS],
        )
        badges = self._database.execute(
            "insert into public.badges (name, identity_statement, description, pillar_primary)"
            " select 'Badge ' || n, 'I am', 'A badge', 'stem' from generate_series(1, %s) n returning id",
            [BADGES],
        )
        return Catalogue([row[0] for row in quests], [row[0] for row in badges])
