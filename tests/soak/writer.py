"""The workload of `tests.support`, made to outlast its database: a lost connection is made anew."""

from __future__ import annotations

import asyncio
import random
from typing import Any, LiteralString

import psycopg

from tests.support.app_writer import Catalogue, Writer
from tests.support.postgres import Database
from tests.support.workload import Workload
from tests.support.writes import OPERATIONS, import_roster, sign_up

_MOST_PEOPLE = 150  # of each writer: the application doesn't grow for ever
_FIRST_PEOPLE = 5
_EVENTS = (
    "select event_id, user_id::text from cdc.quest_completions union all"
    " select event_id, user_id::text from cdc.badges_earned"
)
_GROWTH = (sign_up, import_roster)


class _CountingWriter(Writer):
    """Counts its statements; nearly each is a commit."""

    statements = 0

    async def write(self, statement: LiteralString, **values: object) -> list[tuple[Any, ...]]:
        rows = await super().write(statement, **values)
        self.statements += 1
        return rows


class EnduringWorkload(Workload):
    """Writes until it is stopped, whatever becomes of its connections.

    Attributes:
        made: the writers.
        interruptions: connections that were lost.
    """

    def __init__(self, database: Database, seed: int, *, departures: int) -> None:
        super().__init__(database, seed, departures=departures)
        self.made: list[_CountingWriter] = []
        self.interruptions = 0

    @property
    def statements(self) -> int:
        """How many statements were carried out, nearly each of them a commit."""
        return sum(writer.statements for writer in self.made)

    async def _write(
        self, number: int, catalogue: Catalogue, operations: int, pause: float, stop: asyncio.Event | None
    ) -> int:
        assert stop is not None
        chance = random.Random(f"{self.seed}/{number}")  # a repeatable chance, no secret
        writer: _CountingWriter | None = None
        while not stop.is_set():
            try:
                async with await psycopg.AsyncConnection.connect(self._database.dsn, autocommit=True) as connection:
                    if writer is None:
                        writer = _CountingWriter(connection, chance, catalogue, self.chronicle, self._departures)
                        self.made.append(writer)
                    writer.connection = connection
                    await self._note_events(connection)
                    await self._go_on(writer, pause, stop)
            except psycopg.OperationalError:
                self.interruptions += 1
                await asyncio.sleep(0.2)
        return self.statements

    async def _note_events(self, connection: psycopg.AsyncConnection[object]) -> None:
        """A commit whose answer was lost may have shown events that nobody noted."""
        rows = await (await connection.execute(_EVENTS)).fetchall()
        self.chronicle.shown.update(rows)  # type: ignore[arg-type]

    async def _go_on(self, writer: Writer, pause: float, stop: asyncio.Event) -> None:
        kinds, weights = zip(*OPERATIONS, strict=True)
        while not stop.is_set():
            kind = sign_up if len(writer.people) < _FIRST_PEOPLE else writer.chance.choices(kinds, weights)[0]
            if kind in _GROWTH and len(writer.people) >= _MOST_PEOPLE:
                continue
            await kind(writer)
            await asyncio.sleep(pause)
